"""Versions of one small assignment that differ in their points, and scores as the engine would leave them."""

from __future__ import annotations

import copy
from decimal import Decimal

from django.utils import timezone
from nbformat.v4 import new_notebook

from grading import release, states
from grading.models import Autograding, CellScore, GradeCell, LineItem, Regrade, Release, Submission
from tests.grading.corpus import dump
from tests.grading.course_of_one import CELLS, PYTHON


def version(item: LineItem, *, tests: float = 3, why: float = 2, without_why: bool = False) -> Release:
    """A release of an answer, its tests and a written answer, whose solution counts as having been run."""
    cells = copy.deepcopy(CELLS[:2] if without_why else CELLS)
    for cell, points in zip(cells[1:], (tests, why), strict=False):
        cell.metadata["nbgrader"]["points"] = points
    made = release.draft(item, {"p.ipynb": dump(new_notebook(cells=cells, metadata=PYTHON))}, None)
    Release.objects.filter(pk=made.pk).update(state=Release.State.CHECKED)
    made.refresh_from_db()
    return made


def cell(made: Release, grade_id: str) -> GradeCell:
    """The version's cell of this id."""
    return GradeCell.objects.select_related("notebook").get(notebook__release=made, grade_id=grade_id)


def end(
    row: Autograding, tests: Decimal | int | None, *, failed_tests: str = "", failures: tuple[str, ...] = ()
) -> None:
    """Ends a run with this score of its tests (None: for a person); the written answer waits for a person."""
    for one in GradeCell.objects.filter(notebook__release=row.release_id):
        is_tests = one.kind == GradeCell.Kind.TESTS
        CellScore.objects.create(
            autograding=row, cell=one, auto_score=tests if is_tests else None,
            needs_manual_grade=one.kind != GradeCell.Kind.ANSWER and not (is_tests and tests is not None),
            failed_tests=failed_tests if is_tests else "",
        )  # fmt: skip
    state = Autograding.State.FAILED if failures else Autograding.State.FINISHED
    Autograding.objects.filter(pk=row.pk).update(
        state=state, current=row.regrade_id is None, started_at=timezone.now(), finished_at=timezone.now(),
        failures=[{"code": code, "notebook": "", "params": {}, "detail": ""} for code in failures],
        engine_version="nbgrader 0.9.6", environment_digest="sha256:new" if row.regrade_id else "sha256:old",
    )  # fmt: skip
    row.refresh_from_db()
    if row.regrade_id is None:
        flags = row.scores.values_list("needs_manual_grade", flat=True)
        after = states.after_grading(failed=bool(failures), flags=flags)
        Submission.objects.filter(pk=row.submission_id).update(state=after)


def candidate(regrade: Regrade, submission: Submission) -> Autograding:
    """What a regrade tries for this submission."""
    return Autograding.objects.select_related("release").get(regrade=regrade, submission=submission)
