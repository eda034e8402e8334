"""*Check*: the tests that students see, run over their work in a fresh sandbox of the grading environment.

Asked for rarely enough (a limit and a pause that the teacher sets), run after what waits to be graded, counted nowhere.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from asgiref.sync import async_to_sync
from django.db import IntegrityError, transaction
from django.db.models import F, Q
from django.utils import timezone

from grading import engine, states
from grading.check import account_of
from grading.drain import waiting
from grading.engine import Graded, Spec, Unreadable
from grading.errors import CheckedJustNow, ChecksUsedUp, GraderUnavailable, NotCheckable
from grading.lease import Lease, LeaseLost
from grading.lend import Lend, Lender, lender
from grading.models import Autograding, GradeCell, Release, WorkCheck
from grading.specify import imports_of, spec_of
from runtimes import storage
from runtimes.errors import StorageAway
from runtimes.models import Snapshot

State = WorkCheck.State
OPEN = (State.QUEUED, State.RUNNING)
#: A check lets submissions go before it, but not for ever.
LONGEST_WAIT = timedelta(seconds=30)


def ask(release: Release, snapshot: Snapshot, account: str) -> WorkCheck:
    """The check that waits or runs for this work; a new one where there is none.

    Raises ChecksUsedUp, CheckedJustNow, or NotCheckable where there is nothing to run.
    """
    for _race in range(2):
        known = WorkCheck.objects.filter(account=account, state__in=OPEN).first()
        if known is not None:
            return known
        may_ask(release, account)
        try:
            with transaction.atomic():
                return WorkCheck.objects.create(account=account, release=release, snapshot=snapshot)
        except IntegrityError:
            continue  # a second click was faster
    return WorkCheck.objects.get(account=account, state__in=OPEN)


def may_ask(release: Release, account: str) -> None:
    """Raises what `ask` raises. One that could not run for reasons of ours counts for nothing."""
    item = release.line_item
    if release.student_id is None:
        raise NotCheckable(str(release.pk))
    if (left := checks_left(release, account)) is not None and left <= 0:
        raise ChecksUsedUp(account)
    last = WorkCheck.objects.filter(account=account).exclude(state=State.FAILED).order_by("-pk").first()
    if last is not None and (wait := last.queued_at + item.check_cooldown - timezone.now()) > timedelta(0):
        raise CheckedJustNow(int(wait.total_seconds()) + 1)


def checks_left(release: Release, account: str) -> int | None:
    """How many checks the work has left; None where any number may be asked for."""
    limit = release.line_item.check_limit
    if limit is None:
        return None
    return max(0, limit - WorkCheck.objects.filter(account=account).exclude(state=State.FAILED).count())


def gives_way(check_pk: int) -> bool:
    """Whether submissions wait that go before this check."""
    young = WorkCheck.objects.filter(pk=check_pk, state=State.QUEUED, queued_at__gt=timezone.now() - LONGEST_WAIT)
    return young.exists() and Autograding.objects.filter(waiting(), regrade=None).exists()


def rehearse(check_pk: int, *, lend: Lend = lender) -> bool:
    """Runs one queued check. False: somebody else does, or did. Raises GraderUnavailable; then it waits its turn."""
    lease = Lease(WorkCheck, check_pk, uuid.uuid4().hex, State.RUNNING)
    if not lease.take(Q(state=State.QUEUED), started_at=timezone.now(), tries=F("tries") + 1):
        return False
    row = WorkCheck.objects.select_related("snapshot", "release__line_item__profile", "release__student").get(
        pk=check_pk
    )
    try:
        outcome = _run(lease, row, lend)
    except LeaseLost:
        return False
    except (GraderUnavailable, StorageAway, engine.SandboxLost) as error:
        again = row.tries < states.MOST_TRIES
        _end(lease, State.QUEUED if again else State.FAILED, finished_at=None if again else timezone.now())
        raise GraderUnavailable(str(error)) from error
    return _end(
        lease,
        State.DONE,
        finished_at=timezone.now(),
        results=outcome.results,
        failures=outcome.failures,
        lacking=outcome.lacking,
    )


@dataclass
class _Outcome:
    results: list[dict[str, Any]] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)
    lacking: list[str] = field(default_factory=list)


def _run(lease: Lease, row: WorkCheck, lend: Lend) -> _Outcome:
    student = storage.read_snapshot(row.release.student) if row.release.student else {}
    try:
        spec = engine.visible(spec_of(row.release), student)
    except Unreadable as error:
        return _Outcome(failures=[{"code": error.code, "notebook": ""}])
    submitted = storage.read_snapshot(row.snapshot)
    lent = lend(profile=row.release.line_item.profile, account=account_of(row.release), preload=imports_of(spec))
    graded = async_to_sync(_grade)(lease, row.pk, spec, submitted, lent)
    contents = [book.content for book in graded.notebooks if book.content is not None]
    return _Outcome(
        results=_results(row.release, graded),
        failures=[failure.as_json() for failure in graded.failures],
        lacking=sorted({name for content in contents for name in engine.lacking(content, submitted)}),
    )


async def _grade(lease: Lease, pk: int, spec: Spec, submitted: dict[str, bytes], lent: Lender) -> Graded:
    async def tell(done: int, total: int) -> None:
        await WorkCheck.objects.filter(pk=pk).aupdate(done=done, total=total)

    return await lease.hold(engine.grade(spec, submitted, lent, tell))


def _results(release: Release, graded: Graded) -> list[dict[str, Any]]:
    """One row for each cell with tests: passed, in part, or why not."""
    tests = GradeCell.objects.filter(notebook__release=release, kind=GradeCell.Kind.TESTS).select_related("notebook")
    known = {cell.key: cell for cell in tests}
    said = {book.name: engine.reasons(book.content or b"") for book in graded.notebooks}
    return [
        {
            "notebook": one.notebook,
            "grade_id": one.grade_id,
            "ran": one.auto_score is not None,
            "passed": one.auto_score is not None and one.auto_score >= float(known[key].max_score),
            "score": one.auto_score,
            "max_score": float(known[key].max_score),
            "message": one.failed_tests,
            "reasons": said.get(one.notebook, {}).get(one.grade_id, []),
        }
        for one in graded.cells
        if (key := (one.notebook, one.grade_id)) in known
    ]


def _end(lease: Lease, state: str, **changes: Any) -> bool:
    try:
        lease.end(state, **changes)
    except LeaseLost:
        return False
    return True


def sweep() -> list[int]:
    """Gives back the checks of killed workers; returns those that a worker should be woken for."""
    now = timezone.now()
    lost = WorkCheck.objects.filter(state=State.RUNNING, lease_until__lt=now)
    lost.filter(tries__gte=states.MOST_TRIES).update(state=State.FAILED, lease_owner="", finished_at=now)
    lost.update(state=State.QUEUED, lease_owner="", lease_until=None)
    forgotten = WorkCheck.objects.filter(state=State.QUEUED, queued_at__lt=now - states.FORGOTTEN)
    return list(forgotten.order_by("queued_at").values_list("pk", flat=True))
