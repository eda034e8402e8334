"""Which attempts count, and which of them those who mark go through."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet

from classroom.queries.scores import Score, scores_of
from grading import review, states
from grading.models import LineItem, Submission, SubmissionAuthor

State = Submission.State


def counting_submission(
    line_item: LineItem, tries: Sequence[Submission], scores: Mapping[int, Score]
) -> Submission | None:
    """The attempt that counts: the last, or the best (of equals the later; an attempt without a score is below any).

    `tries` are one person's, as they came in: also those of a group that the person is in no longer.
    """
    if not tries:
        return None
    if line_item.keep == LineItem.Keep.LAST:
        return tries[-1]
    places = {one.pk: place for place, one in enumerate(tries)}
    return max(tries, key=lambda one: (scores[one.pk].score if one.pk in scores else -1, places[one.pk]))


def queue(line_item: LineItem, people: Any) -> QuerySet[Submission]:
    """What those who mark go through of these people: the attempt that counts for each.

    Where the best counts, also those that wait and may yet come to count: not graded yet, or with written answers whose
    points would lift them above it.
    """
    wanted: set[int] = set()
    for counts, others in by_person([line_item], people).values():
        wanted.add(counts.pk)
        wanted.update(one.pk for one in others)
    return review.queue(line_item, people, every_attempt=True).filter(pk__in=wanted)


def by_person(
    line_items: Iterable[LineItem], people: Any
) -> dict[tuple[int, int], tuple[Submission, Sequence[Submission]]]:
    """By (user, line item): the attempt that counts, and those that may yet. One query; five where the best counts."""
    items = list(line_items)
    tries = tries_of(items, people)
    best = {item.pk for item in items if item.keep == LineItem.Keep.BEST}
    scored = {one.pk: one for (_user, item), found in tries.items() if item in best for one in found}
    scores = scores_of(scored.values()) if scored else {}
    return {
        key: (counts, _may_count(counts, found, scores) if key[1] in best else ())
        for key, found in tries.items()
        if (counts := counting_submission(found[-1].line_item, found, scores)) is not None
    }


def last_of_each(people: Any) -> QuerySet[SubmissionAuthor]:
    """The last attempt of each of these people in each line item, as authorships: what is counted where it counts."""
    mine = SubmissionAuthor.objects.filter(
        user=OuterRef("user"), submission__line_item=OuterRef("submission__line_item")
    )
    after = Q(submission__received_at__gt=OuterRef("submission__received_at"))
    with_it = Q(submission__received_at=OuterRef("submission__received_at"), submission__gt=OuterRef("submission"))
    return SubmissionAuthor.objects.filter(~Exists(mine.filter(after | with_it)), user__in=people)


def tries_of(items: Sequence[LineItem], people: Any) -> dict[tuple[int, int], list[Submission]]:
    """By (user, line item): all attempts as they came in, also those of a group that the person is in no longer."""
    rows = (
        SubmissionAuthor.objects.select_related("submission__line_item", "submission__feedback")
        .filter(submission__line_item__in=items, user__in=people)
        .order_by("submission__received_at", "submission")
    )
    found: dict[tuple[int, int], list[Submission]] = {}
    for row in rows:
        found.setdefault((row.user_id, row.submission.line_item_id), []).append(row.submission)
    return found


def _may_count(counts: Submission, tries: Sequence[Submission], scores: Mapping[int, Score]) -> list[Submission]:
    most = scores[counts.pk].score if counts.pk in scores else -1
    return [
        one
        for one in tries
        if one.pk != counts.pk
        and (
            one.state in states.UNDER_WAY
            or (one.state == State.TO_REVIEW and one.pk in scores and scores[one.pk].at_most >= most)
        )
    ]
