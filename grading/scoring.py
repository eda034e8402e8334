"""Pure: scores to totals, by nbgrader's rules, in decimals."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

ZERO = Decimal(0)
_STEP = Decimal("0.0001")
_DAY = timedelta(days=1)


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
    """A submission's points. `score` is after the late penalty."""

    raw: Decimal
    penalty: Decimal
    max_score: Decimal
    to_review: int

    @property
    def score(self) -> Decimal:
        """What counts."""
        return self.raw - self.penalty


def total(cells: Iterable[CellPoints], penalty_of: LatePenalty | None = None) -> Total:
    """The sum over all cells, less the late penalty."""
    rows = list(cells)
    raw = sum((cell.score for cell in rows), ZERO)
    penalty = penalty_of.of(raw) if penalty_of else ZERO
    return Total(raw, penalty, sum((cell.max_score for cell in rows), ZERO), sum(cell.to_review for cell in rows))


@dataclass(frozen=True)
class LatePenalty:
    """A late policy applied to one submission. `policy` is a `LineItem.LatePolicy`; `late_by` counts from the due time.

    none and zero are nbgrader's LateSubmissionPlugin.penalty_method; per_day is ours.
    """

    policy: str
    late_by: timedelta
    percent_per_day: Decimal = Decimal(10)

    def of(self, score: Decimal) -> Decimal:
        """Points to subtract, between 0 and `score` (nbgrader clamps the same way)."""
        if self.late_by <= timedelta(0) or score <= ZERO:
            return ZERO
        wanted = {"zero": score, "per_day": self._by_day(score)}.get(self.policy, ZERO)
        return min(max(wanted, ZERO), score)

    def _by_day(self, score: Decimal) -> Decimal:
        """A share of the score for each started day late."""
        days = math.ceil(self.late_by / _DAY)
        return (score * self.percent_per_day * days / 100).quantize(_STEP, ROUND_HALF_UP)


def lateness(received_at: datetime, due_at: datetime | None, grace: timedelta) -> timedelta:
    """How late work counts as: nothing until `due_at + grace`, then everything since `due_at`. Both times are aware."""
    if due_at is None:
        return timedelta(0)
    late = received_at - due_at
    return late if late > grace else timedelta(0)
