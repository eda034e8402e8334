"""Scores and comments back to those who handed in: released, taken back, and laid beside the cells."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.safestring import SafeString

from grading import engine
from grading.autograde import record_path
from grading.markdown import clean_markdown
from grading.models import Autograding, Feedback, GradeCell, LineItem, ReleaseNotebook, Submission
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
    #: A hidden test was in reach while it ran, and its outputs are those it was handed in with.
    as_handed_in: bool = False
    is_first_sealed: bool = False


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

    Hidden tests are left out, and what may quote them in any code, unless the assignment shows it, or `for_grader`.
    """
    marked = {(row.cell.notebook.name, row.cell.grade_id): row for row in marked_cells(submission)}
    run = _Run.of(submission)
    found: list[FeedbackCell] = []
    for notebook in ReleaseNotebook.objects.filter(release=submission.scored_by_id).order_by("position", "name"):
        seen = run.shown(notebook, for_grader=for_grader)
        found += _cells_of(notebook.name, seen, render(seen.content, run.handed_in, nonce=nonce), marked)
    return found


def _cells_of(
    name: str, seen: engine.Shown, rendered: Iterable[RenderedCell], marked: Mapping[tuple[str, str], MarkedCell]
) -> Iterator[FeedbackCell]:
    messages, reasons = engine.messages(seen.content), engine.reasons(seen.content)
    first = min(seen.sealed, default=0)
    for index, one in enumerate(rendered):
        row = marked.get((name, one.grade_id))
        is_tests = row is not None and row.cell.kind == GradeCell.Kind.TESTS
        if row is not None and row.failed_tests:
            # The stored message may quote a hidden test; this one was made of what is shown.
            row = replace(row, failed_tests=messages.get(one.grade_id, ""))
        yield FeedbackCell(
            notebook=name,
            rendered=one,
            marked=row,
            comment=clean_markdown(row.comment.text) if row and row.comment else None,
            is_new_notebook=index == 0,
            reasons=reasons.get(one.grade_id, ()),
            as_handed_in=one.number in seen.sealed and not is_tests and bool(one.outputs),
            is_first_sealed=one.number == first,
        )


@dataclass(frozen=True)
class _Run:
    """What was handed in, and the run that counts: its files, and what was put right before it."""

    line_item: LineItem
    handed_in: Mapping[str, bytes]
    settings: engine.Settings
    files: Mapping[str, bytes]
    notes: Sequence[Mapping[str, Any]]

    @classmethod
    def of(cls, submission: Submission) -> Self:
        """Reads rows and blobs."""
        runs = Autograding.objects.filter(submission=submission, current=True).select_related("result", "release")
        run, line_item = runs.first(), submission.line_item
        release = run.release if run else submission.scored_by
        return cls(
            line_item,
            storage.read_snapshot(submission.snapshot),
            settings_of(line_item, release.engine_settings, {}),
            storage.read_snapshot(run.result) if run and run.result else {},
            run.notes if run else (),
        )

    def shown(self, notebook: ReleaseNotebook, *, for_grader: bool) -> engine.Shown:
        """What there is to see of a notebook, for its authors or for those who grade."""
        content = self.files.get(notebook.path)
        if not content:
            return engine.Shown(self.handed_in.get(notebook.path, b""))
        if for_grader or self.line_item.show_hidden_tests:
            return engine.Shown(content)
        if self.line_item.show_all_outputs:
            return engine.Shown(engine.redact(content, self.settings))
        return engine.shown(
            content,
            self.settings,
            record=json.loads(self.files.get(record_path(notebook.name), b"[]")),
            handed_in=self._own(notebook),
            always=self._has_hidden_tests,
        )

    def _own(self, notebook: ReleaseNotebook) -> bytes:
        renamed = (note for note in self.notes if note["code"] in ("renamed_notebook", "moved_notebook"))
        paths = {note.get("notebook"): note["path"] for note in renamed}
        return self.handed_in.get(paths.get(notebook.name, notebook.path), b"")

    @cached_property
    def _has_hidden_tests(self) -> bool:
        books = (data for path, data in self.files.items() if engine.is_notebook(path))
        return any(engine.has_hidden_tests(data, self.settings) for data in books)
