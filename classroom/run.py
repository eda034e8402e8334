"""The autograding of an assignment stopped by a teacher, and taken up again."""

from __future__ import annotations

from classroom import wake
from classroom.models import Assignment
from grading import pause


def stop(assignment: Assignment) -> None:
    """What waits is taken by nobody; what runs ends. Hand-ins are taken and get their receipt all the same."""
    pause.stop(assignment.line_item)


def resume(assignment: Assignment) -> None:
    """What waits is graded again, in its order."""
    if pause.resume(assignment.line_item):
        wake.graders()
