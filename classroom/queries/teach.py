"""A course as its teachers and TAs see it: a row for each assignment, with how far it has come and what waits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import models
from django.db.models import Count, F, OuterRef, QuerySet, Subquery

from classroom.enter import Member
from classroom.models import Assignment, Course, Enrollment, WorkMember
from classroom.people.models import User
from classroom.queries.counting import by_person, last_of_each
from classroom.queries.study import released
from grading.models import Feedback, LineItem, Release, Submission
from grading.states import UNDER_WAY

State = Submission.State
_GRADED = {State.GRADED, State.REVIEWED}


@dataclass
class Flow:
    """How many of `people` students opened it, handed in, have a mark, have it back; what waits for a person."""

    people: int
    opened: int = 0
    submitted: int = 0
    graded: int = 0
    returned: int = 0
    to_mark: int = 0
    failed: int = 0
    grading: int = 0
    seen: set[int] = field(default_factory=set)

    @property
    def marked(self) -> bool:
        """Whether everything that was handed in has its mark."""
        return self.submitted > 0 and self.graded == self.submitted


@dataclass(frozen=True)
class Row:
    """One assignment. `draft` is the newest release where it is not the published one."""

    assignment: Assignment
    flow: Flow
    draft_state: str = ""
    check_state: str = ""


@dataclass(frozen=True)
class Unit:
    """A heading of the course page, and the assignments below it."""

    name: str
    rows: list[Row]


def units(rows: Iterable[Row]) -> list[Unit]:
    """Rows by unit, each where its first assignment stands, as students see them (`study.course_units`)."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.assignment.unit, []).append(row)
    return [Unit(name, below) for name, below in found.items()]


def archived(user: User) -> list[Course]:
    """The archived courses that the person was in to the end: they can still be read, and opened again. One query."""
    mine = Enrollment.objects.filter(user=user).exclude(state=Enrollment.State.DROPPED)
    found = Course.objects.all().fetch_mode(models.FETCH_RAISE).filter(pk__in=mine.values("course"))
    return list(found.filter(archived_at__isnull=False).order_by("-archived_at"))


def rows(me: Member) -> list[Row]:
    """The course's assignments in their order, counted over the students that `me` looks after. Five queries."""
    newest = Release.objects.filter(line_item=OuterRef("line_item")).order_by("-number")
    assignments = list(
        Assignment.objects.all()
        .fetch_mode(models.FETCH_RAISE)
        .select_related("line_item", "release")
        .filter(course=me.course)
        .annotate(
            draft_state=Subquery(newest.values("state")[:1]),
            check_state=Subquery(newest.values("check_run__state")[:1]),
            newest=Subquery(newest.values("pk")[:1]),
        )
        .order_by("position", "pk")
    )
    flows = flow_of(assignments, me.students())
    return [
        Row(one, flows[one.pk])
        if one.newest in {None, one.release_id, one.next_release_id}
        else Row(one, flows[one.pk], draft_state=one.draft_state, check_state=one.check_state or "")
        for one in assignments
    ]


def flow_of(assignments: Iterable[Assignment], students: QuerySet[Enrollment]) -> dict[int, Flow]:
    """Flow by assignment id. Of several attempts the one that counts. Three queries; eight where it is the best."""
    wanted = list(assignments)
    people = students.count()
    flows = {one.pk: Flow(people=people) for one in wanted}
    flows_of = {one.line_item_id: flows[one.pk] for one in wanted}
    users = students.values("user")
    opened = (
        WorkMember.objects.filter(assignment__in=wanted, preview=False, user__in=users)
        .values("assignment")
        .annotate(n=Count("user", distinct=True))
        .order_by()
    )
    for row in opened:
        flows[row["assignment"]].opened = row["n"]
    last = [one.line_item_id for one in wanted if one.line_item.keep == LineItem.Keep.LAST]
    for handed in _last_handed_in(last, users):
        _count(flows_of[int(str(handed["line_item"]))], handed)
    best = [one.line_item for one in wanted if one.line_item.keep == LineItem.Keep.BEST]
    for (_user, item), (counts, others) in by_person(best, users).items() if best else ():
        _count_one(flows_of[item], counts, others)
    return flows


def _last_handed_in(items: Sequence[int], users: QuerySet[Any, Any]) -> Iterable[Mapping[str, object]]:
    return (
        last_of_each(users)
        .filter(submission__line_item__in=items)
        .values(
            line_item=F("submission__line_item"), state=F("submission__state"), back=F("submission__feedback__state")
        )
        .annotate(n=Count("user", distinct=True), works=Count("submission", distinct=True))
        .order_by()
    )


def _count(flow: Flow, row: Mapping[str, object]) -> None:
    people, works = int(str(row["n"])), int(str(row["works"]))
    returned = row["back"] == Feedback.State.RELEASED
    flow.submitted += people
    flow.graded += people if row["state"] in _GRADED or returned else 0
    flow.returned += people if returned else 0
    flow.to_mark += works if row["state"] == State.TO_REVIEW and not returned else 0
    flow.failed += works if row["state"] == State.FAILED and not returned else 0
    flow.grading += works if row["state"] in UNDER_WAY else 0


def _count_one(flow: Flow, counts: Submission, others: Sequence[Submission]) -> None:
    """Adds one person's work; what waits is counted once for all its authors."""
    returned = released(counts)
    flow.submitted += 1
    flow.graded += counts.state in _GRADED or returned
    flow.returned += returned
    for one in (counts, *others):
        if one.pk not in flow.seen and not (one is counts and returned):
            flow.seen.add(one.pk)
            flow.to_mark += one.state == State.TO_REVIEW
            flow.failed += one.state == State.FAILED
            flow.grading += one.state in UNDER_WAY
