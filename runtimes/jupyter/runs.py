"""Run rows: queued by the notebook host, claimed and finished by the `runtimes` process. Blocks; guarded moves only."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from django.db.models import Q
from django.utils import timezone

from runtimes import bus, load
from runtimes.models import Document, Kernel, Run, Runtime

#: A run whose lease has ended belongs to nobody: its process was killed.
LEASE = timedelta(seconds=30)
_State = Run.State


def queue(
    kernel: Kernel,
    document: Document,
    cell_id: str,
    *,
    subject: str,
    after_seq: int,
    together: int = 0,
    number: str = "",
) -> Run:
    """Queues a cell. The executor wakes, and shows it as waiting. after_seq: what of the document the person saw;
    together: the page's number of what was asked for at once (0: unknown); number: the page's name for this request,
    which is queued once however often it comes ("": each time)."""
    values = {
        "document": document, "cell_id": cell_id, "subject": subject, "after_seq": after_seq, "batch": together
    }  # fmt: skip
    if number:
        run, _new = Run.objects.get_or_create(kernel=kernel, number=number, defaults=values)
    else:
        run = Run.objects.create(kernel=kernel, **values)
    bus.publish_on_commit("runs")
    return run


def cancel_queued(kernel_id: UUID) -> int:
    """Takes everything out of a kernel's queue: on interrupt and restart. Returns how many cells will not run."""
    rows = Run.objects.filter(kernel_id=kernel_id, state=_State.QUEUED)
    count = rows.update(state=_State.CANCELLED, finished_at=timezone.now())
    if count:
        bus.publish_on_commit("runs")
    return count


def queued() -> list[Run]:
    """All that wait, as they arrived."""
    return list(Run.objects.filter(state=_State.QUEUED).order_by("queued_at", "pk"))


def orphans(mine: set[int], *, whatever_lease: bool = False) -> list[Run]:
    """Running rows that no living process works on. whatever_lease: also those whose lease has not ended yet."""
    rows = Run.objects.filter(state=_State.RUNNING).exclude(pk__in=mine)
    if not whatever_lease:
        rows = rows.filter(Q(lease_until__isnull=True) | Q(lease_until__lt=timezone.now()))
    return list(rows.order_by("started_at", "pk"))


def claim(run_id: int, *, batch: int, position: int) -> bool:
    """QUEUED → RUNNING. False if it was cancelled or claimed meanwhile."""
    now = timezone.now()
    claimed = Run.objects.filter(pk=run_id, state=_State.QUEUED).update(
        state=_State.RUNNING, started_at=now, lease_until=now + LEASE, batch=batch, position=position
    )
    if claimed:
        load.began(Runtime.objects.filter(kernels__runs=run_id))
    return bool(claimed)


def adopt(run: Run) -> bool:
    """Takes over a running row that its process left behind. False if another was faster."""
    rows = Run.objects.filter(pk=run.pk, state=_State.RUNNING, lease_until=run.lease_until)
    return bool(rows.update(lease_until=timezone.now() + LEASE))


def renew(run_ids: set[int]) -> None:
    """Keeps these runs for another while."""
    Run.objects.filter(pk__in=run_ids, state=_State.RUNNING).update(lease_until=timezone.now() + LEASE)


def finish(run_id: int, state: str) -> bool:
    """RUNNING or QUEUED → a final state. False if it was final already."""
    rows = Run.objects.filter(pk=run_id, state__in=[_State.QUEUED, _State.RUNNING])
    return bool(rows.update(state=state, finished_at=timezone.now(), lease_until=None))


def cancel(run_ids: list[int]) -> None:
    """QUEUED → CANCELLED for these."""
    rows = Run.objects.filter(pk__in=run_ids, state=_State.QUEUED)
    rows.update(state=_State.CANCELLED, finished_at=timezone.now())
