"""Other tests or points for work that has its scores: tried on candidates first, then approved one by one, or dropped.

Nothing counts before it is approved. Every step may be repeated, broken off, and done by two people at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from grading import states
from grading.compare import Difference, differences
from grading.errors import AlreadyRegrading, NothingToRegrade, NotRegradable
from grading.models import Autograding, CellScore, Feedback, LineItem, Regrade, RegradeChange, Release, Submission

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractUser as Person

OnApproved = Callable[[RegradeChange], None]
State = Regrade.State
#: Versions whose tests can be tried: checked, and never to change again.
USABLE = (Release.State.CHECKED, Release.State.PUBLISHED)


@dataclass(frozen=True)
class Approved:
    """How many scores were taken over, and how many were not because something had changed since they were shown."""

    count: int
    changed_meanwhile: int


def start(
    line_item: LineItem, release: Release | None, submissions: Iterable[Submission], by: Person, *, reason: str
) -> Regrade:
    """Queues a candidate for each of these submissions that has its scores; `reason` is what students will read.

    `release` None: each by the version that counts for it already, in today's environment. Raises NotRegradable for a
    version that cannot be used, AlreadyRegrading while another one waits for its decision, NothingToRegrade.
    """
    if release is not None and (release.line_item_id != line_item.pk or release.state not in USABLE):
        raise NotRegradable(f"release {release.pk}")
    try:
        with transaction.atomic():
            regrade = Regrade.objects.create(line_item=line_item, release=release, by_id=by.pk, reason=reason.strip())
            if not _queue(regrade, submissions):
                raise NothingToRegrade(f"line item {line_item.pk}")
            return regrade
    except IntegrityError as error:
        raise AlreadyRegrading(f"line item {line_item.pk}") from error


def include(regrade: Regrade, submissions: Iterable[Submission]) -> int:
    """Queues candidates also for these, as far as they have scores and are not among them; how many are new."""
    with transaction.atomic():
        return _queue(regrade, submissions) if _hold(regrade) else 0


def _queue(regrade: Regrade, submissions: Iterable[Submission]) -> int:
    wanted = Submission.objects.filter(
        pk__in=[one.pk for one in submissions],
        line_item=regrade.line_item_id,
        state__in=states.REVIEWABLE,
        autogradings__current=True,
    )
    there = regrade.candidates.values("submission")
    new = list(wanted.exclude(pk__in=there).distinct())
    Autograding.objects.bulk_create(
        Autograding(submission=one, regrade=regrade, release_id=regrade.release_id or one.scored_by_id) for one in new
    )
    return len(new)


def _hold(regrade: Regrade) -> bool:
    """Whether it still waits for a decision; nobody decides it before this transaction ends."""
    return bool(Regrade.objects.filter(pk=regrade.pk, state=State.OPEN).update(state=F("state")))


def stop(regrade: Regrade) -> None:
    """What runs goes on to its end; what waits is taken by nobody. Twice is once."""
    Regrade.objects.filter(pk=regrade.pk, state=State.OPEN, stopped_at=None).update(stopped_at=timezone.now())


def resume(regrade: Regrade) -> None:
    """What waits may be taken again."""
    Regrade.objects.filter(pk=regrade.pk, state=State.OPEN).update(stopped_at=None)


def again(regrade: Regrade) -> int:
    """Queues the candidates that could not be graded once more; how many."""
    with transaction.atomic():
        if not _hold(regrade):
            return 0
        well = (*states.OPEN, Autograding.State.FINISHED)
        failed = regrade.candidates.exclude(state__in=well).filter(change=None)
        keys = list(failed.values_list("pk", flat=True))
        CellScore.objects.filter(autograding__in=keys).delete()
        rows = Autograding.objects.filter(pk__in=keys).exclude(state__in=well)
        return rows.update(
            state=Autograding.State.QUEUED, failures=[], notes=[], tries=0, queued_at=timezone.now(), finished_at=None
        )


def reject(regrade: Regrade, by: Person) -> bool:
    """Leaves every score that was not taken over as it is. False: it was decided already.

    What runs still ends and counts nowhere; what waits is dropped.
    """
    with transaction.atomic():
        after = State.DONE if RegradeChange.objects.filter(autograding__regrade=regrade).exists() else State.REJECTED
        if not _decide(regrade, by, after):
            return False
        regrade.candidates.filter(state=Autograding.State.QUEUED).delete()
        return True


def _decide(regrade: Regrade, by: Person, after: str) -> bool:
    still_open = Regrade.objects.filter(pk=regrade.pk, state=State.OPEN)
    return bool(still_open.update(state=after, decided_by=by.pk, decided_at=timezone.now()))


def approve(
    regrade: Regrade,
    by: Person,
    shown: Mapping[int, str],
    *,
    reason: str = "",
    for_later: bool = False,
    on_approved: OnApproved | None = None,
) -> Approved:
    """Lets candidates count, each in a transaction of its own in which `on_approved` runs.

    `shown` holds, by submission, the fingerprint of the difference that the person saw: where it no longer holds
    (marked meanwhile, graded again, decided) nothing changes. `for_later`: what is handed in from now on for an older
    version is scored by the regrade's. Decided once no candidate is left.
    """
    found = [one for one in differences(regrade, shown) if one.fingerprint == shown[one.submission.pk]]
    words = reason.strip() or regrade.reason
    count = sum(_approve(regrade, one, by, words, on_approved) for one in found)
    if count and for_later and regrade.release_id is not None:
        Regrade.objects.filter(pk=regrade.pk, holds_from=None).update(holds_from=timezone.now())
    if count and not regrade.candidates.filter(change=None).exists():
        _decide(regrade, by, State.DONE)
    return Approved(count, len(shown) - count)


class _Changed(Exception):
    """Something is no longer as it was compared: this transaction must leave nothing."""


def _approve(regrade: Regrade, one: Difference, by: Person, reason: str, on_approved: OnApproved | None) -> bool:
    try:
        with transaction.atomic():
            state = _still(regrade, one)
            change = RegradeChange.objects.create(
                autograding=one.candidate, replaced=one.before, submission=one.submission, by_id=by.pk, reason=reason,
                old_score=one.old.score, new_score=one.new.score,
            )  # fmt: skip
            _count(one, state)
            if on_approved is not None:
                on_approved(change)
            return True
    except (_Changed, IntegrityError):
        return False  # an IntegrityError: somebody else approved it at the same moment


def _still(regrade: Regrade, one: Difference) -> str:
    """The submission's state, held until the transaction ends, with the candidate current. Raises _Changed."""
    submissions = Submission.objects.filter(pk=one.submission.pk, state__in=states.REVIEWABLE)
    if not submissions.update(state=F("state")) or not _hold(regrade):
        raise _Changed
    newest = one.submission.marks.order_by("-pk").values_list("pk", flat=True).first()
    runs = Autograding.objects.filter(submission=one.submission.pk)
    if (newest or 0) != one.newest_mark or not runs.filter(pk=one.before.pk, current=True).update(current=False):
        raise _Changed
    ended = runs.filter(pk=one.candidate.pk, current=False).exclude(state__in=states.OPEN)
    if not ended.update(current=True):
        raise _Changed
    return submissions.values_list("state", flat=True).get()


def _count(one: Difference, state: str) -> None:
    """The submission follows: it counts by the new version, waits for a person if need be, and has news if returned."""
    release = one.candidate.release_id
    changes: dict[str, object] = {"correction": None if release == one.submission.release_id else release}
    if state != Submission.State.REVIEWED or one.new.to_review:
        flags = one.candidate.scores.values_list("needs_manual_grade", flat=True)
        after = states.after_grading(failed=bool(one.candidate.failures), flags=flags)
        changes |= {"state": after, "finished_by": None, "finished_at": None}
    Submission.objects.filter(pk=one.submission.pk).update(**changes)
    if one.moves:
        Feedback.objects.filter(submission=one.submission.pk).update(read_at=None)
