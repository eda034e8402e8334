"""What the site knows of releases and submissions, as the rows of nbgrader's gradebook."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from django.utils.translation import override

from grading import review
from grading.engine import NotebookSpec
from grading.engine.gradebook_values import BookAssignment, BookComment, BookGrade, BookSubmission
from grading.models import Autograding, Release, Submission
from grading.review import MarkedCell
from grading.scoring import ZERO

_CENT = Decimal("0.0001")


def book_assignment(name: str, due_at: datetime | None, release: Release) -> BookAssignment:
    """The assignment with the cells that its release fixed."""
    notebooks = (NotebookSpec(row.name, row.path, row.kernelspec, row.cells) for row in release.notebooks.all())
    return BookAssignment(name, due_at, tuple(notebooks))


def book_submission(submission: Submission, student: str, due_at: datetime | None) -> BookSubmission:
    """Its scores, marks, comments and penalty. `due_at` is the assignment's: nbgrader is to find it as late as we do.

    A score that a person gave needs no manual grade any more, as in formgrader. Six queries.
    """
    # nbgrader's own words ("No response."), in no language.
    with override(None):
        rows = review.marked_cells(submission)
    return BookSubmission(
        student=student,
        timestamp=submission.received_at,
        extension=_extension(submission, due_at),
        grades={row.cell.key: _grade(row) for row in rows if row.graded},
        comments={
            row.cell.key: BookComment(row.auto_comment, row.comment.text if row.comment else "")
            for row in rows
            if row.auto_comment or row.comment
        },
        late_penalties=_penalties(submission, rows),
    )


def _grade(row: MarkedCell) -> BookGrade:
    points = row.points
    auto, manual, extra = (
        None if value is None else float(value)
        for value in (points.auto_score, points.manual_score, points.extra_credit)
    )
    return BookGrade(auto, manual, extra, needs_manual_grade=points.to_review)


def _extension(submission: Submission, due_at: datetime | None) -> timedelta | None:
    """What makes it as late for nbgrader as it is here: an extension, a grace that was used, a date that was moved."""
    if due_at is None:
        return None
    wanted = submission.received_at - submission.late_by if submission.late_by else max(submission.received_at, due_at)
    extended = wanted - due_at
    told = submission.due_at - due_at if submission.due_at else timedelta(0)
    if not submission.late_by:
        extended = max(extended, told)
    return extended or None


def _penalties(submission: Submission, rows: Sequence[MarkedCell]) -> dict[str, float]:
    """The late penalty, shared among the notebooks by their scores: nbgrader keeps it there."""
    total = review.total_of(submission, rows)
    if total.penalty <= ZERO or total.raw <= ZERO:
        return {}
    scores: dict[str, Decimal] = {}
    for row in rows:
        if row.graded:
            scores[row.cell.notebook.name] = scores.get(row.cell.notebook.name, ZERO) + row.points.score
    shares = {name: (total.penalty * score / total.raw).quantize(_CENT) for name, score in scores.items()}
    # What rounding took or gave is put right in the largest.
    largest = max(scores, key=lambda name: scores[name])
    shares[largest] += total.penalty - sum(shares.values(), ZERO)
    return {name: float(share) for name, share in shares.items() if share}


def current_run(submission: Submission) -> Autograding | None:
    """The grading that counts, with its result."""
    return submission.autogradings.filter(current=True).select_related("result").first()
