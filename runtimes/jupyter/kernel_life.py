"""A kernel over several lives, as its row tells: running, restarted on request, crashed, gone."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone, translation

from runtimes import bus, launch
from runtimes.describe import sentence
from runtimes.errors import KernelRefused, RuntimeFailed
from runtimes.models import Kernel, Runtime

# The row follows the process within this: the agent tells, the `runtimes` process writes.
_ROW_FOLLOWS_SECONDS = 3.0
# One that dies right after its start would only die again.
_SHORT_LIFE = timedelta(seconds=1)


class KernelLife:
    """`kernel` is the row as last seen, with its runtime."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self._restarts = kernel.restarts
        self._died_of: Kernel | Runtime | None = None

    async def ready(self, timeout: float) -> None:
        """Waits for it to run. Raises StillWaiting, RuntimeFailed or KernelRefused."""
        try:
            self.kernel = await launch.kernel_ready(self.kernel, timeout)
        except (RuntimeFailed, KernelRefused):
            row = await self._row()
            self._died_of = row if row.state == Kernel.State.DEAD else row.runtime
            raise
        self._restarts = self.kernel.restarts

    async def crashed(self) -> bool:
        """After its sockets went away: did it die of itself, and is it being started again?

        False after a restart that somebody asked for, after a mere loss of connection, and for a kernel that is gone
        (`ready` then says so). Of several pages, one has the kernel restarted; all are told."""
        row = await self._settled()
        if row.state != Kernel.State.DEAD or row.runtime.state != Runtime.State.READY:
            return False
        self._died_of = row
        if row.started_at and timezone.now() - row.started_at < _SHORT_LIFE:
            return False
        mine = Kernel.objects.filter(pk=row.pk, state=Kernel.State.DEAD, restarts=row.restarts)
        if await mine.aupdate(state=Kernel.State.RESTARTING):
            self.kernel = await launch.arestart(row)
        return True

    def reason(self, language: str) -> str:
        """Why it died, as a sentence, or ""."""
        if self._died_of is None:
            return ""
        with translation.override(language):
            return sentence(self._died_of)

    async def _settled(self) -> Kernel:
        """The row once it tells what happened; as it is when nothing changes (the connection was lost, no more)."""
        loop_until = timezone.now() + timedelta(seconds=_ROW_FOLLOWS_SECONDS)
        async with bus.subscribe(f"runtime:{self.kernel.runtime.name}") as news:
            while True:
                row = await self._row()
                unchanged = row.state == Kernel.State.RUNNING and row.restarts == self._restarts
                if not unchanged or row.runtime.state != Runtime.State.READY or timezone.now() > loop_until:
                    return row
                await news.next(0.5)

    async def _row(self) -> Kernel:
        return await Kernel.objects.select_related("runtime__profile").aget(pk=self.kernel.pk)
