"""Loads: runtimes that go on using their processors for hours though no execution was begun in them.

What counts is what was really used (`meter.py`): a cell that waits is none, and what a cell left behind in the
background is one, however idle its kernel says it is. When an execution was begun is told by those who sent it there
(`began`), not by the kernel, whose messages code can write. Operators are told of a load, it is slowed down until
somebody works in it again (`throttle.py`), and it gives its seat on when others wait (`long_runs.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Q, QuerySet
from django.utils import timezone

from runtimes import bus, usage
from runtimes.meter import READINGS, Meter, is_load, is_over
from runtimes.models import Runtime

log = logging.getLogger(__name__)

#: As exact as `executed_at` needs to be.
EXECUTED_EVERY = timedelta(seconds=30)


def began(which: QuerySet[Runtime]) -> None:
    """Somebody works there: an execution, or a kernel, was begun. A load is none from now on. For each cell."""
    now = timezone.now()
    loads = which.filter(load_since__isnull=False)
    if loads.update(load_since=None, slowed=False, executed_at=now):
        bus.publish_on_commit("runtimes")
        return
    long_ago = now - min(EXECUTED_EVERY, settings.LONG_RUN / READINGS)
    which.filter(Q(executed_at=None) | Q(executed_at__lt=long_ago)).update(executed_at=now)


@dataclass(frozen=True, slots=True)
class Load:
    """A runtime that is one. since: when the last execution was begun in it."""

    runtime: Runtime
    since: datetime


def loads(runtimes: Iterable[Runtime] | None = None) -> list[Load]:
    """Those of `runtimes` that are, or of all, with their profiles; longest first. What is being stopped is none."""
    if runtimes is None:
        rows = Runtime.objects.filter(state=Runtime.State.READY, load_since__isnull=False)
        runtimes = rows.select_related("profile")
    ready = (row for row in runtimes if row.state == Runtime.State.READY)
    found = [Load(row, row.load_since) for row in ready if row.load_since is not None]
    return sorted(found, key=lambda one: one.since)


def note(runtime: Runtime, count: float, *, last: bool = False) -> None:
    """`count` seconds of processor time were counted in it so far; it may be a load now, or no longer be one. The row
    that is passed is changed, too. `profile` must be loaded. last: it ends, and nobody counts again.

    A count that tells hardly anything new is written nowhere: most machines idle most of the time."""
    now = timezone.now()
    before = Meter.of(runtime.cpu_meter)
    meter = before.read(count, now, settings.LONG_RUN)
    if last or meter.tells_more(before):
        runtime.cpu_meter = meter.to_json()
        Runtime.objects.filter(pk=runtime.pk, state__in=Runtime.LIVE).update(cpu_meter=runtime.cpu_meter)
    if runtime.purpose == Runtime.Purpose.INTERACTIVE and runtime.ready_at is not None:
        _judge(runtime, meter, runtime.executed_at or runtime.ready_at, now)


def _judge(runtime: Runtime, meter: Meter, begun: datetime, now: datetime) -> None:
    cores = usage.share(runtime)["cpu"]
    since: datetime | None = begun
    if runtime.load_since is None:
        if not is_load(meter, cores, now - begun, settings.LONG_RUN):
            return
        log.warning("runtime %s: its processors are in use, and no execution was begun since %s", runtime.name, begun)
    elif is_over(meter, cores * (settings.SLOWED_SHARE if runtime.slowed else 1), settings.LONG_RUN):
        since = None
    else:
        return
    row = Runtime.objects.filter(pk=runtime.pk, state=Runtime.State.READY, executed_at=runtime.executed_at)
    if row.filter(load_since=runtime.load_since).update(load_since=since, slowed=False):
        runtime.load_since, runtime.slowed = since, False


def note_slowed(runtime: Runtime) -> None:
    """Its provider gives a load less from now on. The row that is passed is changed, too."""
    row = Runtime.objects.filter(pk=runtime.pk, load_since=runtime.load_since)
    runtime.slowed = bool(row.exclude(load_since=None).update(slowed=True))
