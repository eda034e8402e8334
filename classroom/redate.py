"""Lateness follows the dates: what a new due date, grace, extension or accommodation does to what was handed in."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import ngettext

from classroom.deadlines import latest
from classroom.models import Assignment
from classroom.terms import Allowances, Extensions, terms_of_people
from grading.models import Submission, SubmissionAuthor
from grading.scoring import lateness

_NOTHING = timedelta(0)


@dataclass(frozen=True)
class Change:
    """One submission that counts as late by something else, or has another due date."""

    submission: int
    before: tuple[datetime | None, timedelta]
    after: tuple[datetime | None, timedelta]


@dataclass(frozen=True)
class Effects:
    """What a change of dates does. `digest` names it, so that what was shown is what is applied."""

    changes: tuple[Change, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.words)

    @property
    def digest(self) -> str:
        """Another one for other effects."""
        rows = sorted((row.submission, row.before[1], row.after[1]) for row in self.changes)
        return hashlib.sha256(repr(rows).encode()).hexdigest()[:32]

    @property
    def words(self) -> list[str]:
        """One sentence a kind: "3 submissions will no longer be late." Empty where no lateness changes."""
        pairs = [(row.before[1], row.after[1]) for row in self.changes]
        forgiven = sum(1 for before, after in pairs if before and not after)
        late = sum(1 for before, after in pairs if after and not before)
        less = sum(1 for before, after in pairs if before > after > _NOTHING)
        more = sum(1 for before, after in pairs if after > before > _NOTHING)
        free = ngettext(
            "%(n)d submission will no longer be late.", "%(n)d submissions will no longer be late.", forgiven
        )
        found = [
            (free, forgiven),
            (ngettext("%(n)d submission becomes late.", "%(n)d submissions become late.", late), late),
            (ngettext("%(n)d submission is late by less.", "%(n)d submissions are late by less.", less), less),
            (ngettext("%(n)d submission is late by more.", "%(n)d submissions are late by more.", more), more),
        ]
        return [text % {"n": count} for text, count in found if count]


def effects(
    assignment: Assignment,
    users: Collection[int] | None = None,
    *,
    submission: int | None = None,
    extensions: Extensions | None = None,
    allowances: Allowances | None = None,
) -> Effects:
    """What the assignment as it is in memory would change, for the submissions of `users`, for one, or for all. Reads
    only.

    `extensions` and `allowances` (by user) stand for what is stored. Of several authors the latest date counts.
    """
    authors: dict[int, list[int]] = {}
    mine = Submission.objects.filter(line_item=assignment.line_item_id)
    if users is not None:
        mine = mine.filter(pk__in=SubmissionAuthor.objects.filter(user__in=users).values("submission"))
    if submission is not None:
        mine = mine.filter(pk=submission)
    rows = {row.pk: row for row in mine}
    for handed_in, user in SubmissionAuthor.objects.filter(submission__in=mine).values_list("submission", "user"):
        authors.setdefault(handed_in, []).append(user)
    everyone = {user for found in authors.values() for user in found}
    terms = terms_of_people(assignment, everyone, extensions=extensions, allowances=allowances)
    changes = []
    for pk, row in rows.items():
        if pk not in authors:
            continue
        due = latest(terms[user] for user in authors[pk]).due_at
        after = (due, lateness(row.received_at, due, assignment.line_item.grace))
        if (row.due_at, row.late_by) != after:
            changes.append(Change(pk, (row.due_at, row.late_by), after))
    return Effects(tuple(changes))


def follow(assignment: Assignment, users: Collection[int] | None = None) -> None:
    """Writes what follows from the dates as they are stored now. To be called in the transaction that changed them.

    Once more after commit: what was handed in at the same moment went by the old dates and was not to be seen before.
    """
    _follow(assignment.pk, users)
    transaction.on_commit(lambda: _follow(assignment.pk, users), robust=True)


def follow_one(submission: Submission) -> None:
    """The same for one submission that was just taken: its dates may have changed while it came in."""
    assignment = _assignments().filter(line_item=submission.line_item_id).first()
    if assignment is not None:
        _write(effects(assignment, submission=submission.pk))


def _follow(assignment: int, users: Collection[int] | None) -> None:
    _write(effects(_assignments().get(pk=assignment), users))


def _assignments() -> QuerySet[Assignment]:
    return Assignment.objects.select_related("course", "line_item")


def _write(found: Effects) -> None:
    for change in found.changes:
        (due_before, late_before), (due, late) = change.before, change.after
        unchanged = Submission.objects.filter(pk=change.submission, due_at=due_before, late_by=late_before)
        unchanged.update(due_at=due, late_by=late)
