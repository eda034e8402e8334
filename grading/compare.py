"""A regrade's candidates beside what counts: whose score would move, by which cells, and who would have to look."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from grading import review, states
from grading.models import Autograding, CellKey, CellScore, GradeCell, Mark, Regrade, Submission
from grading.review import MarkedCell
from grading.scoring import Total

_MOST_KEYS = 20_000

type Cells = Mapping[CellKey, MarkedCell]
type Scores = Mapping[int, Mapping[int, CellScore]]
type Marks = Mapping[int, Mapping[CellKey, Mark]]


@dataclass(frozen=True)
class CellMove:
    """One cell that is not the same before and after. None: that version does not have it."""

    before: MarkedCell | None
    after: MarkedCell | None

    @property
    def cell(self) -> GradeCell:
        """The cell, of the newer version that has it."""
        found = self.after or self.before
        assert found is not None
        return found.cell

    @property
    def mark(self) -> Mark | None:
        """What a person gave it by hand and stays, whatever the tests say."""
        found = self.after or self.before
        return found.mark if found and found.mark and found.mark.manual_score is not None else None

    @property
    def points_changed(self) -> bool:
        """Whether it is worth more or less than before."""
        return self.before is not None and self.after is not None and _most(self.before) != _most(self.after)

    @property
    def is_hidden_by_mark(self) -> bool:
        """Whether the tests say something new that does not show, because a mark given by hand counts."""
        return self.mark is not None and _automatic(self.before) != _automatic(self.after)

    @property
    def is_newly_flagged(self) -> bool:
        """Whether a person would have to look who need not before."""
        return bool(self.after and self.after.points.to_review) and not (self.before and self.before.points.to_review)


class ScoreMove:
    """From one score to another."""

    old: Total
    new: Total

    @property
    def moved(self) -> Decimal:
        """Points won, or lost if negative."""
        return self.new.score - self.old.score

    @property
    def distance(self) -> Decimal:
        """How far the score moves, up or down."""
        return abs(self.moved)


@dataclass(frozen=True)
class Difference(ScoreMove):
    """One candidate beside what counts now. `cells` are those that differ."""

    candidate: Autograding
    before: Autograding
    submission: Submission
    old: Total
    new: Total
    cells: Sequence[CellMove]
    newest_mark: int

    @property
    def moves(self) -> bool:
        """Whether the score or what can be had changes."""
        return bool(self.moved) or self.new.max_score != self.old.max_score

    @property
    def newly_failed(self) -> bool:
        """Whether it could be graded before, and not now."""
        return bool(self.candidate.failures) and not self.before.failures

    @property
    def needs_person(self) -> bool:
        """Whether somebody would have to look who need not before."""
        return self.newly_failed or any(one.is_newly_flagged for one in self.cells)

    @property
    def marks_named(self) -> bool:
        """Whether a mark given by hand hides what changed, or was given when the cell had other points."""
        return any(one.is_hidden_by_mark or (one.mark and one.points_changed) for one in self.cells)

    @property
    def fingerprint(self) -> str:
        """Names what was compared and what came of it: approving with one that no longer holds changes nothing."""
        compared = (self.candidate.pk, self.before.pk, self.newest_mark, self.old.score, self.new.score)
        return hashlib.sha256(repr(tuple(map(str, compared))).encode()).hexdigest()[:16]


def differences(regrade: Regrade, submissions: Iterable[int] | None = None) -> list[Difference]:
    """The candidates that have ended and are not decided, beside what counts of the same submissions now.

    Of `submissions` (keys) if they are given. Six queries, however many there are below `_MOST_KEYS` runs.
    """
    ended = regrade.candidates.exclude(state__in=states.OPEN).filter(change=None)
    if submissions is not None:
        ended = ended.filter(submission__in=list(submissions))
    candidates = list(
        ended.select_related("submission").defer("log", "notes").order_by("submission__received_at", "pk")
    )
    current: dict[int, Autograding] = {}
    marks: dict[int, Mapping[CellKey, Mark]] = {}
    for keys in _slices([one.submission_id for one in candidates]):
        known = Autograding.objects.filter(submission__in=keys, current=True)
        current |= {one.submission_id: one for one in known.only("submission", "release", "current", "failures")}
        marks |= review.newest_marks(keys)
    compared = [one for one in candidates if one.submission_id in current]
    for one in compared:
        one.submission.line_item = regrade.line_item
    return _beside(compared, current, _scores([*compared, *current.values()]), marks)


def _slices(keys: Sequence[int]) -> Iterator[Sequence[int]]:
    """At most so many at once: SQLite takes 32,766 parameters, and nested queries mislead PostgreSQL's planner."""
    for start in range(0, len(keys), _MOST_KEYS):
        yield keys[start : start + _MOST_KEYS]


def _beside(
    candidates: Sequence[Autograding], current: Mapping[int, Autograding], scores: Scores, marks: Marks
) -> list[Difference]:
    cells = review.scored_cells({run.release_id for run in [*candidates, *current.values()]})
    found = []
    for after in candidates:
        before, submission = current[after.submission_id], after.submission
        given = marks.get(submission.pk, {})
        then = _put_together(cells.get(before.release_id, ()), scores.get(before.pk, {}), given)
        now = _put_together(cells.get(after.release_id, ()), scores.get(after.pk, {}), given)
        found.append(
            Difference(
                candidate=after,
                before=before,
                submission=submission,
                old=review.total_of(submission, then.values()),
                new=review.total_of(submission, now.values()),
                cells=_moves(then, now),
                newest_mark=max((mark.pk for mark in given.values()), default=0),
            )
        )
    return found


def _put_together(cells: Iterable[GradeCell], scores: Mapping[int, CellScore], marks: Mapping[CellKey, Mark]) -> Cells:
    return {cell.key: review.marked(cell, scores.get(cell.pk), marks.get(cell.key)) for cell in cells}


def _moves(then: Cells, now: Cells) -> list[CellMove]:
    """The cells that differ, in the order of the newer version, those that are gone last."""
    pairs = [CellMove(then.get(key), now.get(key)) for key in [*now, *(key for key in then if key not in now)]]
    return [pair for pair in pairs if _said(pair.before) != _said(pair.after)]


def _said(row: MarkedCell | None) -> object:
    """What a change of would be shown. Of an automatic score it matters also where a mark hides it."""
    if row is None:
        return None
    return row.points, row.failed_tests


def _most(row: MarkedCell) -> Decimal:
    return row.points.max_score


def _automatic(row: MarkedCell | None) -> object:
    return None if row is None else (row.points.auto_score, row.points.needs_manual_grade)


def _scores(runs: Sequence[Autograding]) -> Scores:
    found: dict[int, dict[int, CellScore]] = {}
    for keys in _slices([run.pk for run in runs]):
        for score in CellScore.objects.filter(autograding__in=keys):
            found.setdefault(score.autograding_id, {})[score.cell_id] = score
    return found
