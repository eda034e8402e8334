"""nbgrader's own Execute, driving a kernel that lives in a sandbox. Limits are kept from this side."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from grading.engine.contract import EngineError, Json, Limits, Sandbox, SandboxLost
from grading.engine.load import CellTimeoutError, Config, DeadKernelError, Execute, NotebookNode, nbformat, validator
from grading.engine.parts import is_executed
from grading.engine.seal import Seal
from grading.engine.watch import Watch, question

# One message of each kind carries headers that nobody counts as output.
_MESSAGE_BYTES = 64
#: How long what a cell printed may be on its way after its end or its time limit. nbclient's 4 s are over too early on
#: a crowded machine; who is graded must not depend on that.
IOPUB_SECONDS = 20


class Stopped(Exception):
    """A notebook could not be run to its end. `code` is a key of `grading.explain`."""

    def __init__(self, code: str, **params: Any) -> None:
        super().__init__(code)
        self.code = code
        self.params = params


class _Manager:
    """What nbclient wants of a kernel manager."""

    has_kernel = True

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def interrupt_kernel(self) -> None:
        await self._sandbox.interrupt()


class SandboxExecute(Execute):
    """Runs one notebook. Outputs that arrived before a limit was hit stay in it."""

    def __init__(self, sandbox: Sandbox, limits: Limits, config: Config, log: Any, seal: Seal) -> None:
        super().__init__(config=config, log=log, iopub_timeout=IOPUB_SECONDS)
        self._sandbox, self._limits = sandbox, limits
        self._received, self._overflowed, self._timed_out, self._over = 0, False, False, False
        self.watch, self._seal = Watch(), seal
        #: How many cells were executed to their end, or to their own time limit.
        self.ran = 0

    async def run(self, notebook: NotebookNode) -> NotebookNode:
        """The executed notebook. Raises Stopped, SandboxLost or CancelledError; `nb` then holds what ran until then."""
        self.nb = validator.normalize(notebook)[1]
        self.km = _Manager(self._sandbox)
        self.kc = await self._sandbox.client()
        self.kc.allow_stdin = False
        self.reset_execution_trackers()
        self.resources: Json = {}
        timer = asyncio.timeout(self._limits.wall_seconds)
        try:
            async with timer:
                await self._cells()
        except Exception as error:
            raise await self._cause(error, late=timer.expired()) from error
        finally:
            self._over = True
            self.watch.notes.extend(self._seal.after(self.nb.cells, self.watch.record))
        self._validate()
        return self.nb

    def _validate(self) -> None:
        try:
            nbformat.validate(self.nb, relax_add_props=True)
        except nbformat.ValidationError as error:
            raise Stopped("unreadable_output", message=str(error).splitlines()[0][:300]) from error

    async def _cells(self) -> None:
        reply = await self.async_wait_for_reply(self.kc.kernel_info())
        if reply is None:
            raise DeadKernelError("The kernel does not answer")
        self.nb.metadata["language_info"] = reply["content"]["language_info"]
        # What is compared are objects of IPython: of no other kernel is anything known.
        is_ipython = reply["content"].get("implementation") == "ipython"
        await self._look(1, wanted=is_ipython)
        for index, cell in enumerate(self.nb.cells):
            self._timed_out = False
            await self._look(index + 1, wanted=is_ipython and self.watch.wants(cell))
            if is_executed(cell):
                self._seal.before(cell, self.nb.cells)
                self.watch.sends(index + 1, cell, sealed=self._seal.broken)
            await self.async_execute_cell(cell, index, store_history=True)
            if is_executed(cell):
                self.watch.ran(cell)
            self.ran = index + 1
        await self._look(len(self.nb.cells), wanted=is_ipython, last=True)
        self.set_widgets_metadata()

    async def _look(self, number: int, *, wanted: bool, last: bool = False) -> None:
        """Asks the kernel what `watch` compares. A kernel that does not answer has said something, too."""
        if wanted:
            asked = self.kc.execute("", silent=True, store_history=False, user_expressions=question(last=last))
            self.watch.saw(await self.async_wait_for_reply(asked), number)

    async def _cause(self, error: Exception, *, late: bool) -> BaseException:
        """What to raise instead of nbclient's error."""
        task = asyncio.current_task()
        if task is not None and task.cancelling() and not late:
            # nbclient reports a cancelled run as a dead kernel.
            return asyncio.CancelledError()
        if isinstance(error, EngineError):
            return error
        if self._overflowed:
            return Stopped("too_much_output", limit=self._limits.output_bytes)
        if late:
            return Stopped("too_long", seconds=self._limits.wall_seconds)
        if isinstance(error, CellTimeoutError):
            # The end of the output is missing. Without an interrupt before it, a message was dropped on its way.
            return Stopped("unresponsive" if self._timed_out else "output_lost", limit=self._limits.output_bytes)
        if isinstance(error, DeadKernelError):
            return await self._death()
        return Stopped("unreadable_output", message=f"{type(error).__name__}: {error}"[:300])

    async def _death(self) -> BaseException:
        reason = await self._sandbox.exit_reason()
        kind = getattr(reason, "kind", None)
        if kind == "lost":
            return SandboxLost("The sandbox is gone")
        return Stopped(f"kernel_{kind}" if kind else "kernel_died")

    async def _async_check_alive(self) -> None:
        if self._over or not await self._sandbox.alive():
            raise DeadKernelError("Kernel died")

    async def _async_handle_timeout(self, timeout: int, cell: NotebookNode | None = None) -> Any:
        """nbclient's synthetic reply, dated: without a date nbclient calls a deprecated function."""
        self._timed_out = True
        reply = await super()._async_handle_timeout(timeout, cell)
        return reply if reply is None else {**reply, "header": {"date": datetime.now(UTC)}}

    def process_message(self, msg: Any, cell: NotebookNode, cell_index: int) -> NotebookNode | None:
        """Counts what a notebook sends before keeping it; too much of it ends the run."""
        self._received += _MESSAGE_BYTES + _size(msg.get("content")) + sum(len(b) for b in msg.get("buffers", ()))
        if self._received > self._limits.output_bytes:
            self._overflowed = True
            if self.task_poll_for_reply is not None:
                self.task_poll_for_reply.cancel()
            return None
        return super().process_message(msg, cell, cell_index)


def _size(value: Any) -> int:
    """Characters in all strings of a message, walked without recursion: its nesting is the sender's choice."""
    total, waiting = 0, [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str | bytes):
            total += len(item)
        elif isinstance(item, dict):
            waiting.extend(item.values())
            total += 8 * len(item)
        elif isinstance(item, list | tuple):
            waiting.extend(item)
            total += 8 * len(item)
    return total
