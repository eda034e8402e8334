"""Cells run server-side: whoever pressed Shift-Enter may close the page, the output is in the document.

The notebook host queues a row and answers at once (docs/architecture.md, decision 2); `Executor`, in the `runtimes`
process, does the rest. `cancel_queued` goes with an interrupt or a restart.
"""

from __future__ import annotations

import asyncio
import json
import logging
from uuid import UUID

from asgiref.sync import sync_to_async
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from runtimes import bus, launch
from runtimes.alive import Loop
from runtimes.jupyter import replies, runs
from runtimes.jupyter.bodies import json_object, text
from runtimes.jupyter.document_log import DocumentGone, document_log
from runtimes.jupyter.entry import Entry, entry_of
from runtimes.jupyter.errors import BadRequest, NotebookError, NotFound
from runtimes.jupyter.kernel_runner import KernelRunner
from runtimes.jupyter.off_loop import off_loop
from runtimes.jupyter.open_documents import open_documents
from runtimes.jupyter.rooms import document_id_of
from runtimes.jupyter.runs import cancel_queued
from runtimes.models import Document, Kernel, Run

__all__ = ["Executor", "acancel_queued", "cancel_queued", "routes"]

#: What somebody typed at input(): never kept, and told again by the page until the question is gone.
INPUT_TOPIC = "input"
_LOOK_SECONDS = 1.0
_MOST_TYPED = 32_000
_MOST_NUMBER = 64
_RENEW_SECONDS = 10.0

log = logging.getLogger(__name__)

acancel_queued = sync_to_async(cancel_queued)


class Executor:
    """Turns queued `Run` rows into outputs. One in the installation; it goes on with what a former one left behind.

    sign: where it says that its loop goes round."""

    def __init__(self, sign: Loop | None = None) -> None:
        self._sign = sign or Loop("cells")
        self._runners: dict[UUID, tuple[KernelRunner, asyncio.Task[None]]] = {}
        self._renewed_at = 0.0

    async def run(self) -> None:
        """Works for ever."""
        self._sign.moved()
        async with bus.subscribe("runs", INPUT_TOPIC) as news:
            await self._take_over(everything=True)
            try:
                while True:
                    await self._look()
                    message = await news.next(_LOOK_SECONDS)
                    if message and message[0] == INPUT_TOPIC:
                        await self._answer(message[1])
            finally:
                await self._stop()

    async def _answer(self, payload: bytes) -> None:
        answer = json.loads(payload)
        runner = self._runners.get(UUID(answer["kernel"]))
        if runner:
            await runner[0].answer(answer["run"], answer["value"])

    async def _look(self) -> None:
        self._sign.moved()
        queued = await off_loop(runs.queued)
        for runner, _task in self._runners.values():
            runner.prune({run.pk for run in queued})
        for run in queued:
            await self._offer(run)
            # Each may wait for its document: many of them are no standstill.
            self._sign.moved()
        now = asyncio.get_running_loop().time()
        if now - self._renewed_at > _RENEW_SECONDS:
            self._renewed_at = now
            await off_loop(runs.renew, self._running())
            await self._take_over()

    async def _offer(self, run: Run) -> None:
        runner = self._runner(run.kernel_id)
        if runner.has(run.pk):
            return
        try:
            await runner.offer(run)
        except (NotebookError, TimeoutError) as error:
            # Its document is gone, or what the person saw of it never came: there is nothing to run.
            log.warning("run %s cannot be queued: %s", run.pk, error)
            await off_loop(runs.finish, run.pk, Run.State.CANCELLED)

    async def _take_over(self, *, everything: bool = False) -> None:
        for run in await off_loop(runs.orphans, self._running(), whatever_lease=everything):
            if await off_loop(runs.adopt, run):
                await self._runner(run.kernel_id).adopt(run)

    def _running(self) -> set[int]:
        return {run_id for runner, _task in self._runners.values() for run_id in runner.running}

    def _runner(self, kernel_id: UUID) -> KernelRunner:
        known = self._runners.get(kernel_id)
        if known is not None and not known[1].done():
            return known[0]
        runner = KernelRunner(kernel_id)
        task = asyncio.create_task(runner.run(), name=f"kernel {kernel_id}")
        task.add_done_callback(lambda done: self._ended(kernel_id, done))
        self._runners[kernel_id] = runner, task
        return runner

    def _ended(self, kernel_id: UUID, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            log.error("the runner of kernel %s failed", kernel_id, exc_info=error)
        if kernel_id in self._runners and self._runners[kernel_id][1] is task:
            del self._runners[kernel_id]

    async def _stop(self) -> None:
        tasks = [task for _runner, task in self._runners.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await open_documents().close()


async def execute(request: Request) -> Response:
    """POST /api/kernels/<id>/execute {cell_id, document_id}: 202 once the cell is queued, one time for each number."""
    entry = entry_of(request.scope)
    values = await json_object(request)
    cell_id, room = text(values, "cell_id", most=64), text(values, "document_id", most=200)
    if not cell_id or not room:
        raise BadRequest("cell_id and document_id are needed")
    document_id = await off_loop(document_id_of, entry.workspace_id, room)
    seen = await _seen(document_id)
    together = _number(request.headers.get("x-run-together", ""))
    number = request.headers.get("x-run-number", "")[:_MOST_NUMBER]
    run = await off_loop(_queue, entry, request.path_params["kernel_id"], document_id, cell_id, seen, together, number)
    return replies.Json({"run": run.pk}, 202)


async def answer(request: Request) -> Response:
    """POST /api/kernels/<id>/input {run, value}: what was typed at input(). 204; the question then goes."""
    entry = entry_of(request.scope)
    values = await json_object(request)
    run, value = text(values, "run", most=64), text(values, "value", most=_MOST_TYPED)
    if run is None or value is None:
        raise BadRequest("run and value are needed")
    kernel_id: UUID = request.path_params["kernel_id"]
    if not await Kernel.objects.filter(pk=kernel_id, workspace_id=entry.workspace_id).aexists():
        raise NotFound(str(kernel_id))
    payload = {"kernel": str(kernel_id), "run": run, "value": value}
    await bus.publish(INPUT_TOPIC, json.dumps(payload).encode())
    return replies.empty()


async def _seen(document_id: UUID) -> int:
    """How far the log is, with all keystrokes that this process has: the run waits for as much."""
    if opened := open_documents().get(document_id):
        try:
            return await opened.replica.settle()
        except DocumentGone as error:
            raise NotFound(str(document_id)) from error
    heads = await off_loop(document_log().heads, [document_id])
    return heads.get(document_id, 0)


def _number(word: str) -> int:
    """A number of up to 15 digits, which JavaScript and BIGINT both hold exactly; 0 for anything else."""
    return int(word) if word.isascii() and word.isdigit() and len(word) <= 15 else 0


def _queue(
    entry: Entry, kernel_id: UUID, document_id: UUID, cell_id: str, after_seq: int, together: int, number: str
) -> Run:
    # Also a kernel that is dead: the cell then says why, and what to do.
    kernel = Kernel.objects.select_related("runtime").filter(pk=kernel_id, workspace_id=entry.workspace_id).first()
    if kernel is None:
        raise NotFound(str(kernel_id))
    launch.touch(kernel.runtime)
    document = Document(pk=document_id)
    return runs.queue(
        kernel, document, cell_id, subject=entry.subject, after_seq=after_seq, together=together, number=number
    )


def routes() -> list[BaseRoute]:
    """What the notebook host mounts."""
    return [
        Route("/api/kernels/{kernel_id:uuid}/execute", execute, methods=["POST"]),
        Route("/api/kernels/{kernel_id:uuid}/input", answer, methods=["POST"]),
    ]
