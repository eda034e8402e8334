"""The trusted side of a runtime's agent: kernels started, interrupted, restarted and stopped, files pushed and pulled.

Usable from any process with nothing but a runtime's endpoint. What comes back was written where student code runs: it
is evidence, not truth, and is checked here (names, sizes, kinds).
Errors and answers are in `agent_replies.py`.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import suppress
from typing import Any, Protocol, Self

import zmq
import zmq.asyncio

from runtimes import keyring
from runtimes.agent import wire
from runtimes.agent.archive import ArchiveRefused, check_path, pack_files, unpack_files
from runtimes.agent_replies import (
    AgentError,
    AgentEvent,
    AgentRefused,
    AgentStatus,
    AgentUnreachable,
    ExitReason,
    KernelState,
    Pulled,
    TransferRefused,
)
from runtimes.endpoint import Endpoint
from runtimes.keys import Keys

__all__ = [
    "AgentClient", "AgentError", "AgentEvent", "AgentRefused", "AgentStatus", "AgentUnreachable", "ExitReason",
    "KernelState", "Pulled", "TransferRefused",
]  # fmt: skip

TIMEOUT = 10.0
# As long as nbclient waits for a kernel (`startup_timeout`).
START_TIMEOUT = 60.0
TRANSFER_TIMEOUT = 120.0
#: Of one file that is pulled, and of all that are pulled at once.
MAX_FILE_BYTES = 64 << 20
# Of at most 500 characters each, escaped: together far below wire.MAX_HEADER_BYTES.
PATHS_AT_ONCE = 500
# In one tar, either way: far below archive.MAX_FILES.
FILES_AT_ONCE = 2000
WATCH_RENEWAL = 20.0


class HasEndpoint(Protocol):
    """A `Runtime` row, seen from here."""

    endpoint: Any


class AgentClient:
    """Asks one runtime's agent: `async with AgentClient.of(runtime) as agent:`. One event loop, many calls at once."""

    def __init__(self, endpoint: Endpoint, keys: Keys | None = None) -> None:
        self.endpoint = endpoint
        self._keys = keys or keyring.keys_of(endpoint)
        self._key = self._keys.hmac_key.encode()
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[tuple[dict[str, Any], bytes]]] = {}
        self._watchers: set[asyncio.Queue[AgentEvent]] = set()
        self._socket: zmq.asyncio.Socket | None = None
        self._reader: asyncio.Task[None] | None = None

    @classmethod
    def of(cls, runtime: HasEndpoint) -> Self:
        """A client for a `Runtime` row that has an endpoint. Raises KeyError if it has none yet."""
        return cls(Endpoint.from_json(runtime.endpoint))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends the connection; calls still waiting raise AgentUnreachable."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.cancel()
            with suppress(asyncio.CancelledError):
                await reader
        if self._socket is not None:
            self._socket.close(linger=0)
            self._socket = None
        self._fail_waiting()

    async def status(self) -> AgentStatus:
        """How the runtime is, from inside. Raises AgentUnreachable."""
        header, _payload = await self._ask("status")
        return AgentStatus(
            kernels=tuple(KernelState.from_header(kernel) for kernel in header["kernels"]),
            memory_bytes=header["memory_bytes"],
            memory_limit_bytes=header["memory_limit_bytes"],
            # A pod may be older than this site.
            cpu_seconds=header.get("cpu_seconds"),
            oom_kills=int(header["oom_kills"]),
            home_used_bytes=int(header["home_used_bytes"]),
            home_total_bytes=int(header["home_total_bytes"]),
            idle_seconds=float(header["idle_seconds"]),
            uptime_seconds=float(header["uptime_seconds"]),
            # An agent of an older image says nothing of it.
            ending=bool(header.get("ending")),
            preload_failed=str(header.get("preload_failed", "")),
        )

    async def start_kernel(
        self,
        index: int,
        *,
        env: Mapping[str, str] | None = None,
        cwd: str = "",
        kernelspec: str = "",
        timeout: float = START_TIMEOUT,
    ) -> KernelState:
        """Starts kernel `index` and returns when its sockets exist; if it is running, only tells its state.

        cwd: a folder below the home folder. kernelspec: its name, "" for Python's. Raises AgentRefused if it cannot be
        started or dies at once (`no-kernelspec` where the kernel environment has none of this name)."""
        arguments = {"index": index, "env": dict(env or {}), "cwd": cwd, "kernelspec": kernelspec}
        return await self._kernel("start_kernel", timeout, **arguments)

    async def interrupt(self, index: int) -> KernelState:
        """Sends the kernel SIGINT: the running cell gets KeyboardInterrupt. Raises AgentRefused if it does not run."""
        return await self._kernel("interrupt", TIMEOUT, index=index)

    async def restart_kernel(
        self, index: int, *, cwd: str = "", kernelspec: str = "", timeout: float = START_TIMEOUT
    ) -> KernelState:
        """Ends the kernel with everything it started in its process group, and starts it again on the same sockets.

        cwd: as its folder is called now."""
        return await self._kernel("restart_kernel", timeout, index=index, cwd=cwd, kernelspec=kernelspec)

    async def stop_kernel(self, index: int) -> None:
        """Ends the kernel; no error if it does not run."""
        await self._ask("stop_kernel", index=index)

    async def push(
        self,
        files: Mapping[str, bytes],
        *,
        executable: Collection[str] = frozenset(),
        timeout: float = TRANSFER_TIMEOUT,
    ) -> None:
        """Writes files below the home folder (relative paths with '/'). They count as known: `pull` returns them only
        once they change. executable: those that may be run. timeout: seconds for each 2,000 files.

        Raises TransferRefused for an unsafe name, AgentRefused (`code` "full") without room."""
        try:
            for path in files:
                check_path(path)
        except ArchiveRefused as error:
            raise TransferRefused(str(error)) from error
        for some in itertools.batched(files.items(), FILES_AT_ONCE):
            await self._ask("push", payload=pack_files(some, executable), timeout=timeout)

    async def remove(self, paths: Iterable[str], *, only_known: bool = False, timeout: float = TIMEOUT) -> None:
        """Takes files, and folders with all in them, away below the home folder; what is not there is fine. `pull`
        tells of none as deleted. only_known: what code made or changed since the last acknowledged pull stays.

        timeout: seconds for each 500 paths. Raises AgentUnreachable, AgentRefused (`unsafe-path`, nothing is removed;
        `error`, the rest is)."""
        for some in itertools.batched(paths, PATHS_AT_ONCE):
            await self._ask("remove", timeout=timeout, paths=list(some), only_known=only_known)

    async def rename(self, old: str, new: str, *, timeout: float = TIMEOUT) -> None:
        """Moves a file, or a folder with all in it, below the home folder; a kernel whose folder it is stays in it.

        Raises AgentUnreachable, AgentRefused (nothing of the old name, or something of the new one, is there)."""
        await self._ask("rename", timeout=timeout, old=old, new=new)

    async def pull(
        self,
        *,
        again: bool = True,
        max_files: int = FILES_AT_ONCE,
        max_bytes: int = MAX_FILE_BYTES,
        max_file_bytes: int = MAX_FILE_BYTES,
        room: int | None = None,
        timeout: float = TRANSFER_TIMEOUT,
    ) -> Pulled:
        """Files new, changed or deleted since the last acknowledged pull. Store them, then `acknowledge(token)`;
        without that the next pull tells the same again, so that a crash between loses nothing.

        again: whether what was acknowledged as not taken is told again, or only the rest. max_bytes: at least
        max_file_bytes; a few times that is what it costs the runtime of its memory. room: a larger file that is new
        here is only named, as one for which there is none."""
        header, payload = await self._ask(
            "pull",
            timeout=timeout,
            again=again,
            max_files=max_files,
            max_bytes=max_bytes,
            max_file_bytes=max_file_bytes,
            room=room,
        )
        try:
            files = unpack_files(payload, max_files=max_files, max_bytes=max_bytes)
        except ArchiveRefused as error:
            raise TransferRefused(str(error)) from error
        return Pulled.from_answer(header, files)

    async def acknowledge(self, token: str, *, without: Iterable[str] = ()) -> None:
        """What was pulled under `token` is stored, but for the paths in `without`. An unknown token is no error: the
        next pull is complete."""
        await self._ask("acknowledge", token=token, without=list(without))

    async def dismiss(self) -> None:
        """Nothing more is wanted of the runtime: it ends as soon as somebody ends it, or at once if that was before.
        Raises AgentUnreachable, or AgentRefused by one of an older image."""
        await self._ask("dismiss")

    async def watch(self) -> AsyncIterator[AgentEvent]:
        """Events from now on, first one `kernel` event for each kernel there is. Raises AgentUnreachable when the
        agent stops answering."""
        queue: asyncio.Queue[AgentEvent] = asyncio.Queue()
        self._watchers.add(queue)
        try:
            await self._ask("watch", first=True)
            while True:
                try:
                    yield await asyncio.wait_for(queue.get(), WATCH_RENEWAL)
                except TimeoutError:
                    await self._ask("watch", first=False)
        finally:
            self._watchers.discard(queue)

    async def _kernel(self, verb: str, timeout: float, **arguments: Any) -> KernelState:
        header, _payload = await self._ask(verb, timeout=timeout, **arguments)
        return KernelState.from_header(header["kernel"])

    async def _ask(
        self, verb: str, *, payload: bytes = b"", timeout: float = TIMEOUT, **arguments: Any
    ) -> tuple[dict[str, Any], bytes]:
        socket = self._connected()
        number = next(self._numbers)
        reply: asyncio.Future[tuple[dict[str, Any], bytes]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = reply
        try:
            async with asyncio.timeout(timeout):
                await socket.send_multipart(wire.pack(self._key, {"id": number, "verb": verb, **arguments}, payload))
                header, body = await reply
        except (TimeoutError, zmq.ZMQError) as error:
            raise AgentUnreachable(f"{verb}: no answer from {self.endpoint.identity}") from error
        finally:
            self._waiting.pop(number, None)
        if not header.get("ok"):
            raise AgentRefused(str(header.get("code", "error")), str(header.get("message", "")))
        return header, body

    def _connected(self) -> zmq.asyncio.Socket:
        if self._socket is None:
            socket = zmq.asyncio.Context.instance().socket(zmq.DEALER)
            socket.linger = 0
            socket.setsockopt(zmq.RECONNECT_IVL, 20)
            socket.setsockopt(zmq.MAXMSGSIZE, wire.MAX_MESSAGE_BYTES)
            socket.curve_publickey, socket.curve_secretkey = zmq.curve_keypair()
            socket.curve_serverkey = self._keys.curve_public.encode()
            socket.connect(self.endpoint.agent_url)
            self._socket = socket
            self._reader = asyncio.create_task(self._read(socket))
        return self._socket

    async def _read(self, socket: zmq.asyncio.Socket) -> None:
        while True:
            frames = await socket.recv_multipart()
            try:
                header, payload = wire.unpack(self._key, frames)
            except wire.BadMessage:
                continue
            if "event" in header:
                self._tell(header)
                continue
            waiting = self._waiting.get(header.get("id", -1))
            if waiting is not None and not waiting.done():
                waiting.set_result((header, payload))

    def _tell(self, header: dict[str, Any]) -> None:
        try:
            kernel = KernelState.from_header(header["kernel"]) if header.get("kernel") else None
        except (KeyError, ValueError, TypeError):
            return
        event = AgentEvent(kind=str(header["event"]), kernel=kernel, status=header)
        for queue in self._watchers:
            queue.put_nowait(event)

    def _fail_waiting(self) -> None:
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(AgentUnreachable("connection closed"))
