"""What the pages about groups show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import QuerySet

from classroom import group as verbs
from classroom.enter import Member
from classroom.models import Assignment, Enrollment, Group, GroupMember, Work
from classroom.people.models import User
from grading.models import Submission


@dataclass(frozen=True)
class Line:
    """One group: its people, whether any of them has begun, and how often it has handed in."""

    group: Group
    members: Sequence[Enrollment]
    begun: bool
    handed_in: int


@dataclass(frozen=True)
class Page:
    """The groups, who is in none, and assignments whose groups may be taken over."""

    lines: Sequence[Line]
    alone: Sequence[Enrollment]
    others: Sequence[Assignment]


def page(me: Member, assignment: Assignment) -> Page:
    """Everything on the teacher's page. Six queries."""
    students = list(me.students().select_related("user", "section").order_by("section__name", "user__display_name"))
    by_user = {one.user_id: one for one in students}
    members: dict[int, list[Enrollment]] = {}
    for group, user in GroupMember.objects.filter(assignment=assignment).order_by("pk").values_list("group", "user"):
        if user in by_user:
            members.setdefault(group, []).append(by_user.pop(user))
    begun = set(Work.objects.filter(assignment=assignment, group__isnull=False).values_list("group", flat=True))
    keys = list(
        Submission.objects.filter(line_item=assignment.line_item_id, authors_key__startswith="group:").values_list(
            "authors_key", flat=True
        )
    )
    groups = Group.objects.filter(assignment=assignment).order_by("pk")
    return Page(
        lines=[Line(one, members.get(one.pk, []), one.pk in begun, keys.count(f"group:{one.pk}")) for one in groups],
        alone=list(by_user.values()),
        others=list(others(assignment).distinct().order_by("position", "pk")),
    )


def others(assignment: Assignment) -> QuerySet[Assignment]:
    """The course's other assignments that have groups."""
    return Assignment.objects.filter(course=assignment.course_id, groups__isnull=False).exclude(pk=assignment.pk)


@dataclass(frozen=True)
class Mine:
    """A student's own group, if any, and what they may do about it."""

    group: Group | None
    members: Sequence[User]
    may_change: bool
    handed_in: bool


def mine(assignment: Assignment, user: User) -> Mine:
    """The student's page."""
    group = verbs.group_of(assignment, user)
    return Mine(
        group=group,
        members=list(group.members.order_by("display_name")) if group else [],
        may_change=verbs.by_students(assignment, user),
        handed_in=group is not None and verbs.handed_in(group),
    )
