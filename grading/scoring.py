"""Pure: scores to totals, by nbgrader's rules, in decimals."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from zoneinfo import ZoneInfo

ZERO = Decimal(0)
_STEP = Decimal("0.0001")
_DAY = timedelta(days=1)
_NOTHING = timedelta(0)


@dataclass(frozen=True)
class CellPoints:
    """What is known of one cell. None: not given. `needs_manual_grade` is nbgrader's flag of the automatic run."""

    max_score: Decimal
    auto_score: Decimal | None = None
    manual_score: Decimal | None = None
    extra_credit: Decimal | None = None
    needs_manual_grade: bool = False

    @property
    def score(self) -> Decimal:
        """See `cell_score`."""
        return cell_score(self.auto_score, self.manual_score, self.extra_credit)

    @property
    def to_review(self) -> bool:
        """Whether a person still has to look: flagged, and not marked by anybody."""
        return self.needs_manual_grade and self.manual_score is None


def cell_score(
    auto_score: Decimal | None, manual_score: Decimal | None, extra_credit: Decimal | None = None
) -> Decimal:
    """Points of a cell: manual, else automatic, else zero, plus extra credit (nbgrader: Grade.score).

    Extra credit may lift it above the maximum.
    """
    given = manual_score if manual_score is not None else auto_score
    return (given if given is not None else ZERO) + (extra_credit or ZERO)


@dataclass(frozen=True)
class Total:
    """A submission's points. `score` is after the late penalty; `waiting` are those of cells that nobody marked yet."""

    raw: Decimal
    penalty: Decimal
    max_score: Decimal
    to_review: int
    waiting: Decimal = ZERO

    @property
    def at_most(self) -> Decimal:
        """What it may become when everything that waits for a person gets all its points."""
        return self.raw + self.waiting - self.penalty

    @property
    def score(self) -> Decimal:
        """What counts."""
        return self.raw - self.penalty


def total(cells: Iterable[CellPoints], penalty_of: LatePenalty | None = None) -> Total:
    """The sum over all cells, less the late penalty."""
    rows = list(cells)
    raw = sum((cell.score for cell in rows), ZERO)
    most = sum((cell.max_score for cell in rows), ZERO)
    penalty = penalty_of.of(raw, most) if penalty_of else ZERO
    waiting = sum((cell.max_score for cell in rows if cell.to_review), ZERO)
    return Total(raw, penalty, most, sum(cell.to_review for cell in rows), waiting)


@dataclass(frozen=True)
class Step:
    """One line of a teacher's own table: work that is late by no more than `until` loses `take`.

    `until` None: whatever is later than the other lines. `take` is a percentage of the score, or points. `by_clock`:
    `until` is days as a clock on the wall counts them, else time as it passes.
    """

    until: timedelta | None
    take: Decimal
    in_points: bool = False
    by_clock: bool = False

    def of(self, score: Decimal) -> Decimal:
        """Points that this line takes."""
        return self.take if self.in_points else _share(score, self.take)


@dataclass(frozen=True)
class LatePenalty:
    """A late policy applied to one submission. `policy` is a `LineItem.LatePolicy`; `late_by` counts from the due time.

    none and zero are nbgrader's LateSubmissionPlugin.penalty_method; per_day and custom are ours. `cap_percent` is the
    most that days take of a score, `floor_percent` what they leave of the points that can be had. Days are those of a
    clock in `zone`: due at six, a day is over at six, also in the night that has an hour more or less.
    """

    policy: str
    late_by: timedelta
    percent_per_day: Decimal = Decimal(10)
    cap_percent: Decimal | None = None
    floor_percent: Decimal | None = None
    steps: tuple[Step, ...] = ()
    due_at: datetime | None = None
    zone: str = "UTC"

    def of(self, score: Decimal, max_score: Decimal | None = None) -> Decimal:
        """Points to subtract, between 0 and `score` (nbgrader clamps the same way)."""
        if self.late_by <= timedelta(0) or score <= ZERO:
            return ZERO
        if self.policy == "per_day":
            wanted = self._by_day(score, max_score)
        elif self.policy == "custom":
            wanted = self._by_step(score)
        else:
            wanted = score if self.policy == "zero" else ZERO
        return min(max(wanted, ZERO), score)

    @property
    def days(self) -> int:
        """Started days; 0 for work in time."""
        return max(math.ceil(self._by_clock / _DAY), 1) if self.late_by > timedelta(0) else 0

    @property
    def step(self) -> Step | None:
        """The line of the table that holds; None where the table has none for it, which costs nothing."""
        for step in self.steps:
            if step.until is None or (self._by_clock if step.by_clock else self.late_by) <= step.until:
                return step
        return None

    @property
    def _by_clock(self) -> timedelta:
        """How late a clock on the wall says that it is: an hour that was put forward counts, one put back does not."""
        if self.due_at is None:
            return self.late_by
        due, received = (moment.astimezone(ZoneInfo(self.zone)) for moment in (self.due_at, self.due_at + self.late_by))
        return self.late_by + ((received.utcoffset() or _NOTHING) - (due.utcoffset() or _NOTHING))

    def _by_day(self, score: Decimal, max_score: Decimal | None) -> Decimal:
        """A share of the score for each started day late, within the cap and above the floor."""
        wanted = _share(score, self.percent_per_day * self.days)
        if self.cap_percent is not None:
            wanted = min(wanted, _share(score, self.cap_percent))
        if self.floor_percent is not None and max_score is not None:
            wanted = min(wanted, max(score - _share(max_score, self.floor_percent), ZERO))
        return wanted

    def _by_step(self, score: Decimal) -> Decimal:
        step = self.step
        return step.of(score) if step else ZERO


def _share(score: Decimal, percent: Decimal) -> Decimal:
    return (score * percent / 100).quantize(_STEP, ROUND_HALF_UP)


def lateness(received_at: datetime, due_at: datetime | None, grace: timedelta) -> timedelta:
    """How late work counts as: nothing until `due_at + grace`, then everything since `due_at`. Both times are aware."""
    if due_at is None:
        return timedelta(0)
    late = received_at - due_at
    return late if late > grace else timedelta(0)
