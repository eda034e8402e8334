"""Scores of everyone in everything: a row a student, a column an assignment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db import models
from django.db.models import F, OuterRef, Subquery
from django.db.models.functions import Coalesce, Lower

from classroom.enter import Member
from classroom.histogram import Histogram, histogram
from classroom.models import Assignment, Enrollment
from classroom.queries.counting import counting_submission
from classroom.queries.scores import Score, scores_of
from grading.models import Autograding, Regrade, Submission, SubmissionAuthor

State = Submission.State


@dataclass(frozen=True)
class Entry:
    """What one student has in one assignment. Without a submission it is empty: `word` says "missing" or nothing."""

    word: str = ""
    submission: Submission | None = None
    score: Score | None = None

    @property
    def counts(self) -> bool:
        """Whether the score is the final one: nothing in it waits for a person, and the tests have run."""
        return self.score is not None and self.word not in {State.TO_REVIEW, State.FAILED}


@dataclass(frozen=True)
class Line:
    """One student."""

    enrollment: Enrollment
    entries: Sequence[Entry]


@dataclass(frozen=True)
class Chart:
    """One assignment's scores; no histogram while nobody has one."""

    assignment: Assignment
    histogram: Histogram | None


@dataclass(frozen=True)
class Gradebook:
    """The whole table."""

    assignments: Sequence[Assignment]
    lines: Sequence[Line]
    max_scores: Sequence[Decimal]

    @property
    def charts(self) -> list[Chart]:
        """How each assignment's scores are spread, as far as they are known."""
        return [
            Chart(one, histogram(_shares(line.entries[place] for line in self.lines)))
            for place, one in enumerate(self.assignments)
        ]


def _shares(entries: Iterable[Entry]) -> Iterator[Decimal]:
    """Of full marks of the version that each was graded by."""
    for entry in entries:
        if entry.score is not None and entry.counts and entry.score.max_score > 0:
            yield entry.score.score / entry.score.max_score


def gradebook(me: Member) -> Gradebook:
    """The students that `me` looks after, by section and name, and what counts of theirs. Nine queries."""
    assignments = list(
        Assignment.objects.all()
        .fetch_mode(models.FETCH_RAISE)
        .select_related("line_item", "release")
        .filter(course=me.course, line_item__graded=True, release__isnull=False)
        .annotate(max_score=Coalesce(Subquery(_corrected()), F("release__max_score")))
        .order_by("position", "pk")
    )
    students = list(
        me.students()
        .fetch_mode(models.FETCH_RAISE)
        .select_related("user", "section")
        .order_by("section__name", Lower("user__display_name"), "user__username")
    )
    tries = _tries(assignments, {one.user_id for one in students})
    submissions = {submission.pk: submission for found in tries.values() for submission in found}
    scores = scores_of(submissions.values())
    lines = [
        Line(
            enrollment=one,
            entries=[
                _entry(assignment, tries.get((one.user_id, assignment.line_item_id), []), scores)
                for assignment in assignments
            ],
        )
        for one in students
    ]
    return Gradebook(assignments, lines, [one.max_score for one in assignments])


def _corrected() -> models.QuerySet[Regrade, Any]:
    """The points of the version that scores what is handed in, where a regrade has said that it is a newer one."""
    newer = Regrade.objects.filter(
        line_item=OuterRef("line_item"), holds_from__isnull=False, release__number__gt=OuterRef("release__number")
    )
    return newer.order_by("-holds_from").values("release__max_score")[:1]


type MadeWith = tuple[int | str, str, str]


def made_with(book: Gradebook) -> Callable[[Entry], MadeWith]:
    """What each entry's result was made with: version, environment, engine; empty where there is none. One query."""
    submissions = [entry.submission.pk for line in book.lines for entry in line.entries if entry.submission]
    runs = Autograding.objects.filter(submission__in=submissions, current=True)
    known: dict[int, MadeWith] = {
        pk: (number, environment, engine)
        for pk, number, environment, engine in runs.values_list(
            "submission", "release__number", "environment_digest", "engine_version"
        )
    }
    return lambda entry: known.get(entry.submission.pk if entry.submission else 0, ("", "", ""))


def _tries(assignments: Sequence[Assignment], users: set[int]) -> dict[tuple[int, int], list[Submission]]:
    """Attempts by (user, line item), oldest first."""
    found: dict[tuple[int, int], list[Submission]] = {}
    rows = (
        SubmissionAuthor.objects.all()
        .fetch_mode(models.FETCH_RAISE)
        .select_related("submission__line_item")
        .filter(submission__line_item__in=[one.line_item_id for one in assignments])
        .order_by("submission__received_at", "submission")
    )
    for row in rows:
        if row.user_id in users:
            found.setdefault((row.user_id, row.submission.line_item_id), []).append(row.submission)
    return found


def _entry(assignment: Assignment, tries: Sequence[Submission], scores: dict[int, Score]) -> Entry:
    submission = counting_submission(assignment.line_item, tries, scores)
    if submission is None:
        return Entry(word="missing")
    return Entry(word=submission.state, submission=submission, score=scores.get(submission.pk))
