"""Runs the site's processes on one machine: starts them, starts one again that ends, stops all together."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from classroom.guard import GRACE_SECONDS
from classroom.lifeline import dies_with_parent

# A process that ends this often within a minute will not come up by itself.
MOST_STARTS_A_MINUTE = 5


class KeepsEnding(Exception):
    """A process ended again and again; the message says which and shows the end of its log."""


@dataclass
class Child:
    """One process to keep running. `fds` are inherited by it; children of a higher `rank` stop first."""

    name: str
    command: Sequence[str]
    fds: tuple[int, ...] = ()
    rank: int = 1
    process: asyncio.subprocess.Process | None = field(default=None, init=False)
    starts: list[float] = field(default_factory=list, init=False)


class Supervisor:
    """Keeps `children` running in `folder` until `stop()`; each has a log in `logs` and its process id in `pids`."""

    def __init__(self, children: Sequence[Child], *, logs: Path, pids: Path, folder: Path) -> None:
        self.children = children
        self.logs = logs
        self.pids = pids
        self.folder = folder
        self._stopping = asyncio.Event()
        self._guard: subprocess.Popen[bytes] | None = None

    def stop(self) -> None:
        """Ask `run` to end; safe to call twice and from a signal handler of the loop."""
        self._stopping.set()

    async def run(self, started: Callable[[], object] = lambda: None) -> None:
        """Start everything, call `started`, return when stopped and all have ended. Raises KeepsEnding."""
        self._guard = self._start_guard()
        try:
            async with asyncio.TaskGroup() as group:
                keepers = [group.create_task(self._keep(child)) for child in self.children]
                group.create_task(self._until_stopped(keepers))
                started()
        except* KeepsEnding as errors:
            raise errors.exceptions[0] from None
        finally:
            await self._end_all()
            self._end_guard()

    async def _until_stopped(self, keepers: Sequence[asyncio.Task[None]]) -> None:
        await self._stopping.wait()
        for keeper in keepers:
            keeper.cancel()

    async def _keep(self, child: Child) -> None:
        while True:
            now = time.monotonic()
            child.starts = [*(moment for moment in child.starts if moment > now - 60), now]
            if len(child.starts) > MOST_STARTS_A_MINUTE:
                raise KeepsEnding(f"{child.name} ended {MOST_STARTS_A_MINUTE} times in a minute:\n{self._tail(child)}")
            await self._start(child)
            assert child.process
            status = await child.process.wait()
            self._forget(child)
            print(f"{child.name} ended ({_reason(status)}) and is started again", file=sys.stderr, flush=True)
            await asyncio.sleep(0.2 * len(child.starts))

    async def _start(self, child: Child) -> None:
        with self._log(child).open("ab") as log:
            child.process = await asyncio.create_subprocess_exec(
                *child.command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=child.fds,
                start_new_session=True,
                preexec_fn=dies_with_parent(),
            )
        self._tell_guard(f"+{child.process.pid}")
        self.pids.mkdir(parents=True, exist_ok=True)
        self._pid_file(child).write_text(str(child.process.pid))

    def _forget(self, child: Child) -> None:
        if child.process is None:
            return
        # What a dead process leaves of its group (a pool's workers, say) goes with it.
        _kill_group(child.process.pid, signal.SIGKILL)
        self._tell_guard(f"-{child.process.pid}")
        self._pid_file(child).unlink(missing_ok=True)
        child.process = None

    async def _end_all(self) -> None:
        for rank in sorted({child.rank for child in self.children}, reverse=True):
            await asyncio.gather(*(self._end(child) for child in self.children if child.rank == rank))

    async def _end(self, child: Child) -> None:
        process = child.process
        if process is None:
            return
        if process.returncode is None:
            # Only its leader: a pool's leader lets its workers finish their task.
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), GRACE_SECONDS)
            except TimeoutError:
                _kill_group(process.pid, signal.SIGKILL)
                await process.wait()
        self._forget(child)

    def _log(self, child: Child) -> Path:
        return self.logs / f"{child.name}.log"

    def _pid_file(self, child: Child) -> Path:
        return self.pids / f"{child.name}.pid"

    def _tail(self, child: Child) -> str:
        return "\n".join(self._log(child).read_text(errors="replace").splitlines()[-15:])

    def _start_guard(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "classroom.guard"]
        return subprocess.Popen(command, cwd=self.folder, stdin=subprocess.PIPE, start_new_session=True)

    def _tell_guard(self, line: str) -> None:
        pipe = self._pipe()
        if pipe is not None:
            pipe.write(f"{line}\n".encode())
            pipe.flush()

    def _end_guard(self) -> None:
        pipe = self._pipe()
        if self._guard is not None and pipe is not None:
            pipe.close()
            self._guard.wait()

    def _pipe(self) -> IO[bytes] | None:
        alive = self._guard is not None and self._guard.poll() is None
        return self._guard.stdin if self._guard is not None and alive else None


def _kill_group(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        # Already gone: its leader ended with everyone else.
        return


def _reason(status: int) -> str:
    return f"signal {signal.Signals(-status).name}" if status < 0 else f"status {status}"
