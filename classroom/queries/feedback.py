"""What a feedback page shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext

from classroom.queries.receipt import changes
from grading import feedback, review
from grading.explain import FAILURES, explain
from grading.late import cost_words, penalty_of, plain, span, words
from grading.markdown import clean_markdown
from grading.models import Autograding, LineItem, RegradeChange, Submission
from grading.review import MarkedCell
from grading.scoring import Total
from grading.steady import steady


@dataclass(frozen=True)
class Absent:
    """A cell of the release that was not handed in, with what was said about it."""

    marked: MarkedCell
    comment: SafeString | None


@dataclass(frozen=True)
class Page:
    """The cells, what is missing, the total, and in words what lateness cost."""

    cells: Sequence[feedback.FeedbackCell]
    absent: Sequence[Absent]
    total: Total
    penalty: str
    failures: Sequence[str]
    changes: Sequence[RegradeChange]


def page(submission: Submission, *, nonce: str) -> Page:
    """Everything that the authors may read of a submission whose feedback is returned."""
    return steady(submission, lambda row: _page(row, nonce))


def _page(submission: Submission, nonce: str) -> Page:
    cells = feedback.cells(submission, nonce=nonce)
    marked = review.marked_cells(submission)
    shown = {cell.marked.cell.pk for cell in cells if cell.marked is not None}
    current = Autograding.objects.filter(submission=submission, current=True).first()
    total = review.total_of(submission, marked)
    return Page(
        cells=cells,
        absent=[
            Absent(row, clean_markdown(row.comment.text) if row.comment else None)
            for row in marked
            if row.cell.pk not in shown and row.graded
        ],
        total=total,
        penalty=penalty_words(submission) if total.penalty else "",
        failures=[explain(FAILURES, row) for row in current.failures] if current else [],
        changes=changes(submission),
    )


def penalty_words(submission: Submission) -> str:
    """Why points were taken off, by the assignment's late policy."""
    late = penalty_of(submission)
    if late.policy == LineItem.LatePolicy.ZERO:
        return gettext("Late work scores zero in this assignment.")
    if late.policy == LineItem.LatePolicy.CUSTOM:
        return gettext("Late by %(span)s: %(take)s.") % {"span": span(submission.late_by), "take": cost_words(late)}
    text = ngettext(
        "%(days)d started day late, at %(percent)s %% of the score a day.",
        "%(days)d started days late, at %(percent)s %% of the score a day.",
        late.days,
    )
    said = text % {"days": late.days, "percent": plain(late.percent_per_day)}
    if late.cap_percent is not None or late.floor_percent is not None:
        return f"{said} {words(submission.line_item)}"
    return said
