"""Other tests or points for work that has its scores: tried on candidates first, then approved, or dropped.

Nothing counts before it is approved (`approve.py`). Every step may be repeated, broken off, and done by two people at
once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from grading import states
from grading.errors import AlreadyRegrading, NothingToRegrade, NotRegradable
from grading.models import Autograding, CellScore, LineItem, Regrade, RegradeChange, RegradeTick, Release, Submission

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractUser as Person

State = Regrade.State
#: Versions whose tests can be tried: checked, and never to change again.
USABLE = (Release.State.CHECKED, Release.State.PUBLISHED)


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


def tick(regrade: Regrade, ticks: Mapping[int, bool]) -> None:
    """Keeps which of its candidates are to be approved, by submission. The last word counts; twice is once."""
    with transaction.atomic():
        if not ticks or not _hold(regrade):
            return
        there = set(regrade.candidates.values_list("submission", flat=True))
        RegradeTick.objects.bulk_create(
            (
                RegradeTick(regrade=regrade, submission_id=pk, ticked=is_on)
                for pk, is_on in ticks.items()
                if pk in there
            ),
            update_conflicts=True,
            unique_fields=["regrade", "submission"],
            update_fields=["ticked"],
        )


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
    """Leaves every score that was not taken over as it is. False: it was decided already, or is being taken over.

    What runs still ends and counts nowhere; what waits is dropped.
    """
    with transaction.atomic():
        after = State.DONE if RegradeChange.objects.filter(autograding__regrade=regrade).exists() else State.REJECTED
        still_open = Regrade.objects.filter(pk=regrade.pk, state=State.OPEN)
        if not still_open.update(state=after, decided_by=by.pk, decided_at=timezone.now()):
            return False
        regrade.candidates.filter(state=Autograding.State.QUEUED).delete()
        return True
