"""The run of a release's own solution: full marks, or which test failed. Also writes the tests that need a kernel."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from asgiref.sync import async_to_sync
from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_noop as _

from grading import cells, engine, states
from grading.engine import Generated, Graded, Settings, Spec
from grading.errors import GraderUnavailable
from grading.lease import Lease, LeaseLost
from grading.lend import Lend, Lender, lender
from grading.models import Release, ReleaseCheck
from grading.patience import patiently
from grading.specify import assignment_files, imports_of, settings_to_make, spec_of, store_notebooks
from runtimes import storage
from runtimes.describe import source_text
from runtimes.errors import StorageAway

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class _Tried:
    """What the sandbox said. `generated` is new only if tests had to be written."""

    generated: Generated | None
    spec: Spec | None
    graded: Graded | None


def check(release_pk: int, progress: Progress | None = None, *, lend: Lend = lender) -> bool:
    """Runs the solution of a drafted release and stores the outcome. False: another worker does, or did.

    Raises GraderUnavailable when no sandbox could be had; then the check waits for its next turn.
    """
    row = ReleaseCheck.objects.select_related("release__line_item__profile", "release__source").get(
        release_id=release_pk
    )
    lease = Lease(ReleaseCheck, row.pk, uuid.uuid4().hex, ReleaseCheck.State.RUNNING)
    if not lease.take(Q(state=ReleaseCheck.State.QUEUED), started_at=timezone.now(), done=0, message=""):
        return False
    Release.objects.filter(pk=release_pk, state=Release.State.DRAFT).update(state=Release.State.CHECKING)
    try:
        preload = _preload(row.release)
        lent = lend(profile=row.release.line_item.profile, account=account_of(row.release), preload=preload)
        tried = async_to_sync(_try_under_lease)(lease, row, lent, progress)
    except LeaseLost:
        return False
    except (GraderUnavailable, StorageAway, engine.SandboxLost) as error:
        lease.end(ReleaseCheck.State.QUEUED, message=source_text(GraderUnavailable.user_message))
        raise GraderUnavailable(str(error)) from error
    patiently(lambda: _store(lease, row, tried))
    return True


def account_of(release: Release) -> str:
    """What the sandboxes of this assignment are charged to."""
    return account_of_item(release.line_item_id)


def account_of_item(line_item: int) -> str:
    """The same, by the key of the line item."""
    return f"line-item:{line_item}"


def _preload(release: Release) -> tuple[str, ...]:
    return imports_of(spec_of(release))


async def _try_under_lease(lease: Lease, row: ReleaseCheck, lent: Lender, progress: Progress | None) -> _Tried:
    async def tell(done: int, total: int) -> None:
        await ReleaseCheck.objects.filter(pk=row.pk).aupdate(done=done, total=total)
        if progress is not None:
            progress(done, total)

    source = await storage.aread_snapshot(row.release.source)
    settings = settings_to_make(row.release.line_item, row.release.engine_settings, source)
    return await lease.hold(_try(assignment_files(source), settings, lent, tell))


async def _try(
    files: dict[str, bytes], settings: Settings, lent: Lender, tell: Callable[[int, int], Awaitable[None]]
) -> _Tried:
    generated = engine.generate(files, settings)
    if generated.pending:
        written, problems = await engine.instantiate(files, settings, lent)
        files = {**files, **written}
        again = engine.generate(files, settings, written)
        generated = Generated(again.student_files, again.notebooks, (*again.problems, *problems), again.pending)
    if not generated.publishable:
        return _Tried(generated, None, None)
    data = {path: content for path, content in files.items() if not path.endswith(".ipynb")}
    # A source has its hidden tests where the student version has none: there is nothing in it to put right.
    spec = Spec({notebook.name: notebook for notebook in generated.notebooks}, data, replace(settings, heal=False))
    return _Tried(generated, spec, await engine.grade(spec, files, lent, tell))


def _store(lease: Lease, row: ReleaseCheck, tried: _Tried) -> None:
    """All of the outcome in one transaction; nothing of it if the lease was lost."""
    student = storage.snapshot_of(tried.generated.student_files) if tried.generated and tried.spec else None
    state, results = _outcome(tried)
    total = len(tried.spec.notebooks) if tried.spec else 0
    try:
        with transaction.atomic():
            lease.end(state, results=results, done=total, total=total, finished_at=timezone.now())
            release = row.release
            if Release.objects.filter(pk=release.pk, state__in=states.FROZEN).exists():
                # Published before its solution was run: it stays as it is, and the run is only told.
                return
            release.problems = [problem.as_json() for problem in tried.generated.problems] if tried.generated else []
            if student is not None and tried.generated is not None:
                release.student = student
                store_notebooks(release, tried.generated.notebooks)
                release.max_score = cells.summary(c for n in tried.generated.notebooks for c in n.graded).points
            release.save(update_fields=["problems", "student", "max_score"])
            after = Release.State.CHECKED if student is not None else Release.State.BROKEN
            Release.objects.filter(pk=release.pk, state=Release.State.CHECKING).update(state=after)
    except LeaseLost:
        return


def _outcome(tried: _Tried) -> tuple[str, list[dict[str, Any]]]:
    if tried.spec is None or tried.graded is None:
        return ReleaseCheck.State.ERROR, []
    failures = [failure.as_json() for failure in tried.graded.failures]
    kinds = {(n.name, c.grade_id): c for n in tried.spec.notebooks.values() for c in n.graded}
    results: list[dict[str, Any]] = [{"failure": failure} for failure in failures]
    numbers = {(book.name, one) for book in tried.graded.notebooks for one in _by_number(book.content)}
    for scored in tried.graded.cells:
        cell = kinds.get((scored.notebook, scored.grade_id))
        if cell is None or cell.kind != "tests":
            continue
        passed = scored.auto_score is not None and scored.auto_score >= cell.max_score
        results.append(
            {
                "notebook": scored.notebook,
                "grade_id": scored.grade_id,
                "score": scored.auto_score,
                "max_score": cell.max_score,
                "passed": passed,
                "output": scored.failed_tests,
                "number": (scored.notebook, scored.grade_id) in numbers,
            }
        )
    good = not failures and all(result.get("passed") for result in results)
    return (ReleaseCheck.State.PASSED if good else ReleaseCheck.State.FAILED), results


def _by_number(executed: bytes | None) -> list[str]:
    return engine.by_number(engine.read(executed)) if executed is not None else []


def requeue_checks() -> list[int]:
    """Gives the checks of killed workers back; returns the releases whose check waits and should be woken."""
    now = timezone.now()
    ReleaseCheck.objects.filter(state=ReleaseCheck.State.RUNNING, lease_until__lt=now).update(
        state=ReleaseCheck.State.QUEUED,
        lease_owner="",
        lease_until=None,
        message=_("It was interrupted. It starts again."),
    )
    waiting = ReleaseCheck.objects.filter(state=ReleaseCheck.State.QUEUED).order_by("queued_at")
    return list(waiting.values_list("release_id", flat=True))
