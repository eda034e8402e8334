"""Submissions that were collected, and perhaps graded and marked, by nbgrader elsewhere, taken over as they are.

Nothing that was done here is replaced: an automatic score that the site found itself, a mark or a comment that differs
from nbgrader's stay, and are counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from grading import cells, states
from grading.autograde import enqueue
from grading.engine.gradebook_values import BookGrade, BookSubmission, Place
from grading.models import (
    Autograding,
    CellScore,
    Comment,
    GradeCell,
    LineItem,
    Mark,
    Release,
    Submission,
    SubmissionAuthor,
)
from grading.scoring import lateness
from runtimes.models import Snapshot

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractUser as Person

ENGINE_VERSION = "imported from gradebook.db"


@dataclass(frozen=True)
class Elsewhere:
    """One submission of one person in another system. `book` None: it is not in the gradebook.

    `graded`: the automatic scores are whole; `result` holds the executed notebooks.
    """

    line_item: LineItem
    release: Release
    snapshot: Snapshot
    author: Person
    received_at: datetime
    due_at: datetime | None
    request_key: str
    book: BookSubmission | None = None
    graded: bool = False
    result: Snapshot | None = None


@dataclass
class Adopted:
    """What came of it. `unknown` cells are not in the release; `kept` cells have another mark or comment here."""

    submission: Submission
    made: bool = False
    scored: bool = False
    marks: int = 0
    comments: int = 0
    unknown: list[Place] = field(default_factory=list)
    kept: list[Place] = field(default_factory=list)

    @property
    def changed(self) -> bool:
        """Whether anything was new."""
        return bool(self.made or self.scored or self.marks or self.comments)


def cells_of(release: Release) -> dict[Place, GradeCell]:
    """The release's cells by notebook and grade_id: read once for all its submissions."""
    found = GradeCell.objects.filter(notebook__release=release).select_related("notebook")
    return {(cell.notebook.name, cell.grade_id): cell for cell in found}


def adopt(given: Elsewhere, known: Mapping[Place, GradeCell], by: Person) -> Adopted:
    """The submission, made once for its request key, with what the other system says of it; all or nothing.

    Without scores it is queued for grading. `by` becomes the author of marks and comments, whose own the gradebook
    does not know. `known` is `cells_of` the release.
    """
    key = str(given.author.pk)
    with transaction.atomic():
        same = Submission.objects.filter(line_item=given.line_item, authors_key=key, request_key=given.request_key)
        submission = same.select_related("release", "correction").first()
        done = Adopted(submission or _make(given, key), made=submission is None)
        # It may have been handed in for an earlier release, or be scored by a later one.
        counts = done.submission.scored_by
        mine = known if counts == given.release else cells_of(counts)
        if given.book is not None:
            done.unknown += sorted((given.book.grades.keys() | given.book.comments.keys()) - mine.keys())
            _scores(done, given, given.book, mine)
            _marks(done, given.book, mine, by)
            _comments(done, given.book, mine, by)
        if done.made and not done.scored:
            enqueue(done.submission)
        elif done.scored or done.marks:
            _settle(done.submission)
    return done


def _make(given: Elsewhere, key: str) -> Submission:
    same = Submission.objects.filter(line_item=given.line_item, authors_key=key)
    last = same.aggregate(last=Max("attempt"))["last"] or 0
    submission = Submission.objects.create(
        line_item=given.line_item,
        release=given.release,
        snapshot=given.snapshot,
        attempt=last + 1,
        authors_key=key,
        request_key=given.request_key,
        received_at=given.received_at,
        due_at=given.due_at,
        late_by=lateness(given.received_at, given.due_at, given.line_item.grace),
    )
    SubmissionAuthor.objects.create(submission=submission, user_id=given.author.pk)
    return submission


def _scores(done: Adopted, given: Elsewhere, book: BookSubmission, known: Mapping[Place, GradeCell]) -> None:
    """A finished autograding with nbgrader's scores, unless the site graded it, is about to, or has the same."""
    if not given.graded:
        return
    wanted = {
        place: _score(cell, book.grades.get(place), book, place)
        for place, cell in known.items()
        if place in book.grades or place in book.comments
    }
    if not _may_replace(done.submission, wanted.values()):
        return
    Autograding.objects.filter(submission=done.submission, current=True).update(current=False)
    row = Autograding.objects.create(
        submission=done.submission,
        release=done.submission.scored_by,
        state=Autograding.State.FINISHED,
        current=True,
        engine_version=ENGINE_VERSION,
        result=given.result,
        notes=[{"code": "imported"}],
        finished_at=timezone.now(),
    )
    for score in wanted.values():
        score.autograding = row
    CellScore.objects.bulk_create(wanted.values())
    done.scored = True


def _score(cell: GradeCell, grade: BookGrade | None, book: BookSubmission, place: Place) -> CellScore:
    said = book.comments.get(place)
    return CellScore(
        cell=cell,
        auto_score=None if grade is None or grade.auto_score is None else cells.points(grade.auto_score),
        needs_manual_grade=bool(grade and grade.needs_manual_grade),
        auto_comment=said.auto_comment if said else "",
    )


def _may_replace(submission: Submission, wanted: Iterable[CellScore]) -> bool:
    runs = submission.autogradings.filter(regrade=None)
    if runs.filter(state=Autograding.State.RUNNING).exists():
        return False
    current = runs.filter(current=True).first()
    if current is not None:
        if current.engine_version != ENGINE_VERSION:
            return False
        before = {
            (row.cell_id, row.auto_score, row.needs_manual_grade, row.auto_comment) for row in current.scores.all()
        }
        if before == {(row.cell_id, row.auto_score, row.needs_manual_grade, row.auto_comment) for row in wanted}:
            return False
    # What nobody has begun to grade need not be graded any more.
    runs.filter(state=Autograding.State.QUEUED).delete()
    return True


def _marks(done: Adopted, book: BookSubmission, known: Mapping[Place, GradeCell], by: Person) -> None:
    newest = {mark.cell.key: mark for mark in done.submission.marks.select_related("cell__notebook").order_by("pk")}
    new = []
    for place, grade in book.grades.items():
        cell = known.get(place)
        if cell is None or (grade.manual_score is None and grade.extra_credit is None):
            continue
        manual, extra = (None if v is None else cells.points(v) for v in (grade.manual_score, grade.extra_credit))
        here = newest.get(place)
        if here is None:
            new.append(
                Mark(submission=done.submission, cell=cell, author_id=by.pk, manual_score=manual, extra_credit=extra)
            )
        elif (here.manual_score, here.extra_credit) != (manual, extra):
            done.kept.append(place)
    Mark.objects.bulk_create(new)
    done.marks = len(new)


def _comments(done: Adopted, book: BookSubmission, known: Mapping[Place, GradeCell], by: Person) -> None:
    newest = {one.cell.key: one for one in done.submission.comments.select_related("cell__notebook").order_by("pk")}
    new = []
    for place, said in book.comments.items():
        cell = known.get(place)
        if cell is None or not said.manual_comment:
            continue
        here = newest.get(place)
        if here is None:
            new.append(Comment(submission=done.submission, cell=cell, author_id=by.pk, text=said.manual_comment))
        elif here.text != said.manual_comment:
            done.kept.append(place)
    Comment.objects.bulk_create(new)
    done.comments = len(new)


def _settle(submission: Submission) -> None:
    """The state that its scores and marks amount to; one that is being graded or is finished stays as it is."""
    current = submission.autogradings.filter(current=True).first()
    if current is None:
        return
    marks = submission.marks.select_related("cell__notebook").order_by("pk")
    newest = {mark.cell.key: mark.manual_score for mark in marks}
    scores = current.scores.select_related("cell__notebook")
    flags = (row.needs_manual_grade and newest.get(row.cell.key) is None for row in scores)
    after = states.after_grading(failed=bool(current.failures), flags=flags)
    open_states = [Submission.State.QUEUED, Submission.State.TO_REVIEW, Submission.State.GRADED]
    Submission.objects.filter(pk=submission.pk, state__in=open_states).update(state=after)
