"""Pure: what the cells of a release amount to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from grading.models import GradeCell


class Scored(Protocol):
    """A cell with points: a `GradeCell`, or the engine's `CellSpec`."""

    @property
    def kind(self) -> str:
        """One of `GradeCell.Kind`."""

    @property
    def max_score(self) -> Decimal | float:
        """Its points."""


@dataclass(frozen=True)
class Share:
    """How many cells of one kind there are, and their points."""

    count: int = 0
    points: Decimal = Decimal(0)


@dataclass(frozen=True)
class Summary:
    """A release in numbers, by who grades: tests by the machine, answers and tasks by people."""

    tests: Share
    manual: Share
    task: Share
    answers: int

    @property
    def points(self) -> Decimal:
        """The most that can be had without extra credit."""
        return self.tests.points + self.manual.points + self.task.points


def points(value: Decimal | float) -> Decimal:
    """nbgrader's floats as the decimals that were typed: 0.1 is 0.1. Four places, as stored."""
    return Decimal(str(value)).quantize(Decimal("0.0001"))


def summary(cells: Iterable[Scored]) -> Summary:
    """Counts and points by kind."""
    rows = [(cell.kind, points(cell.max_score)) for cell in cells]

    def share(kind: str) -> Share:
        of_kind = [score for each, score in rows if each == kind]
        return Share(len(of_kind), sum(of_kind, Decimal(0)))

    answers = sum(1 for kind, _ in rows if kind == GradeCell.Kind.ANSWER)
    return Summary(share(GradeCell.Kind.TESTS), share(GradeCell.Kind.MANUAL), share(GradeCell.Kind.TASK), answers)
