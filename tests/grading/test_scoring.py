"""nbgrader's rules for scores, and ours for late work, in decimals."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from grading import cells
from grading.engine import CellSpec
from grading.scoring import CellPoints, LatePenalty, cell_score, lateness, total

D = Decimal
DUE = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("auto", "manual", "extra", "expected"),
    [
        (None, None, None, 0),
        (D(1), None, None, 1),
        (D(1), D(0), None, 0),
        (None, D("2.5"), D("0.5"), 3),
        (D(1), None, D(2), 3),
        (None, None, D("0.1"), D("0.1")),
    ],
)
def test_a_manual_score_beats_the_automatic_one_and_extra_credit_is_added(auto, manual, extra, expected) -> None:
    assert cell_score(auto, manual, extra) == expected


def test_a_total_says_how_many_cells_still_wait_for_a_person() -> None:
    rows = [
        CellPoints(D(1), auto_score=D(1)),
        CellPoints(D(2), needs_manual_grade=True),
        CellPoints(D(3), manual_score=D(2), needs_manual_grade=True),
    ]
    found = total(rows)
    assert (found.raw, found.max_score, found.to_review, found.penalty, found.score) == (3, 6, 1, 0, 3)


def test_tenths_add_up_exactly() -> None:
    assert total(CellPoints(D(1), auto_score=cells.points(0.1)) for _ in range(10)).raw == 1


@pytest.mark.parametrize(
    ("policy", "late", "score", "expected"),
    [
        ("none", timedelta(days=3), D(10), 0),
        ("zero", timedelta(seconds=1), D(10), 10),
        ("zero", timedelta(0), D(10), 0),
        ("per_day", timedelta(seconds=1), D(10), 1),
        ("per_day", timedelta(days=1), D(10), 1),
        ("per_day", timedelta(days=1, seconds=1), D(10), 2),
        ("per_day", timedelta(days=30), D(10), 10),
        ("per_day", timedelta(days=1), D("0.3333"), D("0.0333")),
        ("zero", timedelta(days=1), D(0), 0),
    ],
)
def test_late_work_loses_what_its_policy_says_and_never_more_than_it_has(policy, late, score, expected) -> None:
    assert LatePenalty(policy, late).of(score) == expected


@pytest.mark.parametrize(
    ("seconds", "grace", "expected"), [(-1, 0, 0), (0, 0, 0), (1, 0, 1), (60, 60, 0), (61, 60, 61)]
)
def test_grace_forgives_all_or_nothing(seconds: int, grace: int, expected: int) -> None:
    late = lateness(DUE + timedelta(seconds=seconds), DUE, timedelta(seconds=grace))
    assert late == timedelta(seconds=expected)


def test_work_without_a_due_date_is_never_late() -> None:
    assert lateness(DUE, None, timedelta(0)) == timedelta(0)


def test_a_release_is_summed_up_by_who_grades() -> None:
    found = cells.summary(
        [
            CellSpec("a", "answer", "code", 0, 0),
            CellSpec("b", "tests", "code", 0.5, 1),
            CellSpec("c", "tests", "code", 1, 2),
            CellSpec("d", "manual", "markdown", 2, 3),
            CellSpec("e", "task", "markdown", 4, 4),
        ]
    )
    assert (found.tests.count, found.tests.points, found.answers, found.points) == (2, D("1.5"), 1, D("7.5"))
