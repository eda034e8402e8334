"""Handed-in files to a submission with a number, the server's time and a receipt."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

from django.db import IntegrityError, transaction
from django.db.models import Max

from grading.autograde import enqueue
from grading.errors import AttemptsUsedUp, NothingHandedIn
from grading.models import LineItem, Regrade, Release, Submission, SubmissionAuthor
from grading.scoring import lateness
from runtimes.models import Snapshot

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractUser as Person

_RACES = 20


def collect(
    *,
    line_item: LineItem,
    release: Release,
    snapshot: Snapshot,
    authors: Iterable[Person],
    received_at: datetime,
    due_at: datetime | None,
    request_key: str,
) -> Submission:
    """The submission for this request, made once: the same key from the same authors returns the same one.

    `received_at` is the server's time; a time in the files is never looked at. Queued for grading in the same
    transaction. Raises AttemptsUsedUp or NothingHandedIn.
    """
    people = sorted(set(authors), key=lambda person: person.pk)
    if not people or not snapshot.files.exists():
        raise NothingHandedIn(f"line item {line_item.pk}")
    key = ",".join(str(person.pk) for person in people)
    for race in range(_RACES):
        known = Submission.objects.filter(line_item=line_item, authors_key=key, request_key=request_key).first()
        if known is not None:
            return known
        try:
            with transaction.atomic():
                submission = Submission(
                    line_item=line_item,
                    release=release,
                    correction=correction_of(release),
                    snapshot=snapshot,
                    attempt=_next_attempt(line_item, key),
                    authors_key=key,
                    request_key=request_key,
                    received_at=received_at,
                    due_at=due_at,
                    late_by=lateness(received_at, due_at, line_item.grace),
                )
                _insert(submission, people)
                return submission
        except IntegrityError:
            # The same click twice, or two clicks at once: look again.
            if race == _RACES - 1:
                raise
    raise AssertionError("unreachable")


def _insert(submission: Submission, people: list[Person]) -> None:
    if not submission.line_item.graded:
        submission.state = Submission.State.GRADED
    submission.save(force_insert=True)
    SubmissionAuthor.objects.bulk_create(
        SubmissionAuthor(submission=submission, user_id=person.pk) for person in people
    )
    if submission.line_item.graded:
        enqueue(submission)


def correction_of(release: Release) -> Release | None:
    """The version that scores what is handed in from now on for an older one: of the regrade that said so last."""
    holding = Regrade.objects.filter(
        line_item=release.line_item_id, holds_from__isnull=False, release__number__gt=release.number
    )
    last = holding.select_related("release").order_by("-holds_from", "-pk").first()
    return last.release if last is not None else None


def _next_attempt(line_item: LineItem, authors_key: str) -> int:
    last = Submission.objects.filter(line_item=line_item, authors_key=authors_key).aggregate(last=Max("attempt"))
    attempt = int(last["last"] or 0) + 1
    if line_item.attempt_limit is not None and attempt > line_item.attempt_limit:
        raise AttemptsUsedUp(f"{attempt} of {line_item.attempt_limit}")
    return attempt
