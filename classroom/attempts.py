"""How many attempts there are and how many are used."""

from __future__ import annotations

from collections.abc import Sequence

from classroom.deadlines import Dates
from classroom.models import Work
from classroom.people.models import User
from grading.models import LineItem, Submission


def limit(item: LineItem, terms: Dates) -> int | None:
    """The most attempts, with those that were given to this person or their group. None: any number."""
    return None if item.attempt_limit is None else item.attempt_limit + terms.more_attempts


def series(work: Work) -> str:
    """What the attempts of a group are counted by, whoever is in it; "" for one's own work."""
    return f"group:{work.group_id}" if work.group_id is not None else ""


def used(work: Work, user: User, submissions: Sequence[Submission]) -> int:
    """How many of the person's submissions count against the limit: those of this group, or those of their own."""
    key = series(work) or str(user.pk)
    return sum(1 for one in submissions if one.authors_key == key)
