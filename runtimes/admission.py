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

type _Group = tuple[str, str]


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
    first: dict[_Group, Runtime] = {}
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


def _held_up(row: Runtime, *, doubtful: bool) -> _Group:
    """Whom it holds up, having no seat: one of `_groups`. What waits in vain holds up its like alone."""
    profile, kind, seats = _groups(row)
    if doubtful or row.reason == Reason.NO_MACHINE:
        return profile
    # A quota is the whole namespace's, wherever in it a pod would be.
    return seats if row.reason == Reason.QUOTA_EXCEEDED else kind


def _groups(row: Runtime) -> tuple[_Group, _Group, _Group]:
    """From the narrowest: its profile's, who competes for the same nodes, who wants seats of the same sort."""
    profile = row.profile
    return ("profile", profile.slug), ("kind", queue.kind(profile)), ("seats", queue.seats_of(profile))


def _behind(row: Runtime, first: Mapping[_Group, Runtime]) -> Runtime | None:
    """The first one that holds it up; None: nobody does."""
    stuck = [first[group] for group in _groups(row) if group in first] if first else []
    return min((one for one in stuck if _before(one, row)), key=_order, default=None)


def _lacks_seat(row: Runtime) -> bool:
    return row.state == Runtime.State.STARTING and row.reason in _NO_SEAT


def _before(one: Runtime, other: Runtime) -> bool:
    return _order(one) < _order(other)


def _order(row: Runtime) -> tuple[datetime, int]:
    return row.requested_at, row.pk
