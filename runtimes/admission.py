"""Pure: who of those who wait may start now, and who has asked the provider before an earlier one has its seat."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from runtimes import queue
from runtimes.models import Runtime
from runtimes.status import Reason

#: A runtime that waits so has asked its provider, which has no seat: nobody who would take that seat is asked for
#: before it has one. While a machine is being added others may ask, so that as many are added as are wanted.
_NO_SEAT = frozenset({Reason.CAPACITY_WAIT, Reason.ACCELERATOR_WAIT, Reason.QUOTA_EXCEEDED, Reason.NO_MACHINE})


@dataclass(frozen=True, slots=True)
class Admission:
    """begin: to be started now. held: still waiting, each with the reason. back: asked for although an earlier one
    that they would go before has no seat either; they go back into the queue, where they keep their place."""

    begin: Sequence[Runtime] = ()
    held: Sequence[tuple[Runtime, Reason]] = ()
    back: Sequence[Runtime] = ()


def admit(live: Sequence[Runtime], most: int, doubtful: Collection[int] = ()) -> Admission:
    """What follows for all live runtimes, given first come first. most: how many may be up at once; 0: no limit.
    doubtful: keys of those for which there may be no machine that is large enough."""
    first: dict[queue.Line, Runtime] = {}
    back: list[Runtime] = []
    for row in live:
        if _lacks_seat(row):
            if _behind(row, first) is not None:
                back.append(row)
            else:
                first.setdefault(_held_up(row, doubtful=row.pk in doubtful), row)
    up = sum(row.state != Runtime.State.QUEUED for row in live)
    begin: list[Runtime] = []
    held: list[tuple[Runtime, Reason]] = []
    for row in live:
        if row.state != Runtime.State.QUEUED:
            continue
        stuck = _behind(row, first)
        if stuck is not None:
            held.append((row, Reason(stuck.reason)))
        elif most and up + len(begin) >= most:
            held.append((row, Reason.CAPACITY_WAIT))
        else:
            begin.append(row)
    return Admission(begin, held, back)


def _held_up(row: Runtime, *, doubtful: bool) -> queue.Line:
    """Whom it holds up, having no seat. What waits in vain, perhaps, holds up its like alone."""
    return queue.lines(row.profile)[0] if doubtful else queue.line(row.profile, row.reason)


def _behind(row: Runtime, first: Mapping[queue.Line, Runtime]) -> Runtime | None:
    """The first one that holds it up; None: nobody does."""
    stuck = [first[line] for line in queue.lines(row.profile) if line in first] if first else []
    return min((one for one in stuck if _before(one, row)), key=_order, default=None)


def _lacks_seat(row: Runtime) -> bool:
    return row.state == Runtime.State.STARTING and row.reason in _NO_SEAT


def _before(one: Runtime, other: Runtime) -> bool:
    return _order(one) < _order(other)


def _order(row: Runtime) -> tuple[datetime, int]:
    return row.requested_at, row.pk
