"""A later due date for one person."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from classroom.models import Assignment, Course, Extension, Work
from classroom.people.models import User
from runtimes.bus import publish_on_commit


def extend(assignment: Assignment, user: User, *, due_at: datetime, reason: str, by: User) -> Extension:
    """The person's extension of this assignment; a second one replaces the first. Work that was closed opens again."""
    with transaction.atomic():
        given, _made = Extension.objects.update_or_create(
            assignment=assignment, user=user, defaults={"due_at": due_at, "reason": reason, "granted_by": by}
        )
        _tell(assignment.pk, user)
    return given


def take_back(course: Course, user: User, pk: int) -> bool:
    """Whether there was such an extension. What was handed in under it stays in time."""
    with transaction.atomic():
        found = Extension.objects.filter(pk=pk, user=user, assignment__course=course).first()
        if found is None:
            return False
        _tell(found.assignment_id, user)
        found.delete()
    return True


def _tell(assignment: int, user: User) -> None:
    """An open notebook asks again whether it may be written in."""
    works = Work.objects.filter(assignment=assignment, members__user=user)
    for slug in works.values_list("workspace__slug", flat=True):
        publish_on_commit(f"access:{slug}")
