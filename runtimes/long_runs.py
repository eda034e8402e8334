"""Runtimes that have been at one execution for hours: operators are told, and their seats are given on if others wait.

What one takes is a seat, also where it only waits and uses nothing (what it uses is `load.py`'s): nothing happens to it
while no one wants the seat, and it is stopped, with a warning, when someone does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Q
from django.utils import timezone

from runtimes import bus, load, queue
from runtimes.models import Kernel, Runtime
from runtimes.status import Reason

#: How long before its seat is given on a person is warned.
NOTICE = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class LongRun:
    """A runtime, its profile loaded, in which nothing was begun since `since` and something still runs."""

    runtime: Runtime
    since: datetime


def long_runs(now: datetime) -> list[LongRun]:
    """Longest first. One query."""
    limit = now - settings.LONG_RUN
    busy = Kernel.objects.filter(
        state=Kernel.State.RUNNING,
        execution_state="busy",
        last_activity__lt=limit,
        runtime__state=Runtime.State.READY,
        runtime__purpose=Runtime.Purpose.INTERACTIVE,
    )
    # Of cells that follow each other at once no kernel is ever seen idle.
    quiet = busy.exclude(runtime__kernels__runs__started_at__gt=limit).select_related("runtime__profile")
    found: dict[int, LongRun] = {}
    for kernel in quiet.order_by("last_activity"):
        found.setdefault(kernel.runtime_id, LongRun(kernel.runtime, kernel.last_activity))
    return list(found.values())


def make_way() -> int:
    """Brings forward the end of as many long runs and loads as people wait for such seats: on the same nodes, or, of a
    full quota, on any. How many. Safe to repeat."""
    now = timezone.now()
    waiting = Runtime.objects.filter(queue.WAITING, purpose=Runtime.Purpose.INTERACTIVE).select_related("profile")
    # What others free is no machine for those.
    waiting = waiting.exclude(reason=Reason.NO_MACHINE)
    wanted = Counter(queue.line(row.profile, row.reason) for row in waiting)
    if not wanted:
        return 0
    leaving = Runtime.objects.filter(state=Runtime.State.READY, yields=True).select_related("profile")
    for row in leaving:
        wanted.subtract(_gains(wanted, row))
    made = 0
    runs: list[LongRun | load.Load] = [*long_runs(now), *load.loads()]
    # One that is both gives way once.
    candidates = {run.runtime.pk: run for run in runs}
    for run in sorted(candidates.values(), key=lambda run: run.since):
        gains = _gains(wanted, run.runtime)
        if gains and _yields(run.runtime, now + NOTICE):
            wanted.subtract(gains)
            made += 1
    return made


def _gains(wanted: Mapping[queue.Line, int], leaving: Runtime) -> list[queue.Line]:
    """The line in which somebody gets its seat: who needs its nodes comes first; none where nobody waits so."""
    return [line for line in queue.lines(leaving.profile) if wanted.get(line, 0) > 0][:1]


def _yields(runtime: Runtime, deadline: datetime) -> bool:
    row = Runtime.objects.filter(pk=runtime.pk, state=Runtime.State.READY, yields=False)
    if not row.filter(Q(deadline__gt=deadline) | Q(deadline=None)).update(yields=True, deadline=deadline):
        return False
    bus.publish_sync(f"runtime:{runtime.name}")
    return True
