"""Pure: who of those who wait may start now, and who has asked the provider before an earlier one has its seat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runtimes import queue
from runtimes.models import Runtime
from runtimes.status import Reason

#: A runtime that waits so has asked its provider, which has no seat: nobody of its kind is asked for before it has one.
#: While a machine is being added others may ask, so that as many are added as are wanted.
_NO_SEAT = frozenset({Reason.CAPACITY_WAIT, Reason.ACCELERATOR_WAIT, Reason.QUOTA_EXCEEDED})


@dataclass(frozen=True, slots=True)
class Admission:
    """begin: to be started now. held: still waiting, each with the reason. back: asked for although an earlier one of
    their kind has no seat either; they go back into the queue, where they keep their place."""

    begin: Sequence[Runtime] = ()
    held: Sequence[tuple[Runtime, Reason]] = ()
    back: Sequence[Runtime] = ()


def admit(live: Sequence[Runtime], most: int) -> Admission:
    """What follows for all live runtimes, given first come first. most: how many may be up at once; 0: no limit."""
    first: dict[str, Runtime] = {}
    for row in live:
        if _lacks_seat(row):
            first.setdefault(queue.kind(row.profile), row)
    up = sum(row.state != Runtime.State.QUEUED for row in live)
    begin: list[Runtime] = []
    held: list[tuple[Runtime, Reason]] = []
    for row in live:
        if row.state != Runtime.State.QUEUED:
            continue
        stuck = first.get(queue.kind(row.profile))
        if stuck is not None and _before(stuck, row):
            held.append((row, Reason(stuck.reason)))
        elif most and up + len(begin) >= most:
            held.append((row, Reason.CAPACITY_WAIT))
        else:
            begin.append(row)
    back = [row for row in live if _lacks_seat(row) and first[queue.kind(row.profile)] is not row]
    return Admission(begin, held, back)


def _lacks_seat(row: Runtime) -> bool:
    return row.state == Runtime.State.STARTING and row.reason in _NO_SEAT


def _before(one: Runtime, other: Runtime) -> bool:
    return (one.requested_at, one.pk) < (other.requested_at, other.pk)
