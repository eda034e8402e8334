"""A regrade's candidates come to count: chosen in one move, taken over one by one by workers, in any number of goes.

Whoever is killed on the way leaves each submission as it was before or as it is after, and the rest to the next worker.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

from django.db import IntegrityError, transaction
from django.db.models import F, Q
from django.utils import timezone

from grading import states
from grading.compare import Difference, differences
from grading.errors import NothingToApprove
from grading.models import Approval, ApprovalLine, Autograding, Feedback, Regrade, RegradeChange, Submission

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractUser as Person

OnTaken = Callable[[RegradeChange], None]
State = Regrade.State
Line = ApprovalLine.State
#: Compared together, since each comparison takes a handful of queries however many there are.
BATCH = 50
#: A worker that takes over says so after each batch. One that was killed is followed by another after this long.
LEASE = timedelta(minutes=1)


def approve(
    regrade: Regrade, by: Person, shown: Mapping[int, str], *, reason: str = "", for_later: bool = False
) -> Approval:
    """Decides that these count; `take_over` does it. Until that is over, nothing else is decided about the regrade.

    `shown` holds, by submission, the fingerprint of the difference that the person saw: where it no longer holds
    (marked meanwhile, graded again) nothing will change. `for_later`: what is handed in from now on for an older
    version is scored by the regrade's. Raises NothingToApprove where none of these waits for a decision.
    """
    with transaction.atomic():
        if not Regrade.objects.filter(pk=regrade.pk, state=State.OPEN).update(state=State.TAKING):
            raise NothingToApprove(f"regrade {regrade.pk}")
        words = reason.strip() or regrade.reason
        approval = Approval.objects.create(regrade=regrade, by_id=by.pk, reason=words)
        ended = regrade.candidates.exclude(state__in=states.OPEN).filter(change=None)
        chosen = [(pk, shown[key]) for pk, key in ended.values_list("pk", "submission") if key in shown]
        if not chosen:
            raise NothingToApprove(f"regrade {regrade.pk}")
        ApprovalLine.objects.bulk_create(
            (ApprovalLine(approval=approval, candidate_id=pk, fingerprint=mark) for pk, mark in chosen), batch_size=500
        )
        if for_later and regrade.release_id is not None:
            Regrade.objects.filter(pk=regrade.pk, holds_from=None).update(holds_from=approval.at)
    return approval


def take_over(approval_pk: int, *, most: int = 4 * BATCH, on_taken: OnTaken | None = None) -> bool:
    """Lets some more of the chosen candidates count; whether others still wait. Any number of workers may call it.

    Each counts in a transaction of its own, in which `on_taken` runs, and counts once, however often this was broken
    off before.
    """
    free = Q(lease_until=None) | Q(lease_until__lt=timezone.now())
    if not Approval.objects.filter(free, pk=approval_pk, ended_at=None).update(lease_until=timezone.now() + LEASE):
        return False
    approval = Approval.objects.select_related("regrade").get(pk=approval_pk)
    for _batch in range(0, most, BATCH):
        if not _take_some(approval, on_taken):
            _end(approval)
            return False
        Approval.objects.filter(pk=approval_pk).update(lease_until=timezone.now() + LEASE)
    Approval.objects.filter(pk=approval_pk).update(lease_until=None)
    return True


def left_behind() -> list[int]:
    """Approvals that nobody takes over at the moment: workers are woken for them. One query."""
    free = Q(lease_until=None) | Q(lease_until__lt=timezone.now())
    return list(Approval.objects.filter(free, ended_at=None).order_by("pk").values_list("pk", flat=True))


def _take_some(approval: Approval, on_taken: OnTaken | None) -> bool:
    """Whether there was anything to do."""
    waiting = approval.lines.filter(state=Line.WAITING).select_related("candidate").order_by("pk")
    lines = list(waiting[:BATCH])
    found = {
        one.candidate.pk: one for one in differences(approval.regrade, [line.candidate.submission_id for line in lines])
    }
    for line in lines:
        _take(approval, line, found.get(line.candidate_id), on_taken)
    return bool(lines)


class _Changed(Exception):
    """Something is no longer as it was compared: this transaction must leave nothing."""


def _take(approval: Approval, line: ApprovalLine, found: Difference | None, on_taken: OnTaken | None) -> None:
    waiting = ApprovalLine.objects.filter(pk=line.pk, state=Line.WAITING)
    try:
        with transaction.atomic():
            # A write first: of two workers the second waits, and then finds it taken.
            if not waiting.update(state=Line.TAKEN):
                return
            one, state = _still(found, line.fingerprint)
            change = RegradeChange.objects.create(
                autograding=one.candidate, replaced=one.before, submission=one.submission, by_id=approval.by_id,
                reason=approval.reason, old_score=one.old.score, new_score=one.new.score,
            )  # fmt: skip
            _count(one, state)
            if on_taken is not None:
                on_taken(change)
    except (_Changed, IntegrityError):
        # An IntegrityError: it was graded again at the same moment.
        waiting.update(state=Line.CHANGED)


def _still(one: Difference | None, fingerprint: str) -> tuple[Difference, str]:
    """The difference, and its submission's state, held until the transaction ends, with the candidate current.

    Raises _Changed.
    """
    if one is None or one.fingerprint != fingerprint:
        raise _Changed
    submissions = Submission.objects.filter(pk=one.submission.pk, state__in=states.REVIEWABLE)
    if not submissions.update(state=F("state")):
        raise _Changed
    newest = one.submission.marks.order_by("-pk").values_list("pk", flat=True).first()
    runs = Autograding.objects.filter(submission=one.submission.pk)
    if (newest or 0) != one.newest_mark or not runs.filter(pk=one.before.pk, current=True).update(current=False):
        raise _Changed
    ended = runs.filter(pk=one.candidate.pk, current=False).exclude(state__in=states.OPEN)
    if not ended.update(current=True):
        raise _Changed
    return one, submissions.values_list("state", flat=True).get()


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


def _end(approval: Approval) -> None:
    """Back to whoever decides, or decided if no candidate is left. Twice is once."""
    now = timezone.now()
    with transaction.atomic():
        if not Approval.objects.filter(pk=approval.pk, ended_at=None).update(ended_at=now, lease_until=None):
            return
        regrade = Regrade.objects.filter(pk=approval.regrade_id, state=State.TAKING)
        if not approval.lines.filter(state=Line.TAKEN).exists():
            # Nothing counts by the new version, so nothing that is handed in does.
            regrade.filter(holds_from=approval.at).update(holds_from=None)
        if approval.regrade.candidates.filter(change=None).exists():
            regrade.update(state=State.OPEN)
        else:
            regrade.update(state=State.DONE, decided_by=approval.by_id, decided_at=now)
