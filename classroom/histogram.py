"""How scores are spread: tenths of full marks, and the bars of a chart. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from statistics import mean, median

_TENTHS = 10
# The chart's own units: a bar with its gap, the bar alone, the tallest one, and the line of text above it.
_STEP, _BAR, _TALLEST, _TOP = 30, 26, 80, 16


@dataclass(frozen=True)
class Bar:
    """How many have from `low` to `high` per cent of full marks, and the bar's place. `high` None: there is no end."""

    low: int
    high: int | None
    count: int
    x: int
    y: int
    height: int
    width: int = _BAR

    @property
    def middle(self) -> int:
        """Where the number above the bar, and the name below it, stand."""
        return self.x + self.width // 2

    @property
    def above(self) -> int:
        """The base line of that number."""
        return self.y - 4


@dataclass(frozen=True)
class Histogram:
    """Ten equal parts of full marks, and one more where extra credit goes beyond. `median` and `mean` are per cent."""

    scored: int
    median: Decimal
    mean: Decimal
    bars: Sequence[Bar]

    @property
    def width(self) -> int:
        """The chart's width in its own units."""
        return _STEP * len(self.bars)


def histogram(shares: Iterable[Decimal]) -> Histogram | None:
    """Of shares of full marks (1 is all of them); None where there are none.

    A part holds its lower end and not its upper one, but the tenth: full marks are in it. Below zero counts as zero.
    """
    found = list(shares)
    if not found:
        return None
    counts = [0] * (_TENTHS + 1)
    for share in found:
        counts[_TENTHS if share > 1 else min(_TENTHS - 1, max(0, int(share * _TENTHS)))] += 1
    if not counts[_TENTHS]:
        counts.pop()
    bars = [_bar(part, count, max(counts)) for part, count in enumerate(counts)]
    return Histogram(len(found), 100 * median(found), 100 * mean(found), bars)


def _bar(part: int, count: int, tallest: int) -> Bar:
    # One person among many is still seen.
    height = max(2, round(_TALLEST * count / tallest)) if count else 0
    return Bar(
        low=part * 10,
        high=None if part == _TENTHS else part * 10 + 10,
        count=count,
        x=part * _STEP + (_STEP - _BAR) // 2,
        y=_TOP + _TALLEST - height,
        height=height,
    )
