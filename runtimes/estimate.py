"""Pure: how long somebody waits for a seat, from how long runs have lasted. Says nothing where too little is known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from statistics import median

#: Fewer measured runs than this tell nothing.
LEAST_MEASURED = 5
#: Pairs of a seat and a length that are looked at, about: a page that waits asks every second or two.
_PAIRS = 2000


@dataclass(frozen=True, slots=True)
class Seat:
    """A seat that is taken: for how long its runtime has run, and how long it may run on at most (None: not known)."""

    age: timedelta
    left: timedelta | None = None


def until_start(place: int, seats: Sequence[Seat], lengths: Sequence[timedelta]) -> timedelta | None:
    """How long until who is at `place` (1: the next) most likely has a seat; None where that is unknown.

    lengths: of runs that are over. A run that has lasted for a while ends like those measured runs that lasted longer,
    and at its limit at the latest. The answer is the moment by which as many seats are expected to be free as people
    are served (half a seat less, so that of one seat it is the median). Where more people wait than there are seats,
    each round takes the length of a usual run."""
    if place < 1 or not seats or len(lengths) < LEAST_MEASURED:
        return None
    rounds, turn = divmod(place - 1, len(seats))
    lengths = _thinned(sorted(lengths), max(_PAIRS // len(seats), LEAST_MEASURED))
    freed = 0.0
    for time, share in sorted(end for seat in seats for end in _ends(seat, lengths)):
        freed += share
        # Shares are fractions: a sum of them may fall short of a half by the last bit.
        if freed >= turn + 0.5 - 1e-9:
            return time + rounds * timedelta(seconds=median(length.total_seconds() for length in lengths))
    return None


def _thinned(lengths: Sequence[timedelta], most: int) -> Sequence[timedelta]:
    """At most so many of them, evenly spread from the shortest to the longest."""
    if len(lengths) <= most:
        return lengths
    return [lengths[index * (len(lengths) - 1) // (most - 1)] for index in range(most)]


def _ends(seat: Seat, lengths: Sequence[timedelta]) -> Iterator[tuple[timedelta, float]]:
    """When it may become free, each with how likely; nothing for a run without a limit that outlasted all measured."""
    left = None if seat.left is None else max(seat.left, timedelta(0))
    longer = [length - seat.age for length in lengths if length > seat.age]
    if not longer and left is not None:
        yield left, 1.0
    for time in longer:
        yield (time if left is None else min(time, left)), 1 / len(longer)
