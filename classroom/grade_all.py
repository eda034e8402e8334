"""A course's submissions to the queue of grading, and what came of them, for whoever grades from the command line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.utils.translation import gettext_lazy as _

from classroom import wake
from classroom.errors import ClassroomError
from classroom.models import Assignment, Course, Enrollment
from grading import states
from grading.autograde import enqueue
from grading.explain import FAILURES, explain
from grading.models import Autograding, LineItem, Submission

_SLICE = 500
_MOST_NAMED = 50


class NoSuchAssignment(ClassroomError):
    """The course has no graded assignment of that name."""

    user_message = _("The course has no graded assignment of that name.")


@dataclass(frozen=True)
class Queued:
    """What waits to be graded: autogradings by primary key. `stopped` are assignments whose grading is stopped."""

    rows: Sequence[int]
    assignments: Sequence[Assignment]
    stopped: Sequence[Assignment]


def enqueue_all(course: Course, *, assignment: str = "", failed: bool = False, strict: bool = False) -> Queued:
    """Queues what has no result yet, with `failed` also what could not be graded. Twice is once.

    `strict` sets the assignments to nbgrader's own rules first, for good. Raises NoSuchAssignment.
    """
    wanted = _assignments(course, assignment)
    items = [one.line_item_id for one in wanted]
    with transaction.atomic():
        if strict:
            LineItem.objects.filter(pk__in=items).update(strict_nbgrader=True)
        for submission in _ungraded(items, failed=failed):
            enqueue(submission)
        wake.graders()
    open_rows = Autograding.objects.filter(state__in=states.OPEN, regrade=None, submission__line_item__in=items)
    stopped = [one for one in wanted if one.line_item.grading_stopped_at is not None]
    going = open_rows.exclude(submission__line_item__in=[one.line_item_id for one in stopped])
    return Queued(list(going.order_by("queued_at", "pk").values_list("pk", flat=True)), wanted, stopped)


def _assignments(course: Course, name: str) -> list[Assignment]:
    found = course.assignments.select_related("line_item").filter(line_item__graded=True)
    if name:
        found = found.filter(Q(slug=name) | Q(title=name))
    wanted = list(found.order_by("position", "pk"))
    if not wanted:
        raise NoSuchAssignment(name or course.slug)
    return wanted


def _ungraded(items: Sequence[int], *, failed: bool) -> Iterable[Submission]:
    """Submissions without a result and without a run that waits."""
    mine = Autograding.objects.filter(submission=OuterRef("pk"), regrade=None)
    found = Submission.objects.filter(line_item__in=items).exclude(Exists(mine.filter(state__in=states.OPEN)))
    without = Q(~Exists(mine.filter(current=True)))
    if failed:
        without |= Q(state=Submission.State.FAILED)
    return found.filter(without).select_related("release", "correction").iterator(_SLICE)


@dataclass
class Outcome:
    """What came of these rows. `failed` counts by reason, `named` says who and why."""

    graded: int = 0
    to_review: int = 0
    waiting: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    named: list[str] = field(default_factory=list)

    def lines(self) -> Iterable[str]:
        """The summary as it is printed."""
        yield f"  graded          {self.graded}"
        yield f"  to be reviewed  {self.to_review}"
        yield f"  not graded      {sum(self.failed.values())}"
        for reason, count in self.failed.most_common():
            yield f"    {count} × {reason}"
        yield from (f"      {line}" for line in self.named)
        if self.waiting:
            yield f"  still waiting   {self.waiting}"


def outcome(course: Course, rows: Sequence[int]) -> Outcome:
    """How the rows ended. A failed one may have scores for what ran of it; a person has to look."""
    found = Outcome()
    ids = dict(Enrollment.objects.filter(course=course).exclude(student_id="").values_list("user_id", "student_id"))
    for start in range(0, len(rows), _SLICE):
        some = Autograding.objects.filter(pk__in=rows[start : start + _SLICE]).order_by("pk")
        for row in some.select_related("submission__line_item").prefetch_related("submission__authors"):
            _add(found, row, ids)
    return found


def _add(found: Outcome, row: Autograding, ids: dict[int, str]) -> None:
    if row.state in states.OPEN:
        found.waiting += 1
    elif row.failures:
        reason = explain(FAILURES, row.failures[0])
        found.failed[reason] += 1
        if len(found.named) < _MOST_NAMED:
            who = ", ".join(ids.get(user.pk, user.username) for user in row.submission.authors.all())
            found.named.append(f"{row.submission.line_item.label}, {who}: {reason}")
    elif row.submission.state == Submission.State.TO_REVIEW:
        found.to_review += 1
    else:
        found.graded += 1
