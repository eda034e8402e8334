"""What those who mark see: the list of submissions, and one submission with everything about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone

from classroom.enter import Member
from classroom.models import Assignment, Enrollment, ReviewVisit, Section, Work
from classroom.people.models import User
from classroom.queries import counting, strictly
from classroom.queries.receipt import lacking
from classroom.queries.scores import Score, scores_of
from classroom.queries.study import released
from classroom.terms import terms_of_people
from grading import feedback, review
from grading.explain import FAILURES, NOTES, SUSPICIONS, explain
from grading.models import Autograding, RegradeChange, Submission
from grading.review import MarkedCell
from grading.scoring import Total
from grading.states import REVIEWABLE, UNDER_WAY

State = Submission.State
# A page tells every ten seconds that somebody is there; after this long they have gone.
HERE_FOR = timedelta(seconds=30)

#: What a list can be narrowed to: a word of the address → states.
FILTERS: dict[str, tuple[State, ...]] = {
    "to_mark": (State.TO_REVIEW,),
    "failed": (State.FAILED,),
    "grading": UNDER_WAY,
    "done": (State.GRADED, State.REVIEWED),
}
WAITING = (State.TO_REVIEW, State.FAILED)


@dataclass(frozen=True)
class Line:
    """One submission in the list."""

    submission: Submission
    authors: Sequence[User]
    sections: Sequence[str]
    score: Score | None
    returned: bool
    ready: bool
    parked: Autograding | None

    @property
    def names(self) -> str:
        """Who handed it in."""
        return ", ".join(author.get_full_name() for author in self.authors)


@dataclass(frozen=True)
class Missing:
    """A student who has not handed in. `due_at` is set where it is later than everyone's."""

    enrollment: Enrollment
    due_at: datetime | None


@dataclass(frozen=True)
class Listing:
    """The list, and how many there are of each kind before it was narrowed."""

    lines: Sequence[Line]
    counts: dict[str, int]
    missing: Sequence[Missing]
    ready: int
    returned: int
    all: int
    next_to_mark: str


def narrowed(me: Member, section: str) -> QuerySet[Enrollment]:
    """The students that the person looks after, of one section where its name is given."""
    students = me.students()
    return students.filter(section__name=section) if section else students


def listing(me: Member, assignment: Assignment, *, state: str = "", section: str = "") -> Listing:
    """What counts, or may yet, of everyone whom the person looks after. Eleven queries, however many there are."""
    students = list(narrowed(me, section).select_related("user", "section").order_by("user__display_name"))
    query = (
        strictly(counting.queue(assignment.line_item, [student.user_id for student in students]))
        .select_related("line_item", "feedback")
        .prefetch_related("authors")
    )
    found = list(query)
    by_user = {student.user_id: student for student in students}
    scores, parked = scores_of(found), _parked(found)
    lines = [_line(submission, by_user, scores, parked) for submission in found]
    handed_in = {author.pk for line in lines for author in line.authors}
    return Listing(
        lines=[line for line in lines if not state or line.submission.state in FILTERS.get(state, ())],
        counts={name: sum(line.submission.state in states for line in lines) for name, states in FILTERS.items()},
        missing=_missing(assignment, [student for student in students if student.user_id not in handed_in]),
        ready=sum(line.ready for line in lines),
        returned=sum(line.returned for line in lines),
        all=len(lines),
        next_to_mark=next((line.submission.code for line in lines if line.submission.state == State.TO_REVIEW), ""),
    )


def _missing(assignment: Assignment, students: Sequence[Enrollment]) -> list[Missing]:
    terms = terms_of_people(assignment, [one.user_id for one in students])
    return [Missing(one, mine.due_at if (mine := terms[one.user_id]).own else None) for one in students]


def _parked(submissions: Sequence[Submission]) -> dict[int, Autograding]:
    """Runs that were given up, by submission, of those that nobody has graded again since."""
    failed = [submission.pk for submission in submissions if submission.state == State.FAILED]
    rows = Autograding.objects.filter(submission__in=failed, current=True, state=Autograding.State.PARKED)
    return {row.submission_id: row for row in rows}


def _line(
    submission: Submission, students: dict[int, Enrollment], scores: dict[int, Score], parked: dict[int, Autograding]
) -> Line:
    authors = sorted(submission.authors.all(), key=lambda author: author.get_full_name())
    of = [students[author.pk].section for author in authors if author.pk in students]
    returned = released(submission)
    return Line(
        submission=submission,
        authors=authors,
        sections=sorted({section.name for section in of if section is not None}),
        score=scores.get(submission.pk) if submission.state not in FILTERS["grading"] else None,
        returned=returned,
        ready=submission.state in FILTERS["done"] and not returned,
        parked=parked.get(submission.pk),
    )


def sections(me: Member) -> list[Section]:
    """The sections that the list can be narrowed to; none for who looks after one only."""
    if me.enrollment.role == Enrollment.Role.TA and me.enrollment.section_id is not None:
        return []
    return list(Section.objects.filter(course=me.course))


@dataclass(frozen=True)
class Place:
    """Where a submission is among those to go through: 1-based, and the codes beside it."""

    number: int
    of: int
    previous: str
    next: str
    next_to_mark: str


def place(me: Member, assignment: Assignment, submission: Submission) -> Place:
    """The submission's neighbours in a stable order (by time handed in), so that marking one moves nothing."""
    queue = counting.queue(assignment.line_item, me.people()).order_by("received_at", "pk")
    rows = list(queue.values_list("pk", "code", "state"))
    codes = [code for _pk, code, _state in rows]
    waiting = [code for pk, code, state in rows if state in WAITING and pk != submission.pk]
    if submission.code not in codes:
        return Place(0, len(codes), "", "", waiting[0] if waiting else "")
    at = codes.index(submission.code)
    after = [code for code in codes[at + 1 :] if code in waiting]
    return Place(
        number=at + 1,
        of=len(codes),
        previous=codes[at - 1] if at else "",
        next=codes[at + 1] if at + 1 < len(codes) else "",
        next_to_mark=(after or waiting or [""])[0],
    )


@dataclass(frozen=True)
class Sheet:
    """One submission in review. `absent` are cells of the release that are in no notebook that was handed in."""

    cells: Sequence[feedback.FeedbackCell]
    absent: Sequence[MarkedCell]
    total: Total
    autograding: Autograding | None
    failures: Sequence[str]
    notes: Sequence[str]
    lacking: Sequence[str]
    suspicious: bool
    record: Sequence[dict[str, Any]]
    editable: bool
    attempts: Sequence[Submission]
    workspace: str
    changes: Sequence[RegradeChange]


def sheet(submission: Submission, *, nonce: str) -> Sheet:
    """Everything about one submission."""
    cells = feedback.cells(submission, nonce=nonce, for_grader=True)
    marked = review.marked_cells(submission)
    shown = {cell.marked.cell.pk for cell in cells if cell.marked is not None}
    latest = review.shown_run(submission)
    return Sheet(
        cells=cells,
        absent=[row for row in marked if row.cell.pk not in shown],
        total=review.total_of(submission, marked),
        autograding=latest,
        failures=[explain(FAILURES, row) for row in latest.failures] if latest else [],
        notes=[explain(NOTES, row) for row in latest.notes] if latest else [],
        lacking=lacking(submission),
        suspicious=any(row.get("code") in SUSPICIONS for row in (latest.notes if latest else ())),
        record=review.record_of(latest) if latest else [],
        editable=submission.state in REVIEWABLE and submission.state != State.REVIEWED,
        attempts=list(
            Submission.objects.filter(
                line_item=submission.line_item_id, authors__in=submission.authorships.values("user")
            )
            .exclude(pk=submission.pk)
            .distinct()
            .order_by("received_at", "pk")
        ),
        workspace=_workspace(submission),
        changes=list(submission.changes.select_related("by").order_by("-pk")),
    )


def _workspace(submission: Submission) -> str:
    """The slug of the work that was handed in, as it is now; "" where there is none any more."""
    works = Work.objects.filter(
        assignment__line_item=submission.line_item_id, preview=False, members__user__authorships__submission=submission
    )
    return works.values_list("workspace__slug", flat=True).first() or ""


def visit(submission: Submission, user: User) -> list[User]:
    """Notes that `user` looks at the submission; returns who else does."""
    now = timezone.now()
    ReviewVisit.objects.update_or_create(submission=submission, user=user, defaults={"seen_at": now})
    others = ReviewVisit.objects.filter(submission=submission, seen_at__gt=now - HERE_FOR).exclude(user=user)
    return [one.user for one in others.select_related("user").order_by("user__display_name")]
