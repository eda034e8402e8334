"""How a kernel's life ends while a cell runs in it, as its row tells."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from django.utils.translation import gettext_lazy as _

from runtimes import bus
from runtimes.describe import because
from runtimes.jupyter.off_loop import off_loop
from runtimes.models import Kernel, Runtime

_LOOK_SECONDS = 1.0
_RESTARTED = _("The kernel was restarted before this cell had finished. Run the cell again.")
_CRASHED = _("The kernel ended before this cell had finished. Your files are kept: run the cells again.")


@dataclass(frozen=True, slots=True)
class End:
    """`name` is what an error output calls it, `sentence` what to do next."""

    name: str
    sentence: str


async def life_over(kernel: Kernel) -> End:
    """Returns when the life of `kernel` (its row as it was when it was ready, with its runtime) is over."""
    async with bus.subscribe(f"runtime:{kernel.runtime.name}") as news:
        while True:
            end = _end(kernel, await off_loop(_row, kernel.pk))
            if end:
                return end
            await news.next(_LOOK_SECONDS)


def _row(kernel_id: UUID) -> Kernel | None:
    return Kernel.objects.select_related("runtime").filter(pk=kernel_id).first()


def _end(before: Kernel, row: Kernel | None) -> End | None:
    if row is None:
        return End("KernelGone", str(_CRASHED))
    if row.state == Kernel.State.RUNNING and row.restarts == before.restarts and row.runtime.state in Runtime.LIVE:
        return None
    reason, message = row.reason, row.message
    if row.runtime.state not in Runtime.LIVE:
        reason, message = row.runtime.reason, row.runtime.message
    if reason or message:
        return End(reason or "KernelDied", because(reason, message) or str(_CRASHED))
    if row.restarts != before.restarts or row.state == Kernel.State.RESTARTING:
        return End("KernelRestarted", str(_RESTARTED))
    return End("KernelDied", str(_CRASHED))
