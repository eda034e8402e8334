"""What a late policy would do to work handed in at telling moments: a preview for those who set it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from django.utils import timezone

from classroom.models import Assignment
from grading.late import cost_words, penalty, span, steps_of, words
from grading.models import LineItem
from grading.scoring import lateness

Policy = LineItem.LatePolicy
_MINUTE, _HOUR, _DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
_MOST_ROWS = 8


@dataclass(frozen=True)
class Example:
    """Work that comes at `at`."""

    at: datetime
    late: str
    cost: str


@dataclass(frozen=True)
class Preview:
    """The policy in words and by example. `due_at` None: there is none, so the examples have one of their own."""

    words: str
    due_at: datetime | None
    rows: Sequence[Example]


def preview(assignment: Assignment) -> Preview:
    """Around everything that makes a difference: grace, days, the lines of the table."""
    item = assignment.line_item
    due = assignment.due_at or _tonight(assignment.course.time_zone)
    rows = []
    for after in _telling(item) if item.late_policy != Policy.NONE else []:
        late = lateness(due + after, due, item.grace)
        rows.append(Example(due + after, span(after), cost_words(penalty(item, late, due))))
    return Preview(words(item), assignment.due_at, rows)


def _telling(item: LineItem) -> list[timedelta]:
    """Lengths at which, and just after which, something else holds."""
    found = {_MINUTE, item.grace, item.grace + _MINUTE}
    if item.late_policy == Policy.PER_DAY:
        found |= {16 * _HOUR, _DAY + 16 * _HOUR, 6 * _DAY + 16 * _HOUR}
    if item.late_policy == Policy.CUSTOM:
        untils = [step.until for step in steps_of(item.late_steps) if step.until is not None]
        found |= {*untils, *(until + _MINUTE for until in untils[-1:])}
    return sorted(length for length in found if length > timedelta(0))[:_MOST_ROWS]


def _tonight(zone: str) -> datetime:
    today = timezone.localdate(timezone=ZoneInfo(zone))
    return datetime.combine(today, time(18), tzinfo=ZoneInfo(zone))
