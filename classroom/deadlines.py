"""When work is due, when it closes, and whether it may still be changed. Pure: no queries."""

from __future__ import annotations

from datetime import datetime

from classroom.models import Assignment, Extension


def due_at(assignment: Assignment, extension: Extension | None) -> datetime | None:
    """The due date for one person: the later of the assignment's and their extension's. None: never due."""
    if assignment.due_at is None or extension is None:
        return assignment.due_at
    return max(assignment.due_at, extension.due_at)


def closes_at(assignment: Assignment, extension: Extension | None) -> datetime | None:
    """When nothing can be changed or handed in any more. An extension never ends after that. None: open-ended."""
    if assignment.closes_at is None or extension is None:
        return assignment.closes_at
    return max(assignment.closes_at, extension.due_at)


def is_open(assignment: Assignment, extension: Extension | None, now: datetime) -> bool:
    """Whether the person may work and hand in, in a published assignment of a course that runs.

    The dates decide, whether or not the periodic task has already moved the state; someone with an extension goes on
    in an assignment that is closed for the others.
    """
    if assignment.course.archived_at is not None:
        return False
    closing = closes_at(assignment, extension)
    if assignment.state == Assignment.State.OPEN:
        return closing is None or now < closing
    if assignment.state == Assignment.State.CLOSED:
        return extension is not None and now < extension.due_at
    return False
