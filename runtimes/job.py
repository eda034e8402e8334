"""A fresh runtime for code that runs from start to end: `borrow`, without a row and without ZMQ where that can be.

    async with job(profile=profile, account="course-1", files={"data.csv": b"1,2"}) as borrowed:
        client = await borrowed.client()

The same walls and limits, the same interface. Where the provider's runtimes are elsewhere, or the profile asks for
more than a forked sandbox, it is `borrow`. See `runtimes/counter.py` for the other side.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any, override

from runtimes import counter, profiles
from runtimes.agent_replies import AgentError, AgentStatus
from runtimes.borrow import MAX_MESSAGE_BYTES, PATIENCE, Borrowed, borrow
from runtimes.errors import RuntimeFailed, StillWaiting
from runtimes.models import Profile, Runtime
from runtimes.status import Reason
from runtimes.wired_client import JobAgent, WiredClient

# How long the counter may take to say why a runtime is gone.
LAST_WORD_SECONDS = 5.0


@asynccontextmanager
async def job(
    *,
    profile: Profile,
    account: str,
    files: Mapping[str, bytes] | None = None,
    preload: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    kernelspec: str = "",
    patience: timedelta = PATIENCE,
) -> AsyncIterator[Borrowed]:
    """A runtime of `profile` with `files` on its disk and one kernel that runs. Raises what `borrow` raises.

    What is lent has Python's kernel: one of another `kernelspec` is borrowed."""
    wanted = profiles.job(profile, preload=list(preload or profile.preload), env=dict(env or {}))
    connection = None if kernelspec else _connected()
    taken = None
    if connection is not None:
        with connection:
            order = counter.order_of(wanted, profile=profile.pk, account=account)
            taken = await _asked(connection, order, patience)
            if taken is not None:
                borrowed = Job(Runtime(profile=profile, account=account, **taken.row), connection, taken)
                try:
                    await borrowed.fill(files or {})
                    yield borrowed
                finally:
                    await borrowed.close()
                return
    borrowing = borrow(
        profile=profile,
        account=account,
        files=files,
        preload=preload,
        env=env,
        kernelspec=kernelspec,
        patience=patience,
    )
    async with borrowing as by_row:
        yield by_row


class _Taken:
    """What came over the counter."""

    def __init__(self, environment: str, ends: Sequence[int]) -> None:
        self.desk, self.wire = (socket.socket(fileno=end) for end in ends)
        self.row = {"state": Runtime.State.READY, "environment_digest": environment}


def _connected() -> socket.socket | None:
    """A connection to the counter, where there is one."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    try:
        connection.connect(str(counter.address()))
    except OSError:
        connection.close()
        return None
    return connection


async def _asked(connection: socket.socket, order: bytes, patience: timedelta) -> _Taken | None:
    """The runtime; None where the provider lends none of this kind, or ended before it could."""
    try:
        connection.send(order)
        async with asyncio.timeout(patience.total_seconds()):
            await _readable(connection)
        data, ends, _flags, _address = socket.recv_fds(connection, counter.MAX_MESSAGE_BYTES, 2)
    except TimeoutError:
        raise StillWaiting(Reason.CAPACITY_WAIT, "job") from None
    except OSError:
        return None
    answer: dict[str, Any] = json.loads(data) if data else {"offered": False}
    if "environment" in answer and len(ends) == 2:
        return _Taken(answer["environment"], ends)
    if answer.get("offered"):
        raise RuntimeFailed(Reason.ERROR, str(answer.get("error", "")))
    return None


async def _readable(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_reader(connection, _set, ready)
    try:
        await ready
    finally:
        loop.remove_reader(connection)


def _set(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


class Job(Borrowed):
    """A lent runtime as its borrower sees it. Its row is in memory only."""

    def __init__(self, runtime: Runtime, connection: socket.socket, taken: _Taken) -> None:
        super().__init__(runtime)
        self._connection = connection
        self._ends = taken.desk, taken.wire
        self._agent = JobAgent(taken.desk)
        self._client: WiredClient | None = None

    async def fill(self, files: Mapping[str, bytes]) -> None:
        """Puts files on its disk. Raises AgentError."""
        if files:
            await self._opened().push(files)

    @override
    async def client(self, *, max_message_bytes: int = MAX_MESSAGE_BYTES) -> Any:
        if self._client is None:
            self._client = WiredClient(self._ends[1], max_message_bytes)
        return self._client

    @override
    async def _status(self) -> AgentStatus | None:
        if self._over is None and self._agent is not None:
            with suppress(AgentError):
                return await self._agent.status()
        if self._over is None:
            self._over = Runtime(state=Runtime.State.STOPPED, reason=await self._last_word())
        return None

    async def _last_word(self) -> Reason:
        """Why it ended."""
        with suppress(OSError, TimeoutError, ValueError):
            async with asyncio.timeout(LAST_WORD_SECONDS):
                data = await asyncio.get_running_loop().sock_recv(self._connection, counter.MAX_MESSAGE_BYTES)
            return counter.reason_of(json.loads(data))
        return Reason.OWNER_GONE

    @override
    async def close(self) -> None:
        if self._client is not None:
            self._client.stop_channels()
        await super().close()
        for end in self._ends:
            end.close()
