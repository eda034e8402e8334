"""What approving a regrade does to the score that counts, where the best attempt counts: another one may come to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from classroom.people.models import User
from classroom.queries.counting import counting_submission, tries_of
from classroom.queries.scores import Score, scores_of
from grading.compare import Difference, ScoreMove
from grading.models import LineItem, Submission


@dataclass(frozen=True)
class Counted(ScoreMove):
    """One student whose counted score changes, and the attempts that it is from. Those have `line_item` only."""

    name: str
    before: Submission
    after: Submission
    old: Score
    new: Score

    @property
    def other_attempt(self) -> bool:
        """Whether another attempt counts then."""
        return self.before.pk != self.after.pk


@dataclass(frozen=True)
class Summary:
    """Everyone whose counted score changes: losses before gains, then by name."""

    students: Sequence[Counted] = ()

    @property
    def up(self) -> int:
        """How many win points."""
        return sum(one.moved > 0 for one in self.students)

    @property
    def down(self) -> int:
        """How many lose points."""
        return sum(one.moved < 0 for one in self.students)

    @property
    def others(self) -> int:
        """For how many another attempt counts then."""
        return sum(one.other_attempt for one in self.students)


def counted(line_item: LineItem, people: Any, approved: Iterable[Difference]) -> Summary:
    """The effect of approving all of these on what counts for each of these people.

    Five queries where the best attempt counts, and one more if anybody's changes. Where the last counts, each attempt's
    own line says everything: then this is empty and takes none.
    """
    news = {one.submission.pk: one.new for one in approved}
    if line_item.keep != LineItem.Keep.BEST or not news:
        return Summary()
    tries = tries_of([line_item], people)
    now = scores_of({one.pk: one for found in tries.values() for one in found}.values())
    then = now | {pk: score for pk, score in news.items() if pk in now}
    changed: dict[int, tuple[Submission, Submission]] = {}
    for (user, _item), found in tries.items():
        before, after = (counting_submission(line_item, found, scores) for scores in (now, then))
        if before is None or after is None or before.pk not in now or after.pk not in then:
            continue
        if _said(now[before.pk]) != _said(then[after.pk]) or before.pk != after.pk:
            changed[user] = before, after
    names = {user.pk: user.get_full_name() for user in User.objects.filter(pk__in=list(changed))} if changed else {}
    students = [
        Counted(names[user], before, after, now[before.pk], then[after.pk]) for user, (before, after) in changed.items()
    ]
    return Summary(sorted(students, key=lambda one: (one.moved, one.name.casefold())))


def _said(score: Score) -> tuple[Decimal, Decimal]:
    return score.score, score.max_score
