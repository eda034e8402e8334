"""When work is due and closes for one person, and whether it may still be changed. Pure: no queries.

The later counts: everyone's date, an extension's, or that of a standing accommodation. The closing date keeps its
distance from the due date. Of people who hand in together the latest date counts for all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from classroom.local_time import meant
from classroom.models import Assignment, Enrollment, Extension

_MINUTE = timedelta(minutes=1)


class Why(StrEnum):
    """Whose due date it is."""

    EVERYONE = "everyone"
    ACCOMMODATION = "accommodation"
    EXTENSION = "extension"


@dataclass(frozen=True)
class Allowance:
    """A standing accommodation: `percent` of the time that an assignment is open, then days, then hours."""

    percent: int = 0
    days: int = 0
    hours: int = 0

    def __bool__(self) -> bool:
        return bool(self.percent or self.days or self.hours)


NONE = Allowance()


@dataclass(frozen=True)
class Dates:
    """What holds for one person, or for people who hand in together. None: never due, or open-ended.

    `extended_to` is a date of their own, until when they go on in what was closed by hand.
    """

    due_at: datetime | None
    closes_at: datetime | None
    why: Why = Why.EVERYONE
    extended_to: datetime | None = None
    more_attempts: int = 0

    @property
    def own(self) -> bool:
        """Whether the date is later than everyone's."""
        return self.why is not Why.EVERYONE


def allowance_of(enrollment: Enrollment | None) -> Allowance:
    """The person's standing accommodation in the course."""
    if enrollment is None:
        return NONE
    return Allowance(enrollment.extra_time_percent, enrollment.extra_days, enrollment.extra_hours)


def dates(assignment: Assignment, extension: Extension | None = None, allowance: Allowance = NONE) -> Dates:
    """The dates for one person. `assignment.course` must have been fetched."""
    more = extension.more_attempts if extension else 0
    given = extension.due_at if extension else None
    if assignment.due_at is None:
        # Nothing can be late; an extension then says until when the person may go on.
        closes = assignment.closes_at
        if closes is not None and given is not None:
            closes = max(closes, given)
        return Dates(None, closes, Why.EXTENSION if given else Why.EVERYONE, given, more)
    due, why = accommodated(assignment, allowance), Why.ACCOMMODATION
    if given is not None and given >= due:
        due, why = given, Why.EXTENSION
    if due <= assignment.due_at:
        return Dates(assignment.due_at, assignment.closes_at, extended_to=given, more_attempts=more)
    return Dates(due, _moved(assignment, due), why, due, more)


def accommodated(assignment: Assignment, allowance: Allowance) -> datetime:
    """The due date with the allowance, to the full minute; days by the clock of the course. It must have one."""
    due = assignment.due_at
    assert due is not None
    opened = assignment.opened_at or assignment.publish_at
    if allowance.percent and opened is not None and opened < due:
        due += (due - opened) * allowance.percent / 100
    if allowance.days:
        due = _later_by_clock(due, timedelta(days=allowance.days), assignment.course.time_zone)
    due += timedelta(hours=allowance.hours)
    return due if due == assignment.due_at else _full_minute(due)


def latest(found: Iterable[Dates]) -> Dates:
    """What holds for people who hand in together: of everything the latest, and the most attempts."""
    rows = list(found)
    last = max(rows, key=lambda row: (row.due_at is None, row.due_at.timestamp() if row.due_at else 0, row.own))
    closing = [row.closes_at for row in rows if row.closes_at is not None]
    return Dates(
        due_at=last.due_at,
        closes_at=max(closing) if len(closing) == len(rows) else None,
        why=last.why,
        extended_to=max((row.extended_to for row in rows if row.extended_to is not None), default=None),
        more_attempts=max(row.more_attempts for row in rows),
    )


def is_open(assignment: Assignment, mine: Dates, now: datetime) -> bool:
    """Whether the person may work and hand in, in a published assignment of a course that runs.

    The dates decide, whether or not the periodic task has already moved the state; someone with a later date goes on
    in an assignment that is closed for the others: to their own closing date, or only to their due date where the
    teacher closed it by hand.
    """
    if assignment.course.archived_at is not None:
        return False
    if assignment.state == Assignment.State.OPEN:
        return mine.closes_at is None or now < mine.closes_at
    if assignment.state == Assignment.State.CLOSED:
        by_date = assignment.closes_at is not None and assignment.closes_at <= now
        until = mine.closes_at if by_date else mine.extended_to
        return until is not None and now < until
    return False


def _moved(assignment: Assignment, due: datetime) -> datetime | None:
    """The closing date as far behind `due` as it is behind everyone's."""
    if assignment.closes_at is None or assignment.due_at is None:
        return assignment.closes_at
    zone = ZoneInfo(assignment.course.time_zone)
    further = due.astimezone(zone).replace(tzinfo=None) - assignment.due_at.astimezone(zone).replace(tzinfo=None)
    return max(due, _later_by_clock(assignment.closes_at, further, assignment.course.time_zone))


def _later_by_clock(moment: datetime, by: timedelta, zone: str) -> datetime:
    """`moment` moved on the clock of `zone`: six o'clock stays six o'clock when the clocks change between."""
    return meant(moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None) + by, zone, later=True).moment


def _full_minute(moment: datetime) -> datetime:
    short = moment.replace(second=0, microsecond=0)
    return short if short == moment else short + _MINUTE
