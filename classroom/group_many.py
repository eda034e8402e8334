"""Many groups at once: dealt by chance, or as they are in another assignment. From a list: `group_list.py`."""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence

from django.db.models import QuerySet
from django.utils.translation import gettext

from classroom import group as groups
from classroom.models import Assignment, Enrollment, Group
from classroom.people.models import User

_CHANCE = secrets.SystemRandom()


def without_group(assignment: Assignment) -> list[User]:
    """The course's students who are in no group of this assignment, by name."""
    taken = Group.objects.filter(assignment=assignment).values("memberships__user")
    return list(students_of(assignment).exclude(pk__in=taken.filter(memberships__user__isnull=False)))


def deal(assignment: Assignment, size: int) -> int:
    """Puts everyone without a group into groups of `size`, by chance; as few as can be have one fewer. How many."""
    people = without_group(assignment)
    _CHANCE.shuffle(people)
    count = math.ceil(len(people) / max(size, 1))
    names = _free_names(assignment, count)
    for index, name in enumerate(names):
        groups.form(assignment, name, people[index::count])
    return count


def copy_from(assignment: Assignment, other: Assignment) -> int:
    """The groups of another assignment of the course, for those who are in none here; how many were made or filled."""
    free = {user.pk: user for user in without_group(assignment)}
    made = 0
    for group in Group.objects.filter(assignment=other).prefetch_related("members").order_by("pk"):
        people = [free[user.pk] for user in group.members.all() if user.pk in free]
        if people:
            _fill(assignment, group.name, people)
            made += 1
    return made


def _fill(assignment: Assignment, name: str, people: Sequence[User]) -> None:
    group = Group.objects.filter(assignment=assignment, name=name).first() or groups.form(assignment, name)
    for user in people:
        groups.put(group, user)


def students_of(assignment: Assignment) -> QuerySet[User]:
    """Those who can be in a group, by name."""
    students = Enrollment.objects.filter(course=assignment.course_id, role=Enrollment.Role.STUDENT)
    present = students.exclude(state=Enrollment.State.DROPPED).values("user")
    return User.objects.filter(pk__in=present).order_by("display_name", "username")


def free_name(assignment: Assignment) -> str:
    """A name like "Group 3" that no group of the assignment has."""
    return _free_names(assignment, 1)[0]


def _free_names(assignment: Assignment, count: int) -> list[str]:
    taken = set(Group.objects.filter(assignment=assignment).values_list("name", flat=True))
    found: list[str] = []
    number = 1
    while len(found) < count:
        name = gettext("Group %(n)d") % {"n": number}
        if name not in taken:
            found.append(name)
        number += 1
    return found
