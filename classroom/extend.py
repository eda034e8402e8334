"""More time, or more attempts: in one assignment for one person, or standing, in all of the course."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from django.db import transaction

from classroom.deadlines import Allowance
from classroom.models import Assignment, Course, Enrollment, Extension, GroupMember, Work
from classroom.people.models import User
from classroom.redate import Effects, effects, follow
from runtimes.bus import publish_on_commit


def extend(
    assignment: Assignment, user: User, *, due_at: datetime | None, reason: str, by: User, more_attempts: int = 0
) -> Extension:
    """The person's extension of this assignment; a second one replaces the first. Work that was closed opens again."""
    given = {"due_at": due_at, "more_attempts": more_attempts, "reason": reason, "granted_by": by}
    with transaction.atomic():
        made, _new = Extension.objects.update_or_create(assignment=assignment, user=user, defaults=given)
        _tell([assignment.pk], user)
        follow(assignment, [user.pk])
    return made


def extending(assignment: Assignment, user: User, due_at: datetime | None) -> Effects:
    """What an extension to `due_at` would do to the lateness of what the person handed in. Changes nothing."""
    wish = Extension(assignment=assignment, user=user, due_at=due_at)
    return effects(assignment, [user.pk], extensions={user.pk: wish})


def take_back(course: Course, user: User, pk: int) -> bool:
    """Whether there was such an extension. Everyone's date holds again, also for what was handed in under it."""
    with transaction.atomic():
        found = _extension(course, user, pk)
        if found is None:
            return False
        _tell([found.assignment_id], user)
        found.delete()
        follow(found.assignment, [user.pk])
    return True


def taking_back(course: Course, user: User, pk: int) -> Effects:
    """What `take_back` would do to the lateness of what the person handed in. Changes nothing."""
    found = _extension(course, user, pk)
    return effects(found.assignment, [user.pk], extensions={user.pk: None}) if found else Effects()


def accommodate(enrollment: Enrollment, allowance: Allowance) -> None:
    """The person's standing accommodation: later dates in every assignment of the course, now and to come."""
    with transaction.atomic():
        Enrollment.objects.filter(pk=enrollment.pk).update(**_columns(allowance))
        assignments = list(_assignments(enrollment))
        _tell([one.pk for one in assignments], enrollment.user)
        for one in assignments:
            follow(one, [enrollment.user_id])
    enrollment.refresh_from_db(fields=list(_columns(allowance)))


def accommodating(enrollment: Enrollment, allowance: Allowance) -> Effects:
    """What `accommodate` would do to the lateness of what the person handed in. Changes nothing."""
    wish = {enrollment.user_id: allowance}
    found = [effects(one, [enrollment.user_id], allowances=wish) for one in _assignments(enrollment)]
    return Effects(tuple(change for each in found for change in each.changes))


def _columns(allowance: Allowance) -> Mapping[str, int]:
    return {
        "extra_time_percent": allowance.percent,
        "extra_days": allowance.days,
        "extra_hours": allowance.hours,
    }


def _assignments(enrollment: Enrollment) -> list[Assignment]:
    """Those with a due date in which the person handed something in, or might."""
    due = Assignment.objects.filter(course=enrollment.course_id, due_at__isnull=False, release__isnull=False)
    return list(due.select_related("course", "line_item"))


def _extension(course: Course, user: User, pk: int) -> Extension | None:
    found = Extension.objects.select_related("assignment__course", "assignment__line_item")
    return found.filter(pk=pk, user=user, assignment__course=course).first()


def _tell(assignments: list[int], user: User) -> None:
    """Open notebooks of the person and their groups ask again whether they may be written in."""
    groups = GroupMember.objects.filter(assignment__in=assignments, user=user).values("group")
    works = Work.objects.filter(assignment__in=assignments, members__user=user)
    works |= Work.objects.filter(group__in=groups, members__isnull=False)
    for slug in set(works.values_list("workspace__slug", flat=True)):
        publish_on_commit(f"access:{slug}")
