"""What a student sees of their courses: a row for each tutorial and assignment, with one state and one next step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from django.db.models import Count
from django.utils import timezone

from classroom import access, deadlines
from classroom.deadlines import Dates
from classroom.models import Assignment, Course, Enrollment, WorkMember
from classroom.people.models import User
from classroom.queries import strictly
from classroom.queries.counting import counting_submission, last_of_each, queue
from classroom.queries.policy import policy
from classroom.queries.scores import Score, scores_of
from classroom.terms import terms_of_all
from grading.models import Comment, Feedback, LineItem, Submission

Handed = Submission.State


class Stage(StrEnum):
    """Where a student is with an assignment. `study/row.html` has the words and icons."""

    NEW = "new"
    OPEN = "open"
    CLOSED = "closed"
    SUBMITTED = "submitted"
    GRADING = "grading"
    MARKING = "marking"
    FAILED = "failed"
    GRADED = "graded"
    FEEDBACK = "feedback"
    RETURNED = "returned"


@dataclass(frozen=True)
class Row:
    """One line of a course page. `score` is None where there is none, or none to be seen yet."""

    assignment: Assignment
    stage: Stage
    due_at: datetime | None
    is_open: bool
    opened: bool
    own_date: bool = False
    policy: Sequence[str] = ()
    submission: Submission | None = None
    score: Score | None = None
    comments: int = 0

    @property
    def tutorial(self) -> bool:
        """Whether it is read and tried, and never handed in."""
        return not self.assignment.line_item.graded

    @property
    def still_to_do(self) -> bool:
        """Whether it waits for the student: open, to be handed in, and not yet."""
        return not self.tutorial and self.is_open and self.stage in (Stage.NEW, Stage.OPEN)

    @property
    def has_news(self) -> bool:
        """Whether there is feedback that nobody has read."""
        return self.stage == Stage.FEEDBACK


@dataclass(frozen=True)
class Unit:
    """A heading of the course page, and what is below it."""

    name: str
    rows: Sequence[Row]


@dataclass(frozen=True)
class HomeCourse:
    """A course on the start page. `to_mark` and `failed` are for those who mark."""

    course: Course
    enrollment: Enrollment
    to_mark: int = 0
    failed: int = 0

    @property
    def marks(self) -> bool:
        """Whether the person marks in this course."""
        return self.enrollment.role in (Enrollment.Role.TEACHER, Enrollment.Role.TA)


@dataclass(frozen=True)
class _Known:
    """What was fetched of one person, by assignment, line item or submission."""

    terms: dict[int, Dates]
    opened: set[int]
    handed_in: dict[int, list[Submission]]
    scores: dict[int, Score]
    comments: dict[int, int]


def rows(user: User, courses: Iterable[Course]) -> list[Row]:
    """The published tutorials and assignments of these courses, in the teacher's order. Eight queries, however many."""
    assignments = list(
        strictly(Assignment.objects)
        .select_related("course", "line_item")
        .filter(course__in=list(courses), state__in=[Assignment.State.OPEN, Assignment.State.CLOSED])
        .order_by("course", "position", "id")
    )
    known = _known(user, assignments)
    now = timezone.now()
    return [_row(assignment, known, now) for assignment in assignments]


def _known(user: User, assignments: list[Assignment]) -> _Known:
    opened = WorkMember.objects.filter(user=user, preview=False, assignment__in=assignments)
    handed_in = _submissions(user, [assignment.line_item for assignment in assignments])
    return _Known(
        terms=terms_of_all(user, assignments),
        opened=set(opened.values_list("assignment_id", flat=True)),
        handed_in=handed_in,
        scores=scores_of([one for tries in handed_in.values() for one in tries]),
        comments=_comments([one for tries in handed_in.values() for one in tries if released(one)]),
    )


def _row(assignment: Assignment, known: _Known, now: datetime) -> Row:
    mine = known.terms[assignment.pk]
    tries = known.handed_in.get(assignment.line_item_id, [])
    counting = counting_submission(assignment.line_item, tries, known.scores)
    latest = told_of(tries, counting)
    is_open = deadlines.is_open(assignment, mine, now)
    opened = assignment.pk in known.opened
    return Row(
        assignment=assignment,
        stage=stage(assignment, latest, is_open=is_open, opened=opened),
        due_at=mine.due_at,
        own_date=mine.own and mine.due_at is not None,
        policy=policy(assignment, mine, len(tries)),
        is_open=is_open,
        opened=opened,
        submission=latest,
        score=visible_score(assignment, counting, known.scores),
        comments=known.comments.get(latest.pk, 0) if latest and released(latest) else 0,
    )


def told_of(tries: Sequence[Submission], counting: Submission | None) -> Submission | None:
    """Which attempt a row is about: the last; the one that counts, where its feedback came after the last."""
    if counting is not None and released(counting) and counting.feedback.at >= tries[-1].received_at:
        return counting
    return tries[-1] if tries else None


def course_units(user: User, course: Course) -> list[Unit]:
    """The course page, unit by unit, in the order of each unit's first assignment."""
    units: dict[str, list[Row]] = {}
    for row in rows(user, [course]):
        units.setdefault(row.assignment.unit, []).append(row)
    return [Unit(name, found) for name, found in units.items()]


def home_courses(user: User) -> list[HomeCourse]:
    """The person's courses that run, with what waits for those who mark. Two queries."""
    mine = list(
        strictly(Enrollment.objects)
        .select_related("course")
        .filter(user=user, course__archived_at=None)
        .exclude(state=Enrollment.State.DROPPED)
        .order_by("course__title")
    )
    marking = [enrollment for enrollment in mine if enrollment.role in (Enrollment.Role.TEACHER, Enrollment.Role.TA)]
    waiting: dict[tuple[int, str], int] = {}
    for enrollment in marking:
        waiting.update(_waiting(enrollment))
    return [
        HomeCourse(
            course=enrollment.course,
            enrollment=enrollment,
            to_mark=waiting.get((enrollment.course_id, Handed.TO_REVIEW), 0),
            failed=waiting.get((enrollment.course_id, Handed.FAILED), 0),
        )
        for enrollment in mine
    ]


def _waiting(enrollment: Enrollment) -> dict[tuple[int, str], int]:
    students = Enrollment.objects.filter(course=enrollment.course_id, role=Enrollment.Role.STUDENT).exclude(
        state=Enrollment.State.DROPPED
    )
    if enrollment.role == Enrollment.Role.TA and enrollment.section_id is not None:
        students = students.filter(section=enrollment.section_id)
    items = LineItem.objects.filter(pk__in=Assignment.objects.filter(course=enrollment.course_id).values("line_item"))
    users = students.values("user")
    last = (
        last_of_each(users)
        .filter(submission__line_item__in=items.filter(keep=LineItem.Keep.LAST))
        .filter(submission__state__in=[Handed.TO_REVIEW, Handed.FAILED])
        .values("submission__state")
        .annotate(n=Count("submission", distinct=True))
        .order_by()
    )
    found = {row["submission__state"]: int(row["n"]) for row in last}
    best = {one.pk: one for item in items.filter(keep=LineItem.Keep.BEST) for one in queue(item, users)}
    for one in best.values():
        found[one.state] = found.get(one.state, 0) + 1
    return {(enrollment.course_id, state): n for state, n in found.items()}


def _submissions(user: User, line_items: Iterable[LineItem]) -> dict[int, list[Submission]]:
    found: dict[int, list[Submission]] = {}
    query = (
        strictly(Submission.objects)
        .select_related("feedback", "line_item")
        .filter(line_item__in=list(line_items), authorships__user=user)
        .order_by("received_at", "pk")
    )
    for submission in query:
        found.setdefault(submission.line_item_id, []).append(submission)
    return found


def _comments(submissions: Sequence[Submission]) -> dict[int, int]:
    """How many cells of each submission have a comment that stands."""
    newest: dict[tuple[int, str, str], str] = {}
    said = Comment.objects.filter(submission__in=submissions).order_by("pk")
    for submission_id, notebook, grade_id, text in said.values_list(
        "submission", "cell__notebook__name", "cell__grade_id", "text"
    ):
        newest[submission_id, notebook, grade_id] = text
    counts: dict[int, int] = {}
    for (submission_id, _notebook, _cell), text in newest.items():
        if text.strip():
            counts[submission_id] = counts.get(submission_id, 0) + 1
    return counts


def released(submission: Submission) -> bool:
    """Whether its authors may read scores and comments. `feedback` must have been fetched with it."""
    feedback = getattr(submission, "feedback", None)
    return feedback is not None and feedback.state == Feedback.State.RELEASED


def visible_score(assignment: Assignment, submission: Submission | None, scores: dict[int, Score]) -> Score | None:
    """The score that a student may see: after release; before it only what the tests gave, unless scores are hidden."""
    if submission is None or not sees_score(assignment, submission):
        return None
    return scores.get(submission.pk)


def sees_score(assignment: Assignment, submission: Submission) -> bool:
    """Whether its authors may see its score, if it has one. `feedback` must have been fetched with it."""
    return access.sees_score(submission.state, returned=released(submission), hidden=assignment.hide_scores)


def stage(assignment: Assignment, latest: Submission | None, *, is_open: bool, opened: bool) -> Stage:
    """The one word for a row. Pure."""
    if latest is None:
        if not is_open:
            return Stage.CLOSED
        return Stage.OPEN if opened else Stage.NEW
    if released(latest):
        return Stage.RETURNED if latest.feedback.read_at else Stage.FEEDBACK
    if latest.state == Handed.GRADED:
        return Stage.SUBMITTED if assignment.hide_scores else Stage.GRADED
    return {
        Handed.QUEUED: Stage.GRADING,
        Handed.GRADING: Stage.GRADING,
        Handed.FAILED: Stage.FAILED,
        Handed.TO_REVIEW: Stage.MARKING,
        Handed.REVIEWED: Stage.MARKING,
    }[Handed(latest.state)]
