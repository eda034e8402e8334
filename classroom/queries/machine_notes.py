"""What somebody at a notebook should know about the machine that they have: what happened to it, when it will stop."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils.translation import gettext

from classroom.templatetags.say import distance, lasting, said
from runtimes.describe import moved, recovered
from runtimes.models import Kernel, Profile, Runtime

#: For how long people are told what happened, and before what happens.
TOLD_FOR = timedelta(minutes=10)
WARNED_BEFORE = timedelta(minutes=10)
IDLE_WARNED_BEFORE = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Note:
    """kind: of a notice. keeps: whether *Go on using it* is offered."""

    kind: str
    text: str
    keeps: bool = False


def notes(
    runtime: Runtime, before: Runtime | None, kernels: Sequence[Kernel], wanted: Profile, now: datetime
) -> list[Note]:
    """About a live runtime, `before` being the workspace's former one and `wanted` what the work asks for. No query:
    the runtimes' and kernels' profiles are loaded."""
    found = list(_what_happened(runtime, before, kernels, now))
    if runtime.state == Runtime.State.READY:
        found += [*_slowed(runtime, now), *_what_will(runtime, kernels, now)]
    if runtime.profile_id != wanted.pk:
        text = gettext(
            "You work on %(here)s now, without waiting for %(wanted)s. Your files are the same; the next start asks "
            "for %(wanted)s again."
        )
        found.append(Note("live", text % {"here": runtime.profile.name, "wanted": wanted.name}))
    return found


def _what_happened(
    runtime: Runtime, before: Runtime | None, kernels: Iterable[Kernel], now: datetime
) -> Iterator[Note]:
    if before is not None and _lately(before.stopped_at, now) and (text := moved(before, runtime)):
        yield Note("wait", text)
    for kernel in kernels:
        if kernel.state == Kernel.State.RUNNING and _lately(kernel.died_at, now):
            yield Note("wait", recovered(kernel))


def _slowed(runtime: Runtime, now: datetime) -> Iterator[Note]:
    if runtime.load_since is not None and runtime.slowed:
        text = gettext(
            "Something has been running here for %(time)s and no cell was begun since, so this kernel was slowed down. "
            "Run a cell, or go on using it, to have its full speed."
        )
        yield Note("wait", text % {"time": lasting(now - runtime.load_since)}, keeps=True)


def _what_will(runtime: Runtime, kernels: Sequence[Kernel], now: datetime) -> Iterator[Note]:
    deadline = runtime.deadline
    if deadline is not None and runtime.yields:
        text = gettext(
            "Others wait for such a machine, and something here has run for hours: it stops %(distance)s (%(at)s). "
            "Write results to files: they are kept, variables are not."
        )
        yield Note("wait", text % {"distance": distance(deadline), "at": said(deadline)})
        return
    if deadline is not None and deadline - now < WARNED_BEFORE:
        text = gettext(
            "This machine stops %(distance)s (%(at)s): that is the longest it may run. Your files are kept, variables "
            "are not. You can start it again at once."
        )
        yield Note("wait", text % {"distance": distance(deadline), "at": said(deadline)})
        return
    idle, limit = idle_for(runtime, kernels, now), runtime.profile.idle_timeout
    # Who has a minute in all needs the half of it, to see that and to press (WCAG 2.2.1 asks for 20 seconds).
    if idle is not None and limit - idle < min(IDLE_WARNED_BEFORE, limit / 2):
        text = gettext(
            "Nothing has run for %(idle)s: the machine stops in about %(left)s. Your files are kept, variables are not."
        )
        left = max(limit - idle, timedelta(minutes=1))
        yield Note("wait", text % {"idle": lasting(idle), "left": lasting(left)}, keeps=True)


def idle_for(runtime: Runtime, kernels: Iterable[Kernel], now: datetime) -> timedelta | None:
    """For how long nobody has used it and nothing has run, as the rows tell; None while something runs."""
    seen = list(kernels)
    if any(kernel.execution_state == "busy" for kernel in seen):
        return None
    return now - max([runtime.last_active_at, *(kernel.last_activity for kernel in seen)])


def _lately(moment: datetime | None, now: datetime) -> bool:
    return moment is not None and moment > now - TOLD_FOR
