"""What people do to automatic scores: look, mark, comment, finish. Marks and comments are appended, never changed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.db.models import Case, F, IntegerField, OuterRef, Q, QuerySet, Subquery, When
from django.utils import timezone
from django.utils.translation import gettext, gettext_noop

from grading import states
from grading.autograde import RECORDS
from grading.errors import NotReviewable, OutOfRange, Unfinished
from grading.late import penalty_of
from grading.models import Autograding, CellKey, CellScore, Comment, GradeCell, LineItem, Mark, Submission
from grading.scoring import ZERO, CellPoints, Total, total
from runtimes import storage
from runtimes.models import SnapshotFile

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractUser as Person

#: A mark or a comment may be written while a submission is in one of these states.
_EDITABLE = tuple(state for state in states.REVIEWABLE if state != Submission.State.REVIEWED)
_COMMENT_CHARACTERS = 20_000
# Translators: what nbgrader says of an answer that was left as it was given out.
gettext_noop("No response.")


@dataclass(frozen=True)
class MarkedCell:
    """One cell of a submission with everything that is known of it. `graded` False: an answer, for comments only."""

    cell: GradeCell
    points: CellPoints
    auto_comment: str = ""
    failed_tests: str = ""
    mark: Mark | None = None
    comment: Comment | None = None

    @property
    def graded(self) -> bool:
        """Whether the cell has points."""
        return self.cell.kind != GradeCell.Kind.ANSWER


def queue(line_item: LineItem, people: Any, *, every_attempt: bool = False) -> QuerySet[Submission]:
    """Submissions by these people (a queryset or list of users), those that wait for a person first, then by time.

    Without `every_attempt`, only the last one of each person or group.
    """
    found = Submission.objects.filter(line_item=line_item, authors__in=people)
    if not every_attempt:
        same = Submission.objects.filter(line_item=line_item, authors_key=OuterRef("authors_key"))
        found = found.filter(attempt=Subquery(same.order_by("-attempt").values("attempt")[:1]))
    waits = Q(state__in=[Submission.State.TO_REVIEW, Submission.State.FAILED])
    return (
        found.annotate(rank=Case(When(waits, then=0), default=1, output_field=IntegerField()))
        .distinct()
        .order_by("rank", "received_at", "pk")
    )


def marked_cells(submission: Submission) -> list[MarkedCell]:
    """Every cell of the version that counts, with its automatic score and the newest mark and comment. Four queries.

    Marks and comments given under another version stay with their cell, by notebook and grade_id.
    """
    cells = GradeCell.objects.filter(notebook__release=submission.scored_by_id).select_related("notebook")
    scores = {
        score.cell_id: score
        for score in CellScore.objects.filter(autograding__submission=submission, autograding__current=True)
    }
    said = ("author", "cell__notebook")
    marks = {mark.cell.key: mark for mark in submission.marks.select_related(*said).order_by("pk")}
    comments = {one.cell.key: one for one in submission.comments.select_related(*said).order_by("pk")}
    return [
        marked(cell, scores.get(cell.pk), marks.get(cell.key), comments.get(cell.key))
        for cell in cells.order_by("notebook__position", "position", "pk")
    ]


def marked(cell: GradeCell, score: CellScore | None, mark: Mark | None, comment: Comment | None = None) -> MarkedCell:
    """Everything that is known of one cell, put together."""
    return MarkedCell(
        cell=cell,
        points=CellPoints(
            max_score=cell.max_score,
            auto_score=score.auto_score if score else None,
            manual_score=mark.manual_score if mark else None,
            extra_credit=mark.extra_credit if mark else None,
            needs_manual_grade=score.needs_manual_grade if score else cell.kind != GradeCell.Kind.ANSWER,
        ),
        auto_comment=gettext(score.auto_comment) if score and score.auto_comment else "",
        failed_tests=score.failed_tests if score else "",
        mark=mark,
        comment=comment if comment and comment.text else None,
    )


def scored_cells(releases: set[int]) -> dict[int, list[GradeCell]]:
    """The cells that carry points, in their order, by release. One query."""
    found: dict[int, list[GradeCell]] = {}
    scored = GradeCell.objects.exclude(kind=GradeCell.Kind.ANSWER).filter(notebook__release__in=releases)
    for cell in scored.select_related("notebook").order_by("notebook__position", "position", "pk"):
        found.setdefault(cell.notebook.release_id, []).append(cell)
    return found


def newest_marks(submissions: Iterable[int]) -> dict[int, dict[CellKey, Mark]]:
    """The newest mark of each cell by submission, whichever version counted then; one that took everything back counts
    as none. One query."""
    found: dict[int, dict[CellKey, Mark]] = {}
    given = Mark.objects.filter(submission__in=list(submissions)).select_related("cell__notebook", "author")
    for mark in given.order_by("pk"):
        found.setdefault(mark.submission_id, {})[mark.cell.key] = mark
    return found


def shown_run(submission: Submission) -> Autograding | None:
    """The grading that pages about it show: one that waits or runs, else the one that counts."""
    open_now = Q(state__in=states.OPEN, regrade=None)
    return (
        submission.autogradings.filter(open_now | Q(current=True)).select_related("release").order_by("current").first()
    )


def record_of(run: Autograding) -> list[dict[str, Any]]:
    """What was sent to the kernel, a row a cell in the order of the run: the grader's own record."""
    files = SnapshotFile.objects.filter(snapshot=run.result_id, path__startswith=RECORDS).order_by("path")
    return [
        {**row, "notebook": file.path.removeprefix(RECORDS).removesuffix(".json")}
        for file in files
        for row in json.loads(storage.read(file.blob_id))
    ]


def total_of(submission: Submission, cells: Iterable[MarkedCell] | None = None) -> Total:
    """The submission's points after the late penalty of its line item."""
    rows = marked_cells(submission) if cells is None else cells
    return total((row.points for row in rows if row.graded), penalty_of(submission))


def give(
    submission: Submission,
    cell: GradeCell,
    author: Person,
    *,
    manual_score: Decimal | None,
    extra_credit: Decimal | None = None,
) -> Mark:
    """Appends a mark; the newest counts. `manual_score` None goes back to the automatic score. The same again: nothing.

    Raises OutOfRange, or NotReviewable while it is being graded or after it was finished.
    """
    if cell.kind == GradeCell.Kind.ANSWER:
        raise OutOfRange(f"cell {cell.pk} carries no points")
    for value, most in ((manual_score, cell.max_score), (extra_credit, None)):
        if value is not None and (not value.is_finite() or value < ZERO or (most is not None and value > most)):
            raise OutOfRange(f"{value} for cell {cell.pk}")
    with transaction.atomic():
        _hold(submission, cell)
        last = submission.marks.about(cell).order_by("-pk").first()
        if last is not None and (last.manual_score, last.extra_credit) == (manual_score, extra_credit):
            return last
        return Mark.objects.create(
            submission=submission, cell=cell, author_id=author.pk, manual_score=manual_score, extra_credit=extra_credit
        )


def comment(submission: Submission, cell: GradeCell, author: Person, text: str) -> Comment:
    """Appends a Markdown comment; the newest counts, an empty one takes it back. The same again: nothing.

    Raises NotReviewable while it is being graded or after it was finished.
    """
    text = text.strip()[:_COMMENT_CHARACTERS]
    with transaction.atomic():
        _hold(submission, cell)
        last = submission.comments.about(cell).order_by("-pk").first()
        if last is not None and last.text == text:
            return last
        return Comment.objects.create(submission=submission, cell=cell, author_id=author.pk, text=text)


def _hold(submission: Submission, cell: GradeCell) -> None:
    """Makes sure that nobody finishes or regrades it before this transaction ends. Raises NotReviewable."""
    if cell.notebook.release_id != submission.scored_by_id:
        raise NotReviewable(f"cell {cell.pk} is not part of submission {submission.pk}")
    editable = Submission.objects.filter(pk=submission.pk, state__in=_EDITABLE)
    if not editable.update(state=F("state")):
        raise NotReviewable(f"submission {submission.pk}")


def finish(submission: Submission, author: Person) -> None:
    """Marks a submission as reviewed. Twice is once. Raises Unfinished while a cell still waits for a score."""
    waiting = sum(row.points.to_review for row in marked_cells(submission) if row.graded)
    if waiting:
        raise Unfinished(waiting)
    moved = Submission.objects.filter(pk=submission.pk, state__in=_EDITABLE).update(
        state=Submission.State.REVIEWED, finished_by=author.pk, finished_at=timezone.now()
    )
    submission.refresh_from_db()
    if not moved and submission.state != Submission.State.REVIEWED:
        raise NotReviewable(f"submission {submission.pk}")


def reopen(submission: Submission) -> None:
    """Lets a reviewed submission be marked again. Twice is once. Raises NotReviewable while it is being graded."""
    current = Autograding.objects.filter(submission=submission, current=True).first()
    flags = (row.points.needs_manual_grade for row in marked_cells(submission) if row.graded)
    after = states.after_grading(failed=bool(current and current.failures), flags=flags)
    moved = Submission.objects.filter(pk=submission.pk, state=Submission.State.REVIEWED).update(
        state=after, finished_by=None, finished_at=None
    )
    submission.refresh_from_db()
    if not moved and submission.state not in _EDITABLE:
        raise NotReviewable(f"submission {submission.pk}")
