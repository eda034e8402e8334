"""The trusted ends of a job's two sockets: its kernel's messages, and its agent's answers.

What comes in was written where student code runs: it is bounded and checked here, and is evidence, not truth.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty
from typing import Any, cast, override

import zmq
from jupyter_client.client import KernelClient
from jupyter_client.session import Session

from runtimes.agent import wire
from runtimes.agent.packets import PACKET_BYTES, Assembler, BadPacket, split
from runtimes.agent_client import AgentClient
from runtimes.endpoint import Endpoint
from runtimes.keys import Keys

SHELL, IOPUB = "shell", "iopub"
# So much may wait for a reader before the kernel has to.
MOST_WAITING = 500
# The sockets are ours alone: nothing is encrypted, signed, or listened for anywhere else.
_NO_KEYS = Keys(hmac_key="", curve_public="", curve_secret="")
_NOWHERE = Endpoint("ipc", "", "job")


class Channel:
    """One channel of a `WiredClient`, as nbclient uses it."""

    def __init__(self, name: str, client: WiredClient) -> None:
        self._name, self._client = name.encode(), client
        self._waiting: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    def put(self, message: dict[str, Any]) -> bool:
        """Keeps a message for the reader; False when enough are waiting."""
        self._waiting.put_nowait(message)
        return self._waiting.qsize() < MOST_WAITING

    async def get_msg(self, timeout: float | None = None) -> dict[str, Any]:
        """The next message. Raises Empty after `timeout` seconds."""
        try:
            return self._waiting.get_nowait()
        except asyncio.QueueEmpty:
            self._client.resume()
        try:
            async with asyncio.timeout(timeout):
                return await self._waiting.get()
        except TimeoutError:
            raise Empty from None

    def send(self, message: dict[str, Any]) -> None:
        """Sends a request."""
        self._client.send(message)


class WiredClient:
    """A client of a job's kernel; looks like an `AsyncKernelClient` whose channels are open.

    A message of more than `max_message_bytes` ends what is heard on iopub: its output is lost, as it would be with a
    kernel that drops it."""

    allow_stdin = False

    def __init__(self, end: socket.socket, max_message_bytes: int) -> None:
        self.session = Session()
        # Said afterwards: jupyter_client warns of a session that is made without one.
        self.session.key = b""
        self.shell_channel, self.iopub_channel = Channel(SHELL, self), Channel(IOPUB, self)
        self._end = end
        self._end.setblocking(False)
        self._assembler = Assembler(max_message_bytes)
        self._loop = asyncio.get_running_loop()
        self._unsent: list[bytes] = []
        self._reading = self._deaf = self._closed = False
        self.resume()

    def execute(self, code: str, **options: Any) -> str:
        """Asks for `code` to be run, with the options of `KernelClient.execute`; the request's id."""
        return KernelClient.execute(cast("KernelClient", self), code, **options)

    def kernel_info(self) -> str:
        """Asks the kernel what it is; the request's id."""
        return KernelClient.kernel_info(cast("KernelClient", self))

    async def execute_interactive(
        self, code: str, *, output_hook: Callable[[dict[str, Any]], Any], timeout: float | None = None, **options: Any
    ) -> dict[str, Any]:
        """Runs `code`, hands every message about it to `output_hook`, and returns the reply. Raises TimeoutError."""
        asked = self.execute(code, **options)
        async with asyncio.timeout(timeout):
            while True:
                message = await self.iopub_channel.get_msg()
                if message["parent_header"].get("msg_id") != asked:
                    continue
                output_hook(message)
                if message["msg_type"] == "status" and message["content"].get("execution_state") == "idle":
                    break
            while (reply := await self.shell_channel.get_msg())["parent_header"].get("msg_id") != asked:
                pass
        return reply

    def resume(self) -> None:
        """Goes on reading; whoever waits for a message wants it."""
        if not self._reading and not self._closed:
            self._reading = True
            self._loop.add_reader(self._end, self._readable)

    def send(self, message: dict[str, Any]) -> None:
        """Sends a request on the shell channel, sooner or later."""
        self._unsent.extend(split(self.session.serialize(message)))
        self._write()

    def stop_channels(self) -> None:
        """Closes the connection."""
        if not self._closed:
            self._pause()
            self._closed = True
            self._loop.remove_writer(self._end)
            self._end.close()

    def _write(self) -> None:
        while self._unsent:
            try:
                self._end.send(self._unsent[0])
            except BlockingIOError:
                self._loop.add_writer(self._end, self._write)
                return
            except OSError:
                # The kernel is gone, which its agent will tell.
                self._unsent.clear()
                break
            del self._unsent[0]
        self._loop.remove_writer(self._end)

    def _pause(self) -> None:
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._end)

    def _readable(self) -> None:
        # Everything that is there, but for a kernel that never stops: others have their turn.
        for _packet in range(MOST_WAITING):
            try:
                packet = self._end.recv(PACKET_BYTES)
            except BlockingIOError:
                return
            except OSError:
                packet = b""
            if not packet:
                self._closed = True
                self._pause()
                return
            if not self._take(packet):
                self._pause()
                return

    def _take(self, packet: bytes) -> bool:
        """False when the readers have enough for now."""
        try:
            frames = None if self._deaf else self._assembler.feed(packet)
        except BadPacket:
            self._deaf = True
            return True
        if frames is None:
            return True
        channel = {b"shell": self.shell_channel, b"iopub": self.iopub_channel}.get(frames[0])
        if channel is None:
            return True
        try:
            _identities, parts = self.session.feed_identities(frames[1:])
            message = self.session.deserialize(parts)
        except Exception:  # noqa: BLE001 - whatever it is, it is no message
            return True
        return channel.put(message)


class PacketSocket:
    """A desk's end, as `AgentClient` uses its ZMQ socket."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._end = end
        self._assembler = Assembler(wire.MAX_MESSAGE_BYTES)

    async def send_multipart(self, frames: Sequence[bytes]) -> None:
        """Sends one message. Raises ZMQError when nobody is there."""
        loop = asyncio.get_running_loop()
        try:
            for packet in split(frames):
                await loop.sock_sendall(self._end, packet)
        except OSError as error:
            raise zmq.ZMQError(errno.EPIPE, str(error)) from error

    async def recv_multipart(self) -> list[bytes]:
        """The next message. Raises ZMQError when nobody is there."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                packet = await loop.sock_recv(self._end, PACKET_BYTES)
                frames = self._assembler.feed(packet)
            except (OSError, BadPacket) as error:
                raise zmq.ZMQError(errno.EPIPE, str(error)) from error
            if frames is not None:
                return frames

    def close(self, linger: int = 0) -> None:
        """Ends the connection."""
        self._end.close()


class JobAgent(AgentClient):
    """Asks a job's pid 1: the same questions and answers as with any runtime's agent."""

    def __init__(self, desk: socket.socket) -> None:
        super().__init__(_NOWHERE, _NO_KEYS)
        self._desk = PacketSocket(desk)

    @override
    def _connected(self) -> Any:
        if self._reader is None:
            self._socket = cast("Any", self._desk)
            self._reader = asyncio.create_task(self._read(cast("Any", self._desk)))
        return self._desk

    @override
    async def _read(self, socket: Any) -> None:
        with suppress(zmq.ZMQError):
            await super()._read(socket)
        self._fail_waiting()
