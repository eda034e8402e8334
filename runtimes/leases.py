"""Rows that say which process does a thing that only one may do, and until when it may rely on that (sync)."""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

from django.db import DatabaseError, IntegrityError
from django.db.models import Q
from django.utils import timezone

from runtimes.errors import RuntimesError
from runtimes.models import Lease

#: What a sweep takes away, a backup copies: one at a time holds this.
STORED_FILES = "stored files"


class Held(RuntimesError):
    """Another process does this now."""


def holder_name() -> str:
    """A name for this process that no other has."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


def claim(name: str, holder: str, term: timedelta) -> bool:
    """Takes or renews the lease. False where someone else's has not run out."""
    now = timezone.now()
    free = Lease.objects.filter(Q(until__lt=now) | Q(holder=holder), name=name)
    if free.update(holder=holder, until=now + term):
        return True
    if Lease.objects.filter(name=name).exists():
        return False
    try:
        Lease.objects.create(name=name, holder=holder, until=now + term)
    except IntegrityError:
        return False
    return True


def is_held(name: str) -> bool:
    """Whether some process has it now, or was killed so shortly ago that it might."""
    return Lease.objects.filter(name=name, until__gt=timezone.now()).exists()


def give_back(name: str, holder: str) -> None:
    """Frees the lease at once, if it is still this holder's."""
    Lease.objects.filter(name=name, holder=holder).delete()


@contextmanager
def hold(name: str, *, term: timedelta = timedelta(minutes=5), wait_seconds: float = 0) -> Iterator[Callable[[], None]]:
    """Holds the lease while the body runs; what it gives must be called more often than every `term`, and renews.

    Raises Held where another process holds it after `wait_seconds`, or took it because it was not renewed in time."""
    holder = holder_name()
    deadline = time.monotonic() + wait_seconds
    while not claim(name, holder, term):
        if time.monotonic() >= deadline:
            raise Held(f"another process holds the lease {name!r}")
        time.sleep(0.5)

    def renew() -> None:
        if not claim(name, holder, term):
            raise Held(f"another process has taken the lease {name!r}")

    try:
        yield renew
    finally:
        with suppress(DatabaseError):
            give_back(name, holder)
