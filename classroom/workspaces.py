"""A workspace for a piece of work, filled with files."""

from __future__ import annotations

from classroom.models import Assignment
from runtimes import storage
from runtimes.models import Snapshot, Workspace

#: How accounts of courses begin.
ACCOUNTS = "course:"


def account_of(course: int) -> str:
    """What usage in a course (its key) is charged to."""
    return f"{ACCOUNTS}{course}"


def filled(assignment: Assignment, files: Snapshot) -> Workspace:
    """A new workspace with these files, on the assignment's machine and the course's account."""
    workspace = Workspace.objects.create(
        profile_id=assignment.profile_id,
        account=account_of(assignment.course_id),
        title=f"{assignment.course.title} · {assignment.title}"[:200],
    )
    storage.fill(workspace, files)
    return workspace
