"""Which dates and how many attempts hold for a person: their own, and those of the people they hand in with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from django.db.models import F

from classroom.deadlines import NONE, Allowance, Dates, allowance_of, dates, latest
from classroom.models import Assignment, Enrollment, Extension, GroupMember
from classroom.people.models import User

type Extensions = Mapping[int, Extension | None]
type Allowances = Mapping[int, Allowance]


def terms_of(assignment: Assignment, user: User) -> Dates:
    """What holds for the person in this assignment. Three queries."""
    return terms_of_all(user, [assignment])[assignment.pk]


def terms_of_all(user: User, assignments: Sequence[Assignment]) -> dict[int, Dates]:
    """What holds for the person, by assignment. Three queries, however many."""
    together = _together(user, assignments)
    people = {user.pk}.union(*together.values())
    extensions = _extensions(assignments, people)
    allowances = _allowances({one.course_id for one in assignments}, people)
    return {
        one.pk: latest(
            dates(one, extensions.get((one.pk, person)), allowances.get((one.course_id, person), NONE))
            for person in together.get(one.pk, {user.pk})
        )
        for one in assignments
    }


def terms_of_people(
    assignment: Assignment,
    people: Iterable[int],
    *,
    extensions: Extensions | None = None,
    allowances: Allowances | None = None,
) -> dict[int, Dates]:
    """What holds for each of these users alone. Two queries.

    `extensions` and `allowances` (by user) stand for what is stored: to say what a change would do.
    """
    users = set(people)
    given = {user: found for (_one, user), found in _extensions([assignment], users).items()} | dict(extensions or {})
    standing = {user: found for (_course, user), found in _allowances({assignment.course_id}, users).items()}
    standing |= dict(allowances or {})
    return {user: dates(assignment, given.get(user), standing.get(user, NONE)) for user in users}


def _together(user: User, assignments: Sequence[Assignment]) -> dict[int, set[int]]:
    """By assignment, everyone of the person's group, the person included. Without a group there is no entry."""
    found: dict[int, set[int]] = {}
    members = GroupMember.objects.filter(
        assignment__in=assignments,
        group__memberships__user=user,
        user__enrollments__course=F("assignment__course"),
        user__enrollments__state__in=[Enrollment.State.ACTIVE, Enrollment.State.INVITED],
    )
    for assignment, member in members.values_list("assignment_id", "user_id"):
        found.setdefault(assignment, {user.pk}).add(member)
    return found


def _extensions(assignments: Sequence[Assignment], people: set[int]) -> dict[tuple[int, int], Extension]:
    rows = Extension.objects.filter(assignment__in=assignments, user__in=people)
    return {(row.assignment_id, row.user_id): row for row in rows}


def _allowances(courses: set[int], people: set[int]) -> dict[tuple[int, int], Allowance]:
    """Of those who are in the course: somebody who left gives nobody more time."""
    rows = Enrollment.objects.filter(course__in=courses, user__in=people).exclude(state=Enrollment.State.DROPPED)
    return {(row.course_id, row.user_id): allowance_of(row) for row in rows}
