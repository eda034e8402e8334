"""Whose date holds: everyone's, an extension's, a standing accommodation's; also where the clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from classroom.deadlines import Allowance, Dates, Why, dates, is_open, latest
from classroom.models import Assignment, Course, Extension

State = Assignment.State
# Six in the evening in Paris, a week before and just before the clocks go forward there.
OPENED, DUE = datetime(2026, 3, 20, 17, tzinfo=UTC), datetime(2026, 3, 28, 17, tzinfo=UTC)
CLOSES = datetime(2026, 3, 30, 16, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def assignment(**fields: object) -> Assignment:
    course = Course(title="Data", time_zone="Europe/Paris")
    known = {"opened_at": OPENED, "due_at": DUE, "closes_at": CLOSES, "state": State.OPEN}
    return Assignment(course=course, **known | fields)


def extension(due_at: datetime | None = None, **fields: int) -> Extension:
    return Extension(due_at=due_at, **fields)


@pytest.mark.parametrize(
    ("given", "allowance", "due", "why"),
    [
        (None, Allowance(), DUE, Why.EVERYONE),
        (DUE + DAY, Allowance(), DUE + DAY, Why.EXTENSION),
        (DUE - DAY, Allowance(), DUE, Why.EVERYONE),
        # A quarter of the eight days that it is open.
        (None, Allowance(percent=25), DUE + 2 * DAY, Why.ACCOMMODATION),
        # Six o'clock stays six o'clock: that day has 23 hours.
        (None, Allowance(days=1), DUE + 23 * HOUR, Why.ACCOMMODATION),
        (None, Allowance(hours=24), DUE + 24 * HOUR, Why.ACCOMMODATION),
        (None, Allowance(days=1, hours=3), DUE + 26 * HOUR, Why.ACCOMMODATION),
        (DUE + DAY, Allowance(percent=25), DUE + 2 * DAY, Why.ACCOMMODATION),
        (DUE + 5 * DAY, Allowance(percent=25), DUE + 5 * DAY, Why.EXTENSION),
    ],
)
def test_the_later_date_counts(given, allowance, due, why) -> None:
    found = dates(assignment(), extension(given) if given else None, allowance)
    assert (found.due_at, found.why) == (due, why)


def test_the_closing_date_keeps_its_distance_by_the_clock() -> None:
    assert dates(assignment()).closes_at == CLOSES
    assert dates(assignment(), extension(DUE + 23 * HOUR)).closes_at == CLOSES + DAY
    assert dates(assignment(closes_at=None), extension(DUE + DAY)).closes_at is None


def test_a_share_is_of_the_time_since_it_was_published_and_ends_at_a_full_minute() -> None:
    opened = DUE - timedelta(minutes=10, seconds=2)
    assert dates(assignment(opened_at=opened), None, Allowance(percent=50)).due_at == DUE + timedelta(minutes=6)
    assert dates(assignment(opened_at=None), None, Allowance(percent=50)).due_at == DUE
    planned = assignment(opened_at=None, publish_at=OPENED)
    assert dates(planned, None, Allowance(percent=25)).due_at == DUE + 2 * DAY


def test_an_assignment_without_a_due_date_is_never_due_for_anybody() -> None:
    found = dates(assignment(due_at=None), extension(CLOSES + DAY), Allowance(percent=50, days=2))
    assert (found.due_at, found.closes_at) == (None, CLOSES + DAY)


def test_more_attempts_alone_move_no_date() -> None:
    found = dates(assignment(), extension(more_attempts=2))
    assert (found.due_at, found.closes_at, found.more_attempts, found.own) == (DUE, CLOSES, 2, False)


def test_people_who_hand_in_together_have_the_latest_date_and_the_most_attempts() -> None:
    found = latest([dates(assignment(), extension(more_attempts=2)), dates(assignment(), None, Allowance(percent=25))])
    assert (found.due_at, found.why, found.more_attempts) == (DUE + 2 * DAY, Why.ACCOMMODATION, 2)
    assert latest([Dates(DUE, CLOSES), Dates(None, None)]) == Dates(None, None)


@pytest.mark.parametrize(
    ("fields", "given", "now", "expected"),
    [
        ({}, None, CLOSES - HOUR, True),
        ({}, None, CLOSES, False),
        ({}, DUE + DAY, CLOSES + HOUR, True),
        # The periodic task has closed it for the others.
        ({"state": State.CLOSED}, None, CLOSES + HOUR, False),
        ({"state": State.CLOSED}, DUE + DAY, CLOSES + HOUR, True),
        # The teacher closed it by hand, before its closing date or without one.
        ({"state": State.CLOSED, "closes_at": None}, DUE + DAY, DUE + HOUR, True),
        ({"state": State.CLOSED, "closes_at": None}, DUE + DAY, DUE + DAY, False),
        ({"state": State.CLOSED}, None, DUE - DAY, False),
        ({"state": State.DRAFT}, DUE + DAY, DUE, False),
    ],
)
def test_it_is_open_by_ones_own_dates(fields, given, now, expected) -> None:
    found = assignment(**fields)
    assert is_open(found, dates(found, extension(given) if given else None), now) is expected


def test_an_accommodation_goes_on_where_others_have_to_stop() -> None:
    found = assignment(state=State.CLOSED)
    assert is_open(found, dates(found, None, Allowance(hours=12)), CLOSES + HOUR)
    found = assignment(state=State.CLOSED, closes_at=None)
    assert is_open(found, dates(found, None, Allowance(hours=12)), DUE + HOUR)
    found.course.archived_at = DUE
    assert not is_open(found, dates(found, None, Allowance(hours=12)), DUE + HOUR)
