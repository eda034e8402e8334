"""Keeps one runtime, from its first breath until nothing of it is left: a task of its own in the `runtimes` process.

It obeys its row, which `see` brings, and its provider, whose news `told` brings. Rows are moved by guarded updates, so
that a keeper of a process that should be dead changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from datetime import datetime

from django.utils import timezone

from runtimes import disk, profiles, rows, signs, steer
from runtimes.agent_client import AgentClient
from runtimes.agent_replies import AgentError, AgentUnreachable
from runtimes.describe import source_text
from runtimes.errors import KernelRefused, StorageAway
from runtimes.idle import Idle
from runtimes.last_pull import Rescue, about_files, last_pull
from runtimes.metering import Metering
from runtimes.models import Kernel, Runtime
from runtimes.provider import Phase, Provider, ProviderError, Reason, Status, UnknownRuntime
from runtimes.throttle import Throttle

logger = logging.getLogger(__name__)

State = Runtime.State
_WAKES = ("state", "profile_id", "lease_until", "load_since")
RETRY_SECONDS = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
LOOK_SECONDS = 5.0
AGENT_RETRY_SECONDS = 1.0
_RANK: dict[str, int] = {
    str(state): rank for rank, state in enumerate([*Runtime.LIVE, State.STOPPED, State.LOST, State.FAILED])
}


class Keeper:
    """One live row. `run` ends when the runtime is over; nothing else in the process touches it."""

    def __init__(self, provider: Provider, row: Runtime) -> None:
        self._provider = provider
        self.row = row
        # What was asked of the provider: somebody who waits may want another machine meanwhile.
        self._profile = row.profile_id
        self._gives_place = False
        self.began_at = timezone.now()
        # Whether any machine may be large enough for it: see `Reconciler`, which asks once it has waited for long.
        self.doubtful: bool | None = None
        # Why it can not be started, for the person concerned.
        self._told = ""
        # Kernels may have been asked for while it started.
        self._kernels_ask = True
        self._status: Status | None = None
        self._memory = signs.Memory()
        self._silence = signs.Silence()
        self._metering = Metering(provider)
        self._throttle = Throttle(provider)
        self._wake = asyncio.Event()
        self._rescue = Rescue(self._wake)
        self._leaving = False
        self._idle = Idle(self._metering)
        # Whether this process has seen it well, or not begun yet: its end is then known as it comes to pass.
        self._watched = row.state == State.STARTING

    def see(self, row: Runtime, *, kernels_ask: bool = False) -> None:
        """What its row looked like a moment ago, and whether kernels of it want something."""
        if _RANK[row.state] < _RANK[self.row.state]:
            return  # read before this keeper moved it
        if kernels_ask or any(getattr(row, name) != getattr(self.row, name) for name in _WAKES):
            self._wake.set()
        self.row, self._kernels_ask = row, self._kernels_ask or kernels_ask

    def told(self, status: Status) -> None:
        """What its provider says now."""
        self._status = status
        self._wake.set()

    def give_place(self) -> None:
        """Somebody who came earlier waits, too: theirs is the next seat."""
        if not self._gives_place:
            self._gives_place = True
            self._wake.set()

    def leave(self) -> None:
        """This process is about to end."""
        self._leaving = True
        self._wake.set()

    async def run(self) -> None:
        """Starts it if the row wants that, keeps it, ends it."""
        try:
            if self.row.state == State.STARTING and not await self._start():
                return
            if self.row.state == State.READY:
                await self._keep()
            await self._end()
        except ProviderError as error:
            logger.warning("runtime %s: %s", self.row.name, error)
            await self._fail(State.FAILED, Reason.ERROR, source_text(error.user_message), str(error))

    # --- start

    async def _start(self) -> bool:
        """STARTING → READY. False when it is over already; the row may also say STOPPING afterwards."""
        status = await self._acquired()
        while status is not None and status.phase is not Phase.READY:
            if status.phase.final:
                await self._fail(State.FAILED, status.reason or Reason.ERROR, self._told, status.message)
                return False
            await rows.note_waiting(self.row, status.reason, detail=status.message)
            await self._news(LOOK_SECONDS)
            status = None if self._unwanted() else await self._provider.status(self.row.name)
        if status is None:
            return await self._abandoned()
        return await self._equip(status)

    async def _acquired(self) -> Status | None:
        """The provider's first answer, asked again while it cannot; None when nobody wants the runtime any more."""
        waits = iter(RETRY_SECONDS)
        while not self._unwanted():
            try:
                return await self._provider.acquire(profiles.request(self.row))
            except (ProviderError, ValueError) as error:
                self._told = source_text(getattr(error, "user_message", ""))
                wait = next(waits, None) if getattr(error, "retryable", False) else None
                logger.warning("runtime %s: %s", self.row.name, error)
                if wait is None:
                    return Status(Phase.LOST, Reason.ERROR, str(error))
                await rows.note_waiting(self.row, Reason.ERROR, message=self._told, detail=str(error))
                await self._news(wait)
        return None

    def _unwanted(self) -> bool:
        if self._leaving or self._gives_place:
            return True
        return self.row.state != State.STARTING or self.row.profile_id != self._profile

    async def _abandoned(self) -> bool:
        if self.row.state == State.STOPPING:
            return True
        await self._let_go()
        await rows.back_to_queue(self.row)
        return False

    async def _equip(self, status: Status) -> bool:
        """Files in, kernels on, then READY: who waits for the row finds everything there."""
        row = self.row
        endpoint = await self._provider.endpoint(row.name)
        environment = await self._provider.environment_of(profiles.request(row))
        try:
            async with AgentClient(endpoint) as agent:
                had = await disk.fill(row, agent, await disk.fill(row, agent))
                moved = await rows.mark_ready(row, status, endpoint, environment)
                # Whoever changes a file from now on sees that there is a disk; who did so before may not have.
                await disk.fill(row, agent, had)
        except (AgentError, StorageAway) as error:
            await self._fail(State.FAILED, Reason.ERROR, source_text(error.user_message), str(error))
            return False
        self.row = row if moved else await rows.reload(row)
        return self.row.state != State.STARTING or await self._abandoned()

    # --- keep

    async def _keep(self) -> None:
        """Until the row says STOPPING, the provider says it is over, or this process ends."""
        async with AgentClient.of(self.row) as agent, asyncio.TaskGroup() as group:
            watching = group.create_task(self._watch(agent))
            try:
                while self.row.state == State.READY and not self._leaving and not self._ends():
                    self._watched = True
                    await self._rescue.if_told(self.row)
                    await self._throttle.obey(self.row)
                    # A pod may take all its kernels along and start again: only its provider knows why.
                    if self._memory.ran_out(self._status):
                        await rows.died_of_memory(self.row)
                    await self._obey_kernels(agent)
                    await self._check_signs(agent)
                    if not self._over():
                        await self._check_limits(agent)
                    await self._news(LOOK_SECONDS)
            finally:
                watching.cancel()

    def _over(self) -> bool:
        return self._status is not None and self._status.phase.final

    def _ends(self) -> bool:
        return self._over() or (self._status is not None and self._status.phase is Phase.ENDING)

    async def _check_signs(self, agent: AgentClient) -> None:
        status = self._status
        lost = await signs.begun_anew(self.row, self._provider) or await self._silence.told(status, agent)
        if lost is not None and self._status is status:
            self._status = lost

    async def _obey_kernels(self, agent: AgentClient) -> None:
        asked, self._kernels_ask = self._kernels_ask, False
        # Afresh: whoever asked has mostly told the agent already, and one that has died since must not come back.
        for kernel in await rows.unsettled_kernels(self.row) if asked else ():
            kernel.runtime = self.row
            with suppress(AgentUnreachable, KernelRefused):
                if kernel.state == Kernel.State.STOPPING:
                    await steer.finish(kernel, agent)
                else:
                    await steer.begin(kernel, agent)

    async def _watch(self, agent: AgentClient) -> None:
        """Brings onto the rows what happens to kernels inside; a borrowed one has no rows of kernels."""
        if self.row.purpose != Runtime.Purpose.INTERACTIVE:
            return
        while True:
            try:
                async for event in agent.watch():
                    if await self._rescue.heard(event):
                        break
                    if event.kernel is not None:
                        await rows.kernel_seen(self.row, event.kernel)
            except AgentError:
                await asyncio.sleep(AGENT_RETRY_SECONDS)

    async def _check_limits(self, agent: AgentClient) -> None:
        now, row = timezone.now(), self.row
        if row.lease_until is not None and row.lease_until < now:
            await self._stop(Reason.OWNER_GONE)
        elif row.deadline is not None and row.deadline <= now:
            await self._stop(Reason.YIELDED if row.yields else Reason.LIFETIME)
        elif await self._idle.stops(row, agent):
            self.row = await rows.reload(row)

    async def _stop(self, reason: str) -> None:
        await rows.ask_to_stop(self.row, reason)
        self.row = await rows.reload(self.row)

    # --- end

    async def _end(self) -> None:
        if self._ends() and self._status is not None and self.row.state != State.STOPPING:
            await self._ended(self._status)
            return
        if self._leaving and self.row.state == State.READY:
            await self._stop(Reason.OWNER_GONE)
        row, all_kept, ended_at = self.row, self._rescue.all_kept, self._ended_at()
        if not self._over():
            await self._metering.read_last(row)
            # In one that never was ready nothing was written, and what a job writes is its borrower's.
            all_kept = await last_pull(row) or row.ready_at is None or row.workspace_id is None
        with suppress(ProviderError):
            await self._let_go(Reason.of(row.reason))
        # Beside the words of whoever stopped it.
        told = "\n".join(filter(None, (row.message, about_files(row.reason, all_kept=all_kept))))
        await rows.settle(row, State.STOPPED, row.reason, message=told, ended_at=ended_at)

    async def _let_go(self, reason: Reason = Reason.REQUESTED) -> None:
        """Has its provider end it, again while that cannot; raises ProviderError in the end. What is left where its row
        has ended is ended by whoever compares rows with things."""
        waits = iter(RETRY_SECONDS)
        while True:
            try:
                return await self._provider.release(self.row.name, reason=reason)
            except ProviderError as error:
                logger.warning("runtime %s: not released yet: %s", self.row.name, error)
                if self._leaving or (wait := next(waits, None)) is None:
                    raise
            await self._news(wait)

    def _ended_at(self) -> datetime | None:
        """When it ended, where its provider knows; at the earliest, where it was over when we came; else None: now."""
        if self._status is None or not self._over():
            return None
        return self._status.ended_at or (None if self._watched else self.row.ready_at)

    async def _ended(self, status: Status) -> None:
        """By others. One whose node only its cluster has lost sight of may still answer."""
        if status.phase is Phase.ENDING or status.reason is Reason.NODE_LOST:
            await self._rescue.now(self.row)
        state = State.STOPPED if status.phase is Phase.STOPPED else State.LOST
        await self._fail(state, status.reason, self._rescue.sentence(status.reason), status.message)

    async def _fail(self, state: str, reason: str, message: str, detail: str) -> None:
        with suppress(ProviderError):
            await self._provider.release(self.row.name)
        await rows.settle(self.row, state, reason, message=message, detail=detail, ended_at=self._ended_at())

    async def _news(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        self._wake.clear()

    async def check_exists(self) -> None:
        """Asks the provider whether it is still there: an event may have been missed."""
        try:
            status = await self._provider.status(self.row.name)
        except UnknownRuntime:
            status = Status(Phase.LOST, Reason.OWNER_GONE)
        if status.phase.final or status.phase in (Phase.UNREACHABLE, Phase.ENDING):
            self.told(status)
