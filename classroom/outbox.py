"""Things to do outside (mail, copies), decided in one transaction and done after it: once, with patience.

`post` writes the row with whatever decided it. `drain` takes rows under a lease, so that a worker that dies leaves them
to the next. What is sent cannot be unsent, so a crash between sending and noting it may send a second time: handlers
are given the row's key to make that harmless where the other side allows it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.db.models import F, Q
from django.utils import timezone

from classroom import wake
from classroom.models import Outbox

type Handler = Callable[[Mapping[str, Any]], None]

LEASE = timedelta(minutes=5)
MOST_TRIES = 10
FIRST_WAIT = timedelta(seconds=20)
LONGEST_WAIT = timedelta(hours=3)

_handlers: dict[str, Handler] = {}
_log = structlog.get_logger(__name__)


class NothingToDo(Exception):
    """A handler's word that the reason for the row is gone (the person has signed in, the course is archived)."""


def handles(kind: str) -> Callable[[Handler], Handler]:
    """Registers the function that delivers rows of `kind`. `classroom.tasks` imports every module that has one."""

    def register(handler: Handler) -> Handler:
        _handlers[kind] = handler
        return handler

    return register


def post(
    kind: str, key: str, payload: Mapping[str, Any], *, not_before: datetime | None = None, wakes: bool = True
) -> None:
    """Writes the row in the caller's transaction and wakes a worker once it is committed. A key is posted once.

    `wakes` False: the caller posts many, and wakes one worker for all of them.
    """
    row = Outbox(kind=kind, key=key, payload=dict(payload), not_before=not_before or timezone.now())
    Outbox.objects.bulk_create([row], ignore_conflicts=True)
    if wakes:
        wake.worker("drain_outbox")


def drain(most: int = 100) -> int:
    """Delivers what is due, oldest first; the number of rows that were taken. Any number of workers may drain."""
    taken = 0
    while taken < most and (row := _take()) is not None:
        taken += 1
        _deliver(row)
    return taken


def _take() -> Outbox | None:
    """One due row under a fresh lease, or None. Two workers never get the same one."""
    while True:
        now = timezone.now()
        due = Q(state=Outbox.State.WAITING, not_before__lte=now) | Q(state=Outbox.State.TAKEN, lease_until__lt=now)
        row = Outbox.objects.filter(due).order_by("not_before", "pk").first()
        if row is None:
            return None
        mine = Outbox.objects.filter(pk=row.pk, state=row.state, tries=row.tries)
        if mine.update(state=Outbox.State.TAKEN, lease_until=now + LEASE, tries=F("tries") + 1):
            row.tries += 1
            return row


def _deliver(row: Outbox) -> None:
    handler = _handlers.get(row.kind)
    if handler is None:
        _finish(row, Outbox.State.FAILED, f"nobody handles {row.kind}")
        return
    try:
        handler({**row.payload, "key": row.key})
    except NothingToDo as error:
        _finish(row, Outbox.State.DONE, str(error))
    except Exception as error:  # noqa: BLE001 - whatever a handler raises is the row's, not the worker's
        _failed(row, error)
    else:
        _finish(row, Outbox.State.DONE, "")


def _failed(row: Outbox, error: Exception) -> None:
    """Again later where the error may pass by itself (`retryable`, or the network's own), with doubling waits."""
    passing = getattr(error, "retryable", isinstance(error, OSError))
    _log.warning("outbox", kind=row.kind, row=row.pk, tries=row.tries, error=type(error).__name__)
    message = f"{type(error).__name__}: {error}"[:2000]
    if not passing or row.tries >= MOST_TRIES:
        _finish(row, Outbox.State.FAILED, message)
        return
    wait = min(FIRST_WAIT * 2 ** (row.tries - 1), LONGEST_WAIT)
    _held(row).update(state=Outbox.State.WAITING, not_before=timezone.now() + wait, lease_until=None, message=message)


def _finish(row: Outbox, state: Outbox.State, message: str) -> None:
    _held(row).update(state=state, done_at=timezone.now(), lease_until=None, message=message)


def _held(row: Outbox) -> Any:
    """The row as long as it is ours: whoever took it after our lease ended counted one more try."""
    return Outbox.objects.filter(pk=row.pk, state=Outbox.State.TAKEN, tries=row.tries)
