"""Totals of many submissions in four queries, by the rules of `grading.scoring`."""

from __future__ import annotations

from collections.abc import Iterable

from grading.late import penalty_of
from grading.models import CellKey, CellScore, GradeCell, Mark, Submission
from grading.scoring import CellPoints, Total, total

Score = Total


def scores_of(submissions: Iterable[Submission]) -> dict[int, Score]:
    """Total by submission id. Left out: what is neither graded nor marked yet. `line_item` must have been fetched."""
    rows = list(submissions)
    auto = _automatic(rows)
    marks = _marks(rows)
    cells = _cells({row.scored_by_id for row in rows})
    return {
        row.pk: total(
            (_points(cell, auto.get(row.pk, {}).get(cell.pk), marks.get(row.pk, {}).get(cell.key))
             for cell in cells.get(row.scored_by_id, ())),
            penalty_of(row),
        )
        for row in rows
        if row.pk in auto or row.pk in marks
    }  # fmt: skip


def _points(cell: GradeCell, auto: CellScore | None, mark: Mark | None) -> CellPoints:
    return CellPoints(
        max_score=cell.max_score,
        auto_score=auto.auto_score if auto else None,
        manual_score=mark.manual_score if mark else None,
        extra_credit=mark.extra_credit if mark else None,
        needs_manual_grade=auto.needs_manual_grade if auto else False,
    )


def _automatic(rows: list[Submission]) -> dict[int, dict[int, CellScore]]:
    found: dict[int, dict[int, CellScore]] = {}
    query = CellScore.objects.filter(autograding__submission__in=rows, autograding__current=True)
    for score in query.select_related("autograding"):
        found.setdefault(score.autograding.submission_id, {})[score.cell_id] = score
    return found


def _marks(rows: list[Submission]) -> dict[int, dict[CellKey, Mark]]:
    """The newest mark of each cell, whichever version counted then; one that took everything back counts as none."""
    found: dict[int, dict[CellKey, Mark]] = {}
    for mark in Mark.objects.filter(submission__in=rows).select_related("cell__notebook").order_by("pk"):
        found.setdefault(mark.submission_id, {})[mark.cell.key] = mark
    return found


def _cells(releases: set[int]) -> dict[int, list[GradeCell]]:
    found: dict[int, list[GradeCell]] = {}
    query = GradeCell.objects.select_related("notebook").filter(notebook__release__in=releases)
    for cell in query.exclude(kind=GradeCell.Kind.ANSWER):
        found.setdefault(cell.notebook.release_id, []).append(cell)
    return found
