"""A fresh runtime for one job (grading, *Check*), gone at the end whatever happens.

    async with borrow(profile=profile, account="course-1", files={"data.csv": b"1,2"}) as borrowed:
        client = await borrowed.client()

The row carries a lease, renewed while the job lasts: if the borrower dies, the `runtimes` process ends the runtime.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

import zmq.asyncio
from django.utils import timezone
from jupyter_client.asynchronous.client import AsyncKernelClient

from runtimes import bus, launch, rows
from runtimes.agent_client import AgentClient
from runtimes.agent_replies import AgentError, AgentStatus, ExitReason
from runtimes.connection import kernel_connection
from runtimes.errors import DATABASE_AWAY, KernelRefused, RuntimeFailed
from runtimes.models import Kernel, Profile, Runtime
from runtimes.status import Reason

logger = logging.getLogger(__name__)

LEASE = timedelta(seconds=60)
RENEW_SECONDS = 15.0
AGAIN_SECONDS = 1.0
# A burst of news need not renew it each time.
RENEW_AFTER = timedelta(seconds=5)
WELCOME_SECONDS = 30.0
PATIENCE = timedelta(minutes=15)
_FULL_BYTES = 64 * 1024
# What one message may be, unless the borrower says otherwise.
MAX_MESSAGE_BYTES = 64 * 1024 * 1024

Kind = Literal["out_of_memory", "killed", "exited", "deadline", "disk_full", "lost"]
_OF_KERNEL: Mapping[ExitReason, Kind] = {
    ExitReason.OUT_OF_MEMORY: "out_of_memory",
    ExitReason.KILLED: "killed",
    ExitReason.CRASHED: "killed",
    ExitReason.EXITED: "exited",
    ExitReason.STOPPED: "exited",
}
_OF_RUNTIME: Mapping[str, Kind] = {
    Reason.OUT_OF_MEMORY: "out_of_memory",
    Reason.DISK_FULL: "disk_full",
    Reason.LIFETIME: "deadline",
}


@dataclass(frozen=True)
class Ending:
    """Why a borrowed kernel is no longer there. `lost` is no code's fault: try again. `detail` is for operators."""

    kind: Kind
    detail: str = ""


@asynccontextmanager
async def borrow(
    *,
    profile: Profile,
    account: str,
    purpose: str = Runtime.Purpose.GRADING,
    files: Mapping[str, bytes] | None = None,
    preload: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    kernelspec: str = "",
    patience: timedelta = PATIENCE,
) -> AsyncIterator[Borrowed]:
    """A runtime of `profile` with `files` on its disk and one kernel that runs.

    kernelspec: "" for Python's, else the name of one in the profile's environment. patience: how long to wait for a
    place. Raises RuntimeFailed (StillWaiting after that), AgentUnreachable, AgentRefused for a kernel that does not
    start, or TransferRefused and AgentRefused for files that cannot be put there."""
    runtime = await _request(profile, account, purpose, list(preload), dict(env or {}))
    borrowed = Borrowed(runtime, kernelspec)
    attending = asyncio.create_task(borrowed.attend())
    try:
        await borrowed.open(await launch.ready(runtime, patience), files or {})
        yield borrowed
    finally:
        attending.cancel()
        await asyncio.gather(attending, return_exceptions=True)
        await borrowed.close()
        await asyncio.shield(_let_go(runtime))


async def _let_go(runtime: Runtime) -> None:
    """Ends it at once, or when its lease does: what was found out in it is not lost because the database is away."""
    try:
        await launch.astop(runtime, reason=Reason.REQUESTED)
    except DATABASE_AWAY as error:
        logger.warning("runtime %s ends with its lease, the database is not there: %s", runtime.name, error)


@rows.in_thread
def _request(profile: Profile, account: str, purpose: str, preload: list[str], env: dict[str, str]) -> Runtime:
    runtime = Runtime.objects.create(
        profile=profile,
        account=account,
        purpose=purpose,
        preload=preload or profile.preload,
        env=env,
        lease_until=timezone.now() + LEASE,
    )
    bus.publish_on_commit("runtimes")
    return runtime


class Borrowed:
    """A runtime as its borrower sees it. Its kernel is index 0."""

    def __init__(self, runtime: Runtime, kernelspec: str = "") -> None:
        self.runtime = runtime
        self.kernelspec = kernelspec
        self.connection: dict[str, Any] = {}
        self._over: Runtime | None = None
        self._agent: AgentClient | None = None
        self.deleted: set[str] = set()
        self._clients: list[AsyncKernelClient] = []

    async def attend(self) -> None:
        """Renews the lease and notices when the runtime ends; a task for as long as it is borrowed."""
        async with bus.subscribe(f"runtime:{self.runtime.name}") as news:
            while self._over is None:
                try:
                    row = await _renew(self.runtime)
                except DATABASE_AWAY:
                    await asyncio.sleep(AGAIN_SECONDS)
                    continue
                self._over = None if row.state in Runtime.LIVE else row
                await news.next(RENEW_SECONDS)

    async def open(self, runtime: Runtime, files: Mapping[str, bytes]) -> None:
        """Once it is ready: files in, kernel on."""
        self.runtime = runtime
        self.connection = kernel_connection(runtime, Kernel(index=0))
        self._agent = AgentClient.of(runtime)
        if files:
            await self._agent.push(files)
        await self._agent.start_kernel(0, env=runtime.env, kernelspec=self.kernelspec)

    async def client(self, *, max_message_bytes: int = MAX_MESSAGE_BYTES) -> AsyncKernelClient:
        """A client whose every message arrives from now on; closed with the runtime. Raises KernelRefused.

        A longer message than `max_message_bytes` is dropped before it is read into memory."""
        context = zmq.asyncio.Context(zmq.Context.instance())
        # For sockets that this client makes: the options belong to this object, not to the shared context below it.
        context.setsockopt(zmq.MAXMSGSIZE, max_message_bytes)
        client = AsyncKernelClient(context=context)
        client.load_connection_info(self.connection)  # type: ignore[arg-type]
        client.start_channels(hb=False)
        self._clients.append(client)
        await self._welcomed(client)
        return client

    async def _welcomed(self, client: AsyncKernelClient) -> None:
        # ipykernel 7 greets a subscription to a topic that is new (XPUB): from then on nothing on iopub is missed.
        topic = f"welcome-{secrets.token_hex(8)}"
        client.iopub_channel.socket.subscribe(topic.encode())
        try:
            async with asyncio.timeout(WELCOME_SECONDS):
                while True:
                    message = await client.get_iopub_msg()
                    if message["msg_type"] == "iopub_welcome" and message["content"].get("subscription") == topic:
                        return
        except TimeoutError as error:
            raise KernelRefused(f"{self.runtime.name}: the kernel's iopub does not answer") from error

    async def interrupt(self) -> None:
        """KeyboardInterrupt in the running cell. Raises KernelRefused."""
        try:
            await self._opened().interrupt(0)
        except AgentError as error:
            raise KernelRefused(str(error), error.user_message) from error

    async def stop_kernel(self) -> None:
        """Ends the kernel; the runtime and its disk stay. Raises KernelRefused."""
        try:
            await self._opened().stop_kernel(0)
        except AgentError as error:
            raise KernelRefused(str(error), error.user_message) from error

    async def start_kernel(self) -> None:
        """A new kernel on the same sockets and the same disk, if none runs. Raises KernelRefused."""
        try:
            await self._opened().start_kernel(0, env=self.runtime.env, kernelspec=self.kernelspec)
        except AgentError as error:
            raise KernelRefused(str(error), error.user_message) from error

    async def alive(self) -> bool:
        """Whether the kernel runs."""
        return await self.exit_reason() is None

    async def exit_reason(self) -> Ending | None:
        """Why the kernel no longer runs; None while it does."""
        status = await self._status()
        if status is None:
            row = self._over or self.runtime
            return Ending(
                _OF_RUNTIME.get(row.reason, "lost"), f"{row.state} {row.reason} {row.detail or row.message}".strip()
            )
        kernel = status.kernel(0)
        if kernel is not None and kernel.state != "dead":
            return None
        if status.home_total_bytes - status.home_used_bytes < _FULL_BYTES:
            return Ending("disk_full")
        reason = kernel.exit_reason if kernel else None
        detail = f"status {kernel.exit_status}" if kernel else ""
        return Ending(_OF_KERNEL[reason] if reason else "exited", detail)

    async def _status(self) -> AgentStatus | None:
        """What the agent says; None when there is none any more."""
        if self._over is None and self._agent is not None:
            with suppress(AgentError):
                return await self._agent.status()
        self._over = await rows.reload(self.runtime)
        return None

    async def pull(self) -> dict[str, bytes]:
        """Files that are new or changed since they were pushed; `deleted` names those that are gone.

        Raises AgentUnreachable or TransferRefused."""
        agent = self._opened()
        found: dict[str, bytes] = {}
        more = True
        while more:
            pulled = await agent.pull()
            found |= pulled.files
            self.deleted = (self.deleted | set(pulled.deleted)) - set(pulled.files)
            await agent.acknowledge(pulled.token)
            more = pulled.more
        return found

    async def close(self) -> None:
        """Lets go of every connection."""
        for client in self._clients:
            with suppress(zmq.ZMQError):
                client.stop_channels()
        agent, self._agent = self._agent, None
        if agent is not None:
            await agent.close()

    def _opened(self) -> AgentClient:
        if self._agent is None:
            raise RuntimeFailed(self.runtime.reason, f"{self.runtime.name} is not open")
        return self._agent


@rows.in_thread
def _renew(runtime: Runtime) -> Runtime:
    now = timezone.now()
    Runtime.objects.filter(pk=runtime.pk, state__in=Runtime.LIVE, lease_until__lt=now + LEASE - RENEW_AFTER).update(
        lease_until=now + LEASE
    )
    return Runtime.objects.get(pk=runtime.pk)
