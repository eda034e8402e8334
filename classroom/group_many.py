"""Many groups at once: dealt by chance, taken from a list, or as they are in another assignment."""

from __future__ import annotations

import csv
import io
import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import QuerySet
from django.utils.translation import gettext

from classroom import group as groups
from classroom.csv_out import unescape
from classroom.models import Assignment, Enrollment, Group
from classroom.people.models import User

_CHANCE = secrets.SystemRandom()


@dataclass(frozen=True)
class Row:
    """One line of a list: who is in which group."""

    number: int
    email: str
    group: str


class BadList(groups.GroupError):
    """A line that cannot be; nothing of the list was applied."""


def without_group(assignment: Assignment) -> list[User]:
    """The course's students who are in no group of this assignment, by name."""
    taken = Group.objects.filter(assignment=assignment).values("memberships__user")
    return list(_students(assignment).exclude(pk__in=taken.filter(memberships__user__isnull=False)))


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


def by_list(assignment: Assignment, text: str) -> int:
    """Puts each person of the list (email, group) where it says, out of another group if need be; how many people.

    Raises BadList, with the line, and then nothing was changed.
    """
    rows = read(text)
    students = {user.email.lower(): user for user in _students(assignment)}
    wanted: dict[str, list[User]] = {}
    for row in rows:
        if row.email not in students:
            words = gettext("Line %(n)d: “%(email)s” is no student of this course.")
            raise BadList(user_message=words % {"n": row.number, "email": row.email[:80]})
        wanted.setdefault(row.group, []).append(students[row.email])
    for name, people in wanted.items():
        _fill(assignment, name, people)
    return len(rows)


def read(text: str) -> list[Row]:
    """Lines of "email, group"; a header and empty lines are left out. Raises BadList."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count), skipinitialspace=True)
    found: dict[str, Row] = {}
    try:
        for cells in reader:
            row = _row(reader.line_num, cells)
            if row is None:
                continue
            if row.email in found:
                words = gettext("Line %(n)d: “%(email)s” is on line %(first)d already.")
                raise BadList(
                    user_message=words % {"n": row.number, "email": row.email[:80], "first": found[row.email].number}
                )
            found[row.email] = row
    except csv.Error as error:
        raise BadList(user_message=gettext("This is no list: one line a person, email and group.")) from error
    if not found:
        raise BadList(user_message=gettext("The list is empty: one line a person, email and group."))
    return list(found.values())


def _row(number: int, cells: Sequence[str]) -> Row | None:
    texts = [unescape(" ".join(cell.split())) for cell in cells]
    if not any(texts) or texts[0].casefold() == "email":
        return None
    if len(texts) < 2 or "@" not in texts[0] or not texts[1] or len(texts[1]) > 100:
        raise BadList(user_message=gettext("Line %(n)d: write an email and the name of a group.") % {"n": number})
    return Row(number, texts[0].lower(), texts[1])


def _fill(assignment: Assignment, name: str, people: Sequence[User]) -> None:
    group = Group.objects.filter(assignment=assignment, name=name).first() or groups.form(assignment, name)
    for user in people:
        groups.put(group, user)


def _students(assignment: Assignment) -> QuerySet[User]:
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
