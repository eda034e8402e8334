"""Late policies: nbgrader's own two, ours by day and by table, and what is said of them."""

from __future__ import annotations

import itertools
import os
import sys
import warnings
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.utils import translation
from nbformat.v4 import new_notebook
from nbgrader.api import Gradebook
from nbgrader.preprocessors import AssignLatePenalties
from nbgrader.utils import parse_utc
from traitlets.config import Config

from grading.late import cost_words, penalty, span, steps_of, words
from grading.models import LineItem
from grading.scoring import LatePenalty

D = Decimal
DUE = datetime(2026, 6, 5, 16, tzinfo=UTC)
# Due at six in the evening in Paris, the day before the clocks change there.
BEFORE_SUMMER = datetime(2026, 3, 28, 17, tzinfo=UTC)
BEFORE_WINTER = datetime(2026, 10, 24, 16, tzinfo=UTC)
HOURS = timedelta(hours=1)

TABLE: list[dict[str, Any]] = [
    {"until": 1, "unit": "hours", "take": "0", "of": "percent"},
    {"until": 24, "unit": "hours", "take": "10", "of": "percent"},
    {"until": 3, "unit": "days", "take": "2.5", "of": "points"},
    {"until": None, "unit": "days", "take": "100", "of": "percent"},
]


def by_table(late: timedelta, score: Decimal) -> Decimal:
    return LatePenalty("custom", late, steps=steps_of(TABLE)).of(score)


SCORES = (0.0, 3.25, 12.0)
LATE = (timedelta(0), timedelta(seconds=1), timedelta(days=3), -HOURS)


@pytest.fixture(scope="module")
def gradebook(tmp_path_factory: pytest.TempPathFactory) -> str:
    """nbgrader's gradebook with a student for each score and lateness."""
    url = f"sqlite:///{tmp_path_factory.mktemp('nbgrader')}/gradebook.db"
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        # nbgrader's models make SQLAlchemy warn.
        warnings.simplefilter("ignore")
        # A new gradebook runs alembic's command, which stands beside Python.
        patch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        with Gradebook(url) as book:
            book.add_assignment("ps1", duedate="2026-06-05 16:00:00 UTC")
            book.add_notebook("problem1", "ps1")
            book.add_grade_cell("tests", "problem1", "ps1", max_score=10, cell_type="code")
            for score, late in itertools.product(SCORES, LATE):
                student = book.add_student(f"{score} {late}")
                submission = book.add_submission("ps1", student.id, timestamp=parse_utc((DUE + late).isoformat()))
                submission.notebooks[0].grades[0].auto_score = score
            book.db.commit()
    return url


def nbgraders(url: str, method: str, student: str) -> float:
    """The penalty that nbgrader's own AssignLatePenalties writes into its gradebook."""
    config = Config()
    config.LateSubmissionPlugin.penalty_method = method
    resources = {"nbgrader": {"notebook": "problem1", "assignment": "ps1", "student": student, "db_url": url}}
    AssignLatePenalties(config=config).preprocess(new_notebook(), resources)
    with Gradebook(url) as book:
        return float(book.find_submission_notebook("problem1", "ps1", student).late_submission_penalty or 0)


@pytest.mark.parametrize("method", ["none", "zero"])
@pytest.mark.parametrize("late", LATE)
@pytest.mark.parametrize("score", SCORES)
def test_none_and_zero_cost_what_nbgrader_takes(method: str, late: timedelta, score: float, gradebook: str) -> None:
    ours = LatePenalty(method, late).of(D(str(score)))
    assert float(ours) == nbgraders(gradebook, method, f"{score} {late}")


@pytest.mark.parametrize(
    ("late", "score", "expected"),
    [
        (timedelta(0), D(10), 0),
        (timedelta(seconds=1), D(10), 0),
        (HOURS, D(10), 0),
        (HOURS + timedelta(seconds=1), D(10), 1),
        (24 * HOURS, D(10), 1),
        (24 * HOURS + timedelta(seconds=1), D(10), D("2.5")),
        (24 * HOURS + timedelta(seconds=1), D(2), 2),
        (timedelta(days=3), D(10), D("2.5")),
        (timedelta(days=3, seconds=1), D(10), 10),
        (timedelta(days=300), D(0), 0),
        (timedelta(hours=2), D(-1), 0),
    ],
)
def test_a_table_takes_what_its_line_says_and_never_more_than_there_is(late, score, expected) -> None:
    assert by_table(late, score) == expected


def test_what_is_later_than_a_table_without_a_last_line_loses_nothing() -> None:
    assert LatePenalty("custom", 9 * HOURS, steps=steps_of(TABLE[:1])).of(D(10)) == 0
    assert LatePenalty("custom", HOURS).of(D(10)) == 0


@pytest.mark.parametrize(
    ("days", "score", "more", "expected"),
    [
        (9, 10, {"cap_percent": D(30)}, 3),
        (2, 10, {"cap_percent": D(30)}, 2),
        (9, 10, {"floor_percent": D(40)}, 6),
        (9, 5, {"floor_percent": D(40)}, 1),
        (9, 3, {"floor_percent": D(40)}, 0),
        (9, 10, {"cap_percent": D(80), "floor_percent": D(50)}, 5),
        (9, 10, {"cap_percent": D(0)}, 0),
    ],
)
def test_days_stop_at_the_cap_and_above_the_floor(days: int, score: int, more: dict[str, Decimal], expected) -> None:
    late = LatePenalty("per_day", timedelta(days=days), **more)
    assert late.of(D(score), D(10)) == expected


@pytest.mark.parametrize(
    ("due", "late", "days"),
    [
        # That Sunday has 23 hours: six o'clock comes after 23, and the second day begins then.
        (BEFORE_SUMMER, 23 * HOURS, 1),
        (BEFORE_SUMMER, 23 * HOURS + timedelta(seconds=1), 2),
        # And that one 25: nobody loses a second day before six o'clock.
        (BEFORE_WINTER, 25 * HOURS, 1),
        (BEFORE_WINTER, 25 * HOURS + timedelta(seconds=1), 2),
        (DUE, 24 * HOURS, 1),
        (DUE, 24 * HOURS + timedelta(seconds=1), 2),
        (DUE, timedelta(seconds=1), 1),
        (DUE, timedelta(0), 0),
        # Due in the hour that happens twice: the second time is late, by a day that has begun.
        (datetime(2026, 10, 25, 0, 30, tzinfo=UTC), HOURS, 1),
    ],
)
def test_days_are_those_of_a_clock_in_the_course_also_when_it_changes(due, late, days) -> None:
    found = LatePenalty("per_day", late, due_at=due, zone="Europe/Paris")
    assert (found.days, found.of(D(10))) == (days, days)
    elsewhere = LatePenalty("per_day", late, due_at=due, zone="Africa/Lagos")
    assert elsewhere.days == -(-late // timedelta(days=1))


def test_a_line_in_days_follows_the_clock_and_one_in_hours_the_time_that_passes() -> None:
    late, due = 24 * HOURS + timedelta(minutes=30), BEFORE_WINTER
    last = {"until": None, "unit": "days", "take": "50", "of": "percent"}
    for unit, until, expected in (("days", 1, 1), ("hours", 24, 5)):
        rows = [{"until": until, "unit": unit, "take": "10", "of": "percent"}, last]
        found = LatePenalty("custom", late, steps=steps_of(rows), due_at=due, zone="Europe/Paris")
        assert found.of(D(10)) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "Late work loses nothing."),
        ({"late_policy": "zero"}, "Late work scores zero."),
        (
            {"late_policy": "per_day", "late_percent_per_day": D("12.50"), "grace": timedelta(minutes=15)},
            "Late: −12.5 % of the score a started day. Up to 15 minutes late counts as in time.",
        ),
        (
            {"late_policy": "per_day", "late_cap_percent": D(50), "late_floor_percent": D(20)},
            "Late: −10 % of the score a started day, at most −50 %, never below 20 % of the points.",
        ),
        (
            {"late_policy": "custom", "late_steps": TABLE},
            "Late: up to 1 hour nothing; up to 24 hours −10 %; up to 3 days −2.5 points; later −100 %.",
        ),
    ],
)
def test_a_policy_is_said_in_words(fields: dict[str, Any], expected: str) -> None:
    with translation.override("en"):
        assert words(LineItem(**{"late_percent_per_day": D(10)} | fields)) == expected


@pytest.mark.parametrize(
    ("fields", "late", "expected"),
    [
        ({"late_policy": "none"}, 5 * HOURS, "nothing"),
        ({"late_policy": "zero"}, 5 * HOURS, "scores zero"),
        ({"late_policy": "zero"}, timedelta(0), "nothing"),
        ({"late_policy": "per_day"}, 25 * HOURS, "−20 %"),
        ({"late_policy": "per_day", "late_cap_percent": D(15)}, 25 * HOURS, "−15 %"),
        ({"late_policy": "custom", "late_steps": TABLE}, 25 * HOURS, "−2.5 points"),
        ({"late_policy": "custom", "late_steps": TABLE[:1]}, 25 * HOURS, "nothing"),
    ],
)
def test_what_a_moment_costs_is_said_in_words(fields: dict[str, Any], late: timedelta, expected: str) -> None:
    item = LineItem(**{"late_percent_per_day": D(10)} | fields)
    with translation.override("en"):
        assert cost_words(penalty(item, late, DUE)) == expected


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (timedelta(seconds=1), "1 minute"),
        (timedelta(minutes=15), "15 minutes"),
        (timedelta(hours=1), "1 hour"),
        (timedelta(hours=26), "26 hours"),
        (timedelta(days=2), "2 days"),
        (timedelta(days=3, minutes=1), "3 days 1 minute"),
        (timedelta(days=3, hours=2, minutes=5), "3 days 2 hours 5 minutes"),
    ],
)
def test_a_length_is_said_in_few_words(length: timedelta, expected: str) -> None:
    with translation.override("en"):
        assert span(length) == expected
