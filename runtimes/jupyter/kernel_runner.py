"""Runs one kernel's queued cells, one after the other, until nothing was asked of it for a while."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import AsyncExitStack
from typing import Any
from uuid import UUID, uuid4

from django.utils.translation import gettext_lazy as _

from runtimes import launch
from runtimes.connection import kernel_reached
from runtimes.errors import KernelRefused, KeyMissing, RuntimeFailed, StillWaiting
from runtimes.jupyter import runs
from runtimes.jupyter.cell_outputs import CellOutputs
from runtimes.jupyter.current_run import CurrentRun
from runtimes.jupyter.kernel_end import End, life_over
from runtimes.jupyter.kernel_hearing import KernelHearing, after
from runtimes.jupyter.kernel_link import KernelLink, KernelSilent
from runtimes.jupyter.off_loop import off_loop
from runtimes.jupyter.open_documents import open_documents
from runtimes.jupyter.pulling import Puller
from runtimes.jupyter.replica import Replica
from runtimes.jupyter.run_queue import Item, RunQueue
from runtimes.models import Kernel, Run

_IDLE_SECONDS = 600.0
_WAIT_SECONDS = 5.0
_REACH_SECONDS = 5.0
_EXECUTE = {"silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": True, "stop_on_error": True}

_NO_ANSWER = _("The kernel does not answer. Restart it and run the cell again.")
_NEW_LIFE = _("The kernel was restarted before this cell had finished. Run the cell again.")
_GAP = _("[The site was restarted while this cell ran: some of its output may be missing.]")

log = logging.getLogger(__name__)


class KernelRunner:
    """`offer` it runs; `run` until it has had nothing to do for ten minutes."""

    def __init__(self, kernel_id: UUID) -> None:
        self.kernel_id = kernel_id
        self.queue = RunQueue()
        self._adopted: list[Run] = []
        self._taken = 0  # out of the queue, but its row may still say that it is in
        self._news = asyncio.Event()
        self._documents = AsyncExitStack()
        self._replicas: dict[UUID, Replica] = {}
        self._hearing = KernelHearing(self._replicas.values, self._tell)
        self._kernel: Kernel | None = None
        self._link: KernelLink | None = None
        self._puller = Puller()

    # --- what is asked of it

    def has(self, run_id: int) -> bool:
        """True if the run is queued or running here."""
        return run_id in self.queue or run_id in self.running or run_id == self._taken

    @property
    def running(self) -> set[int]:
        """What it runs, or is about to go on with."""
        current = self._hearing.current
        return {run.pk for run in self._adopted} | ({current.run_id} if current else set())

    async def offer(self, run: Run) -> None:
        """Queues a run, and shows its cell as waiting. Raises what loading its document raises."""
        replica = await self._replica(run.document_id)
        await _reach(replica, run.after_seq)
        outputs = CellOutputs(replica, run.cell_id)
        place, arrived = _place(replica, run.cell_id), run.queued_at.timestamp()
        item = Item(run.pk, run.document_id, run.cell_id, run.subject, arrived, place, outputs, together=run.batch)
        if outputs.cell() is None or not self.queue.add(item):
            await off_loop(runs.cancel, [run.pk])
            return
        outputs.mark("running")
        self._news.set()

    async def adopt(self, run: Run) -> None:
        """Goes on with a run that another process began."""
        self._adopted.append(run)
        self._news.set()

    def prune(self, queued: set[int]) -> None:
        """Forgets what was cancelled: everything not among the rows that are still queued."""
        for item in self.queue.drop(queued):
            item.outputs.mark("idle")

    async def answer(self, msg_id: str, value: str) -> None:
        """Gives the kernel what a person typed at input(). Told twice, the second changes nothing."""
        current, link = self._hearing.current, self._link
        if current and link and current.msg_id == msg_id and current.asks():
            current.stop_asking()
            await link.send("stdin", "input_reply", {"status": "ok", "value": value}, msg_id=uuid4().hex)

    # --- what it does

    async def run(self) -> None:
        """Works until there was nothing to do for a while."""
        try:
            while True:
                if self._adopted:
                    await self._go_on_with(self._adopted.pop(0))
                    continue
                item, wait = self.queue.take(time.time())
                if item is not None:
                    await self._run_item(item)
                elif not await self._sleep(wait):
                    return
        finally:
            await self._close()

    async def _sleep(self, wait: float | None) -> bool:
        """False if nothing came in all the time that a runner stays."""
        try:
            async with asyncio.timeout(_IDLE_SECONDS if wait is None else wait):
                await self._news.wait()
        except TimeoutError:
            return wait is not None
        self._news.clear()
        return True

    async def _close(self) -> None:
        if self._link:
            await self._link.close()
        await self._puller.close()
        await self._documents.aclose()

    async def _run_item(self, item: Item) -> None:
        self._taken = item.run_id
        try:
            end = await self._get_ready(item)
            if end:
                await self._refuse(item, end)
                return
            if not await off_loop(runs.claim, item.run_id, batch=item.batch, position=item.place):
                item.outputs.mark("idle")
                return
            await self._execute(item)
        except Exception:
            log.exception("run %s failed", item.run_id)
            item.outputs.mark("idle")
            await off_loop(runs.finish, item.run_id, Run.State.FAILED)

    async def _get_ready(self, item: Item) -> End | None:
        """Returns when the kernel runs and is connected; or why it never will. Gives up once the run is cancelled."""
        while True:
            try:
                kernel = await launch.kernel_ready(Kernel(pk=self.kernel_id), _WAIT_SECONDS)
                await self._connect(kernel)
            except (StillWaiting, KeyMissing):
                if not await off_loop(_is_queued, item.run_id):
                    return None
            except (RuntimeFailed, KernelRefused) as error:
                return End("KernelUnavailable", str(error.user_message))
            except KernelSilent:
                return End("KernelSilent", str(_NO_ANSWER))
            else:
                return None

    async def _connect(self, kernel: Kernel) -> None:
        before = self._kernel
        if self._link and before and (before.restarts, before.index) == (kernel.restarts, kernel.index):
            return
        if self._link:
            await self._link.close()
            self._link = None
        link = KernelLink(await kernel_reached(kernel), f"executor-{self.kernel_id}", self._hearing.handle)
        try:
            await link.open()
        except BaseException:
            await link.close()
            raise
        self._link, self._kernel = link, kernel

    async def _tell(self, kind: str, content: dict[str, Any]) -> None:
        if self._link:
            await self._link.send("shell", kind, content, msg_id=uuid4().hex)

    async def _refuse(self, item: Item, end: End) -> None:
        """The kernel cannot be had: says so in the first cell, and runs none of the others."""
        rest = self.queue.fail(item.batch)
        item.outputs.begin()
        item.outputs.add_error(end.name, end.sentence)
        for each in (item, *rest):
            each.outputs.mark("idle")
        await off_loop(runs.finish, item.run_id, Run.State.FAILED)
        await off_loop(runs.cancel, [each.run_id for each in rest])

    async def _execute(self, item: Item) -> None:
        await item.outputs.replica.catch_up()
        source = item.outputs.begin()
        if source is None or not source.strip():
            item.outputs.mark("idle")
            await off_loop(runs.finish, item.run_id, Run.State.DONE if source is not None else Run.State.CANCELLED)
            return
        current = self._hearing.begin(item.run_id, item.outputs)
        assert self._link is not None, "a run is claimed once its kernel is connected"
        request = {**_EXECUTE, "code": source}
        await self._link.send("shell", "execute_request", request, msg_id=current.msg_id, cell_id=item.cell_id)
        await self._see_through(current, item.batch)

    async def _see_through(self, current: CurrentRun, batch: int) -> None:
        """Until the run is over or its kernel is."""
        assert self._kernel is not None
        over, ended = asyncio.create_task(current.over()), asyncio.create_task(life_over(self._kernel))
        try:
            await asyncio.wait({over, ended}, return_when=asyncio.FIRST_COMPLETED)
            if not over.done():
                end = ended.result()
                current.outputs.add_error(end.name, end.sentence)
                current.failed = True
        finally:
            over.cancel()
            ended.cancel()
            await asyncio.gather(over, ended, return_exceptions=True)
            self._hearing.current = None
        await self._finish(current, batch)

    async def _finish(self, current: CurrentRun, batch: int) -> None:
        current.stop_asking()
        current.outputs.mark("idle")
        await off_loop(runs.finish, current.run_id, Run.State.FAILED if current.failed else Run.State.DONE)
        if current.failed and not _may_fail(current.outputs):
            rest = self.queue.fail(batch)
            for item in rest:
                item.outputs.mark("idle")
            await off_loop(runs.cancel, [item.run_id for item in rest])
        if self._kernel:
            self._puller.soon(self._kernel.runtime)

    async def _go_on_with(self, run: Run) -> None:
        """A run that was under way when its process ended: what the kernel still puts out goes on into its cell."""
        try:
            outputs = CellOutputs(await self._replica(run.document_id), run.cell_id)
            kernel = await launch.kernel_ready(Kernel(pk=self.kernel_id), _WAIT_SECONDS)
            _check_same_life(run, kernel)
            current = self._hearing.begin(run.pk, outputs)
            await self._connect(kernel)
        except (RuntimeFailed, KernelRefused) as error:
            await self._lost(run, End("KernelGone", str(error.user_message)))
            return
        except KernelSilent:
            await self._lost(run, End("KernelSilent", str(_NO_ANSWER)))
            return
        outputs.add_note(str(_GAP))
        assert self._link is not None
        # Answered after the run: when that comes, the run is over.
        await self._link.send("shell", "kernel_info_request", {}, msg_id=after(current.msg_id))
        await self._see_through(current, run.batch)

    async def _lost(self, run: Run, end: End) -> None:
        self._hearing.current = None
        outputs = CellOutputs(await self._replica(run.document_id), run.cell_id)
        outputs.add_error(end.name, end.sentence)
        outputs.mark("idle")
        await off_loop(runs.finish, run.pk, Run.State.FAILED)

    async def _replica(self, document_id: UUID) -> Replica:
        known = self._replicas.get(document_id)
        if known is None or known.gone.is_set():
            opened = await self._documents.enter_async_context(open_documents().hold(document_id))
            known = self._replicas[document_id] = opened.replica
        return known


def _check_same_life(run: Run, kernel: Kernel) -> None:
    if run.started_at and kernel.started_at and kernel.started_at > run.started_at:
        raise KernelRefused(f"kernel {kernel.pk} was started anew", _NEW_LIFE)


def _may_fail(outputs: CellOutputs) -> bool:
    """A cell that is tagged `raises-exception` is expected to (nbformat, cell tags)."""
    cell = outputs.cell()
    tags = cell["metadata"].get("tags") if cell is not None else None
    return "raises-exception" in list(tags or ())


def _place(replica: Replica, cell_id: str) -> int:
    place = 0
    for cell in replica.view.ycells:
        if cell["id"] == cell_id:
            break
        place += cell["cell_type"] == "code"
    return place


async def _reach(replica: Replica, seq: int) -> None:
    """Returns when the replica has seen what the person saw. Raises TimeoutError if that is nowhere to be found."""
    async with asyncio.timeout(_REACH_SECONDS):
        while replica.seq < seq:
            await replica.catch_up()


def _is_queued(run_id: int) -> bool:
    return Run.objects.filter(pk=run_id, state=Run.State.QUEUED).exists()
