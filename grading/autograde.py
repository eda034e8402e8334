"""Submissions to automatic scores: claimed once, graded in a sandbox, stored in one transaction."""

from __future__ import annotations

import json
import traceback
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from asgiref.sync import async_to_sync
from django.db import IntegrityError, transaction
from django.db.models import F, Q
from django.utils import timezone

from grading import cells, engine, states
from grading.check import account_of
from grading.drain import waiting
from grading.engine import Failure, Graded, Spec
from grading.errors import GraderUnavailable
from grading.explain import SUSPICIONS
from grading.lease import Lease, LeaseLost
from grading.lend import Lend, Lender, lender
from grading.models import Autograding, CellScore, GradeCell, Submission
from grading.patience import patiently
from grading.specify import imports_of, spec_of
from grading.storable import storable
from runtimes import storage
from runtimes.errors import StorageAway
from runtimes.models import Snapshot

#: The folder of a result that has no notebooks but records.
RECORDS = ".record/"
OnFinished = Callable[[Autograding], None]


def enqueue(submission: Submission) -> Autograding:
    """The open autograding of a submission, made if there is none. Call it in the transaction that wants it."""
    for _race in range(2):
        known = submission.autogradings.filter(state__in=states.OPEN, regrade=None).first()
        if known is not None:
            return known
        try:
            with transaction.atomic():
                return Autograding.objects.create(submission=submission, release_id=submission.scored_by_id)
        except IntegrityError:
            continue  # somebody else queued it in between
    return submission.autogradings.get(state__in=states.OPEN, regrade=None)


def autograde(autograding_pk: int, *, on_finished: OnFinished | None = None, lend: Lend = lender) -> bool:
    """Grades one queued row. False: another worker does, or did, or its sandbox was lost and it waits again; calling it
    again never grades twice.

    `on_finished` runs in the transaction that stores the scores. Raises GraderUnavailable when no sandbox could be had
    or storage is away; then the row waits for its next turn. Whatever else is raised counts as a try, and is kept in
    the row's log.
    """
    lease = Lease(Autograding, autograding_pk, uuid.uuid4().hex, Autograding.State.RUNNING)
    if not lease.take(waiting(), started_at=timezone.now(), tries=F("tries") + 1):
        return False
    row = Autograding.objects.select_related(
        "submission__snapshot", "release__source", "release__line_item__profile"
    ).get(pk=autograding_pk)
    _move(row, Submission.State.GRADING)
    try:
        outcome = _grade(lease, row, lend)
        return patiently(lambda: _finish(lease, row, outcome(), on_finished))
    except LeaseLost:
        return False
    except (GraderUnavailable, StorageAway) as error:
        # Nothing is known against the submission.
        _put_back(lease, row, tries=F("tries") - 1)
        raise GraderUnavailable(str(error)) from error
    except engine.SandboxLost as error:
        _give_back(lease, row, on_finished, f"the sandbox was lost: {error}")
        return False
    except Exception:
        _give_back(lease, row, on_finished, traceback.format_exc(limit=-5))
        raise


@dataclass(frozen=True)
class _Outcome:
    graded: Graded
    environment_digest: str = ""
    result: Snapshot | None = None
    parked: bool = False

    @property
    def state(self) -> str:
        """What the row becomes."""
        if self.parked:
            return Autograding.State.PARKED
        return Autograding.State.FAILED if self.graded.failures else Autograding.State.FINISHED


def _grade(lease: Lease, row: Autograding, lend: Lend) -> Callable[[], _Outcome]:
    """The engine's part. What it returns stores the executed notebooks, and may be called again."""
    spec = spec_of(row.release, written_for=row.submission.release_id)
    profile = row.release.line_item.profile
    lent = lend(profile=profile, account=account_of(row.release), preload=imports_of(spec))
    submitted = storage.read_snapshot(row.submission.snapshot)
    try:
        graded = async_to_sync(_hold)(lease, spec, submitted, lent)
    finally:
        row.environment_digest = lent.environment_digest
    return lambda: _Outcome(graded, row.environment_digest, _result(graded))


async def _hold(lease: Lease, spec: Spec, submitted: dict[str, bytes], lent: Lender) -> Graded:
    return await lease.hold(engine.grade(spec, submitted, lent))


def _result(graded: Graded) -> Snapshot | None:
    """The executed notebooks and the record of what was sent to the kernel, stored before any row names them."""
    contents = {notebook.path: notebook.content for notebook in graded.notebooks if notebook.content is not None}
    for notebook in graded.notebooks:
        if notebook.record:
            contents[record_path(notebook.name)] = json.dumps(storable(notebook.record)).encode()
    return storage.snapshot_of(contents) if contents else None


def record_path(notebook: str) -> str:
    """Where a result has the record of one notebook; no released notebook can have this name."""
    return f"{RECORDS}{notebook}.json"


def _finish(lease: Lease, row: Autograding, outcome: _Outcome, on_finished: OnFinished | None) -> bool:
    """Stores everything, or nothing if the lease was lost meanwhile. A regrade's candidate counts nowhere yet."""
    graded = outcome.graded
    counts = row.regrade_id is None
    try:
        with transaction.atomic():
            if counts:
                Autograding.objects.filter(submission=row.submission_id, current=True).update(current=False)
            lease.end(
                outcome.state,
                current=counts,
                finished_at=timezone.now(),
                environment_digest=outcome.environment_digest,
                engine_version=engine.ENGINE_VERSION,
                result=outcome.result,
                failures=storable([failure.as_json() for failure in graded.failures]),
                notes=storable([{**note, "notebook": book.name} for book in graded.notebooks for note in book.notes]),
                log=row.log + storable(graded.log),
            )
            _store_scores(row, graded)
            flags = [cell.needs_manual_grade for cell in graded.cells if cell.graded]
            flags += [note["code"] in SUSPICIONS for book in graded.notebooks for note in book.notes]
            after = states.after_grading(failed=bool(graded.failures), flags=flags)
            _move(row, after)
            row.refresh_from_db()
            if on_finished is not None and counts:
                on_finished(row)
    except LeaseLost:
        return False
    return True


def _move(row: Autograding, state: Submission.State) -> None:
    """The submission's state follows the run that is to count for it."""
    if row.regrade_id is None:
        Submission.objects.filter(pk=row.submission_id).update(state=state)


def _store_scores(row: Autograding, graded: Graded) -> None:
    known = {
        (cell.notebook.name, cell.grade_id): cell
        for cell in GradeCell.objects.filter(notebook__release=row.release_id).select_related("notebook")
    }
    CellScore.objects.bulk_create(
        CellScore(
            autograding=row,
            cell=known[cell.notebook, cell.grade_id],
            auto_score=None if cell.auto_score is None else cells.points(cell.auto_score),
            needs_manual_grade=cell.needs_manual_grade,
            auto_comment=storable(cell.auto_comment or ""),
            failed_tests=storable(cell.failed_tests),
        )
        for cell in graded.cells
        if (cell.notebook, cell.grade_id) in known
    )


def _give_back(lease: Lease, row: Autograding, on_finished: OnFinished | None, why: str) -> None:
    """Queues a run again that began and did not come to its end; after `MOST_TRIES` it is parked with its log."""
    row.log += storable(f"[{timezone.now():%Y-%m-%d %H:%M:%S} UTC] try {row.tries} did not come to its end: {why}\n")
    try:
        if row.tries >= states.MOST_TRIES:
            outcome = _Outcome(_given_up(row), row.environment_digest, parked=True)
            patiently(lambda: _finish(lease, row, outcome, on_finished))
        else:
            _put_back(lease, row, log=row.log, environment_digest=row.environment_digest)
    except LeaseLost:
        return


def _put_back(lease: Lease, row: Autograding, **changes: Any) -> None:
    """To the end of the queue. Nothing happens if the row is no longer ours."""

    @transaction.atomic
    def store() -> None:
        lease.end(Autograding.State.QUEUED, queued_at=timezone.now(), **changes)
        _move(row, Submission.State.QUEUED)

    with suppress(LeaseLost):
        patiently(store)


def _given_up(row: Autograding) -> Graded:
    """What is known of a submission that was never graded to its end: every scored cell is for a person to look at."""
    found = GradeCell.objects.filter(notebook__release=row.release_id).select_related("notebook")
    scored = tuple(
        engine.CellResult(cell.notebook.name, cell.grade_id, graded=True, needs_manual_grade=True)
        for cell in found
        if cell.kind != GradeCell.Kind.ANSWER
    )
    return Graded(scored, (), (Failure("gave_up"),))


def sweep(*, on_finished: OnFinished | None = None) -> list[int]:
    """Takes back what killed workers held, and returns the queued rows that a worker should be woken for."""
    now = timezone.now()
    expired = Autograding.objects.filter(state=Autograding.State.RUNNING, lease_until__lt=now)
    for row in expired.select_related("submission"):
        lease = Lease(Autograding, row.pk, uuid.uuid4().hex, Autograding.State.RUNNING)
        if lease.take(Q(state=Autograding.State.RUNNING, lease_until__lt=now)):
            _give_back(lease, row, on_finished, "the worker that graded it ended, or could not reach the database")
    forgotten = Autograding.objects.filter(waiting(), queued_at__lt=now - states.FORGOTTEN)
    return list(forgotten.order_by("queued_at").values_list("pk", flat=True))
