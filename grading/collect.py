"""Handed-in files to a submission with a number, the server's time and a receipt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
    group: str = "",
    more_attempts: int = 0,
    files_may_lack: bool = False,
    left_out: Mapping[str, str] | None = None,
) -> Submission:
    """The submission for this request, made once: the same key from the same authors returns the same one.

    `received_at` is the server's time; a time in the files is never looked at. Attempts are counted by `group` (a text
    that names it, whoever is in it now), else by authors; `more_attempts` come on top of the limit.
    `files_may_lack`, `left_out`: what is known not to be in `snapshot`. Queued for grading in the same transaction.
    Raises AttemptsUsedUp or NothingHandedIn.
    """
    people = sorted(set(authors), key=lambda person: person.pk)
    if not people or not snapshot.files.exists():
        raise NothingHandedIn(f"line item {line_item.pk}")
    wanted = Submission(
        line_item=line_item,
        release=release,
        snapshot=snapshot,
        authors_key=group or ",".join(str(person.pk) for person in people),
        request_key=request_key,
        received_at=received_at,
        due_at=due_at,
        late_by=lateness(received_at, due_at, line_item.grace),
        files_may_lack=files_may_lack,
        left_out=dict(left_out or {}),
    )
    return _number(wanted, people, more_attempts)


def _number(wanted: Submission, people: list[Person], more_attempts: int) -> Submission:
    series = Submission.objects.filter(line_item=wanted.line_item, authors_key=wanted.authors_key)
    for race in range(_RACES):
        known = series.filter(request_key=wanted.request_key).first()
        if known is not None:
            return known
        wanted.attempt = _next_attempt(wanted, more_attempts)
        try:
            with transaction.atomic():
                wanted.correction = correction_of(wanted.release)
                _insert(wanted, people)
                return wanted
        except IntegrityError:
            # The same click twice, or two clicks at once: look again.
            wanted.pk = None
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


def _next_attempt(wanted: Submission, more_attempts: int) -> int:
    item = wanted.line_item
    last = Submission.objects.filter(line_item=item, authors_key=wanted.authors_key).aggregate(last=Max("attempt"))
    attempt = int(last["last"] or 0) + 1
    if item.attempt_limit is not None and attempt > item.attempt_limit + more_attempts:
        raise AttemptsUsedUp(f"{attempt} of {item.attempt_limit + more_attempts}")
    return attempt
