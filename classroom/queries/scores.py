"""Totals of many submissions in four queries, by the rules of `grading.scoring`."""

from __future__ import annotations

from collections.abc import Iterable

from grading import review
from grading.late import penalty_of
from grading.models import CellScore, GradeCell, Mark, Submission
from grading.scoring import CellPoints, Total, total

Score = Total


def scores_of(submissions: Iterable[Submission]) -> dict[int, Score]:
    """Total by submission id. Left out: what is neither graded nor marked yet. `line_item` must have been fetched.

    Scores and points are of one version, also where another one came to count since the submission was read.
    """
    rows = list(submissions)
    auto, versions = _automatic(rows)
    versions = {row.pk: versions.get(row.pk, row.scored_by_id) for row in rows}
    marks = review.newest_marks(row.pk for row in rows)
    cells = review.scored_cells(set(versions.values()))
    return {
        row.pk: total(
            (_points(cell, auto.get(row.pk, {}).get(cell.pk), marks.get(row.pk, {}).get(cell.key))
             for cell in cells.get(versions[row.pk], ())),
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


def _automatic(rows: list[Submission]) -> tuple[dict[int, dict[int, CellScore]], dict[int, int]]:
    """By submission: what counts of each cell, and the version that it is of."""
    found: dict[int, dict[int, CellScore]] = {}
    versions: dict[int, int] = {}
    query = CellScore.objects.filter(autograding__submission__in=rows, autograding__current=True)
    for score in query.select_related("autograding"):
        found.setdefault(score.autograding.submission_id, {})[score.cell_id] = score
        versions[score.autograding.submission_id] = score.autograding.release_id
    return found, versions
