"""One runtime in the provider's hands, from request to end."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from runtimes.provider import Phase, ProviderError, Reason, Request, Status
from runtimes.sandboxes.environment import KernelEnvironment
from runtimes.sandboxes.sandbox import MAX_MESSAGE_BYTES, Sandbox
from runtimes.sandboxes.seats import Hold
from runtimes.sandboxes.starting import Starter

log = logging.getLogger(__name__)


class Place:
    """Its status changes only here; `changed` is called after each change."""

    def __init__(self, request: Request, environment: KernelEnvironment, changed: Callable[[Place], None]) -> None:
        self.request = request
        self.status = Status(Phase.STARTING)
        self.sandbox: Sandbox | None = None
        self._cpu_seconds: float | None = None
        self._share: float | None = None
        self._hold: Hold | None = None
        self._environment = environment
        self._changed = changed
        self._starting: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._lifetime: asyncio.TimerHandle | None = None
        self._wanted_end = Reason.NONE
        self._ended = asyncio.Event()

    @property
    def identity(self) -> str:
        """The sandbox's, "" before there is one."""
        return self.sandbox.endpoint.identity if self.sandbox else ""

    @property
    def live(self) -> bool:
        """It takes up room."""
        return self.status.phase in (Phase.STARTING, Phase.READY, Phase.UNREACHABLE)

    def cpu_seconds(self) -> float | None:
        """Processor time that it used so far; never less than before, also where the children of a process that did not
        wait for them are no longer counted."""
        seen = self.sandbox.cpu_seconds() if self.sandbox is not None and not self.status.phase.final else None
        if seen is not None:
            self._cpu_seconds = max(self._cpu_seconds or 0.0, seen)
        return self._cpu_seconds

    def throttle(self, share: float | None) -> bool:
        """Gives it this share of its processors, or all of them; False where this host cannot."""
        if self.sandbox is None or self.status.phase.final or share == self._share:
            return True
        self._share = share
        cores = self.request.limits.cpu_cores
        return self.sandbox.throttle(cores if share is None else cores * share, slowed=share is not None)

    def wait(self, position: int, reason: Reason) -> None:
        """There is no room, or no GPU, yet."""
        self._set(Status(Phase.QUEUED, reason, queue_position=position))

    def begin(self, starter: Starter, hold: Hold | None) -> None:
        """Starts in the background, with the GPUs of `hold`."""
        self._hold = hold
        self._set(Status(Phase.STARTING))
        self._starting = asyncio.create_task(self._start(starter))

    def adopt(self, sandbox: Sandbox, starter: Starter) -> None:
        """Takes a sandbox that is ready."""
        sandbox.slot.name = self.request.name
        sandbox.slot.save()
        self._settle(sandbox, starter)

    async def end(self, starter: Starter, reason: Reason, grace: timedelta) -> None:
        """Ends it, whatever it is doing, and returns when nothing is left."""
        if self._starting is not None and not self._starting.done():
            self._starting.cancel()
            with suppress(asyncio.CancelledError):
                await self._starting
        if self._hold is not None and not self._hold.begun:
            self._hold.release()
        if self.sandbox is not None and grace and self._closing is None:
            await self._let_finish(self.sandbox, reason, grace)
        if not self.status.phase.final:
            self._finish(starter, Status(Phase.STOPPED, reason))
        if self._closing is not None:
            await asyncio.shield(self._closing)

    async def _start(self, starter: Starter) -> None:
        try:
            sandbox = await starter.start(self.request, self._environment, self._hold)
        except (ProviderError, OSError) as error:
            log.exception("a sandbox did not start")
            self._set(Status(Phase.LOST, Reason.ERROR, str(error)[-2000:]))
            return
        self._settle(sandbox, starter)

    def _settle(self, sandbox: Sandbox, starter: Starter) -> None:
        self.sandbox = sandbox
        loop = asyncio.get_running_loop()
        lifetime = self.request.limits.lifetime
        now = datetime.now(UTC)
        self._lifetime = loop.call_later(
            lifetime.total_seconds(), lambda: self._finish(starter, Status(Phase.STOPPED, Reason.LIFETIME))
        )
        loop.add_reader(sandbox.link, self._hear, starter)
        self._set(Status(Phase.READY, ready_at=now, deadline=now + lifetime, isolation=sandbox.isolation))

    def _hear(self, starter: Starter) -> None:
        """Pid 1 says something, or is gone."""
        assert self.sandbox is not None
        try:
            data = self.sandbox.link.recv(MAX_MESSAGE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        message = _parse(data)
        if message is not None and "exit" not in message:
            return
        self._finish(starter, self._end_of(self.sandbox, message))

    def _end_of(self, sandbox: Sandbox, message: dict[str, Any] | None) -> Status:
        """The status of a sandbox that ended; `message`: what its pid 1 said last, if that was about the end."""
        if self._wanted_end:
            return Status(Phase.STOPPED, self._wanted_end)
        if sandbox.group.oom_kills():
            return Status(Phase.LOST, Reason.OUT_OF_MEMORY, "the sandbox was killed for want of memory")
        if message is not None:
            return Status(Phase.LOST, Reason.KERNEL_CRASH, str(message.get("why", "")), exit_code=message["exit"])
        return Status(Phase.LOST, Reason.ERROR, "the sandbox ended by itself")

    async def _let_finish(self, sandbox: Sandbox, reason: Reason, grace: timedelta) -> None:
        """Kernels get SIGTERM and some time; when the last has ended, so does the sandbox."""
        self._wanted_end = reason
        sandbox.terminate()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ended.wait(), grace.total_seconds())

    def _finish(self, starter: Starter, status: Status) -> None:
        if self.status.phase.final:
            return
        self._ended.set()
        if self._lifetime is not None:
            self._lifetime.cancel()
        sandbox = self.sandbox
        if sandbox is not None:
            asyncio.get_running_loop().remove_reader(sandbox.link)
            sandbox.kill()
            self._closing = asyncio.create_task(starter.run(sandbox.close))
        held = sandbox.isolation if sandbox else ()
        self._set(replace(status, isolation=held, ready_at=self.status.ready_at, deadline=self.status.deadline))

    def _set(self, status: Status) -> None:
        if status != self.status or status.phase is Phase.STARTING:
            self.status = status
            self._changed(self)


def _parse(data: bytes) -> dict[str, Any] | None:
    """A message, or None for the end (or for anything that is none)."""
    try:
        message = json.loads(data)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None
