"""Sandboxes for jobs: lent one at a time, and while there is work a few are ready before they are asked for."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from socket import socket
from typing import Any

from runtimes.provider import Loan, Machine, ProviderError, Reason, Request
from runtimes.sandboxes.environment import KernelEnvironment
from runtimes.sandboxes.sandbox import MAX_MESSAGE_BYTES, Sandbox
from runtimes.sandboxes.starting import Starter

log = logging.getLogger(__name__)
# As many ready ones as can be made at once; more would only hold memory.
MOST_READY = max(2, os.cpu_count() or 1)
IDLE_SECONDS = 20.0


class SandboxLoan(Loan):
    """One sandbox while it is lent."""

    def __init__(self, sandbox: Sandbox, request: Request, environment: KernelEnvironment, loans: Loans) -> None:
        self.environment = environment.digest
        self._sandbox, self._loans = sandbox, loans
        loop = asyncio.get_running_loop()
        self.ended = loop.create_future()
        self._lifetime = loop.call_later(request.limits.lifetime.total_seconds(), self._end, Reason.LIFETIME)
        loop.add_reader(sandbox.link, self._hear)

    def sockets(self) -> Sequence[socket]:
        return self._sandbox.ends

    def cpu_seconds(self) -> float | None:
        return self._sandbox.cpu_seconds()

    async def close(self) -> None:
        self._lifetime.cancel()
        with suppress(ValueError):
            asyncio.get_running_loop().remove_reader(self._sandbox.link)
        await self._loans.give_back(self, self._sandbox)

    def _hear(self) -> None:
        """Pid 1 is gone: it says nothing once it is ready."""
        try:
            data = self._sandbox.link.recv(MAX_MESSAGE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            killed = self._sandbox.group.oom_kills()
            self._end(Reason.OUT_OF_MEMORY if killed else Reason.ERROR)

    def _end(self, reason: Reason) -> None:
        asyncio.get_running_loop().remove_reader(self._sandbox.link)
        self._sandbox.kill()
        if not self.ended.done():
            self.ended.set_result(reason)


@dataclass
class _Shelf:
    """Sandboxes of one kind. out: lent; making: under way to be ready."""

    request: Request
    environment: KernelEnvironment
    ready: list[Sandbox] = field(default_factory=list)
    out: int = 0
    making: int = 0
    clearing: asyncio.TimerHandle | None = None


class Loans:
    """full: whether there is room for no more. freed: called when there may be room again."""

    def __init__(self, starter: Starter, full: Callable[[], bool], freed: Callable[[], None]) -> None:
        self._starter, self._full, self._freed = starter, full, freed
        self._shelves: list[_Shelf] = []
        self._lent: set[SandboxLoan] = set()
        self._room = asyncio.Event()
        self._work: set[asyncio.Task[None]] = set()
        self._closing = False

    @property
    def count(self) -> int:
        """How many are lent: they take up room. Ready ones do not; there are few, and they hold hardly any memory."""
        return sum(shelf.out for shelf in self._shelves)

    async def lend(self, request: Request, environment: KernelEnvironment) -> SandboxLoan:
        """A sandbox, once there is room. Raises ProviderError or OSError."""
        while self._full():
            self._room.clear()
            await self._room.wait()
        shelf = self._shelf(request, environment)
        shelf.out += 1
        try:
            sandbox = self._taken(shelf) or await self._starter.start_job(shelf.request, environment)
        except BaseException:
            self._returned(shelf)
            raise
        sandbox.on_close.append(self._returning(shelf))
        loan = SandboxLoan(sandbox, request, environment, self)
        self._lent.add(loan)
        self._refill(shelf)
        return loan

    async def give_back(self, loan: SandboxLoan, sandbox: Sandbox) -> None:
        """Ends the sandbox of a loan."""
        self._lent.discard(loan)
        await self._starter.run(sandbox.close)

    def notice_room(self) -> None:
        """There may be room now."""
        self._room.set()

    async def close(self) -> None:
        """Ends all of them."""
        self._closing = True
        await asyncio.gather(*(loan.close() for loan in list(self._lent)))
        await asyncio.gather(*self._work, return_exceptions=True)
        for shelf in self._shelves:
            if shelf.clearing is not None:
                shelf.clearing.cancel()
            await self._end(shelf)

    def _shelf(self, request: Request, environment: KernelEnvironment) -> _Shelf:
        template = replace(request, name="", environment="", machine=Machine())
        for shelf in self._shelves:
            if shelf.request == template and shelf.environment == environment:
                break
        else:
            shelf = _Shelf(template, environment)
            self._shelves.append(shelf)
        if shelf.clearing is not None:
            shelf.clearing.cancel()
            shelf.clearing = None
        return shelf

    def _taken(self, shelf: _Shelf) -> Sandbox | None:
        while shelf.ready:
            sandbox = shelf.ready.pop(0)
            if sandbox.alive():
                return sandbox
            self._do(self._starter.run(sandbox.close))
        return None

    def _refill(self, shelf: _Shelf) -> None:
        """Whoever borrowed one mostly wants another soon."""
        wanted = min(shelf.out, MOST_READY) - len(shelf.ready) - shelf.making
        for _missing in range(0 if self._closing else wanted):
            shelf.making += 1
            self._do(self._make(shelf))

    async def _make(self, shelf: _Shelf) -> None:
        try:
            shelf.ready.append(await self._starter.start_job(shelf.request, shelf.environment))
        except (ProviderError, OSError) as error:
            log.warning("a sandbox for a job did not start: %s", error)
        finally:
            shelf.making -= 1

    def _returning(self, shelf: _Shelf) -> Callable[[], None]:
        loop = asyncio.get_running_loop()

        def returned() -> None:
            loop.call_soon_threadsafe(self._returned, shelf)

        return returned

    def _returned(self, shelf: _Shelf) -> None:
        shelf.out -= 1
        self._room.set()
        self._freed()
        if not shelf.out and shelf.clearing is None:
            loop = asyncio.get_running_loop()
            shelf.clearing = loop.call_later(IDLE_SECONDS, self._clear, shelf)

    def _clear(self, shelf: _Shelf) -> None:
        self._shelves.remove(shelf)
        self._do(self._end(shelf))

    async def _end(self, shelf: _Shelf) -> None:
        unused, shelf.ready = shelf.ready, []
        for sandbox in unused:
            await self._starter.run(sandbox.close)

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)
