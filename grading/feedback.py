"""Scores and comments back to those who handed in: released, taken back, and laid beside the cells."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.safestring import SafeString

from grading import engine
from grading.markdown import clean_markdown
from grading.models import Autograding, Feedback, ReleaseNotebook, Submission
from grading.rendering import RenderedCell, render
from grading.review import MarkedCell, marked_cells
from grading.specify import settings_of
from runtimes import storage

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractUser as Person

OnReleased = Callable[[Feedback], None]
#: Nothing goes back while a person still has to look.
_READY = (Submission.State.GRADED, Submission.State.REVIEWED)


@dataclass(frozen=True)
class FeedbackCell:
    """One cell as handed in and run, with its score and what was said about it, or without if it has none."""

    notebook: str
    rendered: RenderedCell
    marked: MarkedCell | None = None
    comment: SafeString | None = None
    is_new_notebook: bool = False
    reasons: Sequence[str] = ()


def release(submissions: Iterable[Submission], by: Person, *, on_released: OnReleased | None = None) -> int:
    """Lets the authors read scores and comments; returns how many submissions that is new for.

    Those that still wait for a person, or for the machine, are left out. `on_released` runs in the same transaction.
    """
    return sum(_release(submission, by, on_released) for submission in submissions)


def _release(submission: Submission, by: Person, on_released: OnReleased | None) -> bool:
    try:
        with transaction.atomic():
            if not Submission.objects.filter(pk=submission.pk, state__in=_READY).exists():
                return False
            again = Feedback.objects.filter(submission=submission, state=Feedback.State.WITHDRAWN).update(
                state=Feedback.State.RELEASED, by=by.pk, at=timezone.now()
            )
            if not again:
                Feedback.objects.create(submission=submission, by_id=by.pk)
            if on_released is not None:
                on_released(Feedback.objects.get(submission=submission))
            return True
    except IntegrityError:
        return False  # it was released already


def withdraw(submissions: Iterable[Submission], by: Person) -> int:
    """Takes feedback back; returns how many submissions had it. Nothing that was written is lost."""
    keys = [submission.pk for submission in submissions]
    return Feedback.objects.filter(submission__in=keys, state=Feedback.State.RELEASED).update(
        state=Feedback.State.WITHDRAWN, by=by.pk, at=timezone.now()
    )


def cells(submission: Submission, *, nonce: str = "", for_grader: bool = False) -> list[FeedbackCell]:
    """Every cell of every notebook in order, as graded, or as handed in where it could not be run.

    Code of hidden tests is left out unless the assignment shows it, or `for_grader`.
    """
    marked = {(row.cell.notebook.name, row.cell.grade_id): row for row in marked_cells(submission)}
    handed_in = storage.read_snapshot(submission.snapshot)
    executed = _executed(submission)
    found: list[FeedbackCell] = []
    for notebook in ReleaseNotebook.objects.filter(release=submission.scored_by_id).order_by("position", "name"):
        content = executed.get(notebook.path) or handed_in.get(notebook.path, b"")
        if not for_grader:
            content = without_hidden_tests(submission, content)
        messages, reasons = engine.messages(content), engine.reasons(content)
        for index, rendered in enumerate(render(content, handed_in, nonce=nonce)):
            row = marked.get((notebook.name, rendered.grade_id))
            if row is not None and row.failed_tests:
                # The stored message may quote a hidden test; this one was made of what is shown.
                row = replace(row, failed_tests=messages.get(rendered.grade_id, ""))
            comment = clean_markdown(row.comment.text) if row and row.comment else None
            said = reasons.get(rendered.grade_id, ())
            found.append(FeedbackCell(notebook.name, rendered, row, comment, index == 0, said))
    return found


def without_hidden_tests(submission: Submission, content: bytes) -> bytes:
    """A graded notebook as its authors may see it."""
    line_item = submission.line_item
    if line_item.show_hidden_tests or not content:
        return content
    return engine.redact(content, settings_of(line_item, submission.scored_by.engine_settings, {}))


def _executed(submission: Submission) -> dict[str, bytes]:
    current = Autograding.objects.filter(submission=submission, current=True).select_related("result").first()
    return storage.read_snapshot(current.result) if current and current.result else {}
