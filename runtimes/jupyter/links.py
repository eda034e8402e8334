"""ZMQ sockets to one kernel, as one browser's client. Any process can have them: it takes the row and derived keys.

Sources: jupyter_client (connection files, Curve), Jupyter messaging 5.4, JEP 65 (iopub_welcome).
"""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import zmq
import zmq.asyncio
from jupyter_client.session import DELIM, Session
from zmq.utils.monitor import parse_monitor_message

Frames = list[bytes]

REQUEST_CHANNELS = ("shell", "control", "stdin")
# libzmq's default of 1023 sockets is about 170 browsers a process.
MAX_SOCKETS = 65_536
_HEARTBEAT_MS, _HEARTBEAT_TIMEOUT_MS = 5_000, 15_000
# One kernel message may not fill our memory: the largest that a browser is sent anyway.
_MOST_MESSAGE_BYTES = 128 << 20


def context() -> zmq.asyncio.Context:
    """The process's ZMQ context, with room for every browser that a process serves."""
    shared = zmq.asyncio.Context.instance()
    if shared.get(zmq.MAX_SOCKETS) < MAX_SOCKETS:
        shared.set(zmq.MAX_SOCKETS, MAX_SOCKETS)
    return shared


def split(frames: Frames) -> Frames | None:
    """[header, parent header, metadata, content, *buffers] of a wire message; None for what is no message.

    Signatures are not looked at: only the kernel has the keys of its sockets, and student code has the kernel."""
    try:
        parts = frames[frames.index(DELIM) + 2 :]
    except ValueError:
        return None
    return parts if len(parts) >= 4 else None


class Links:
    """shell, control, stdin and iopub of a kernel. `connection` is a connection file's content with Curve keys."""

    def __init__(self, connection: dict[str, Any], client: str) -> None:
        self._connection = connection
        # Not the client's id alone: a page that reconnects would meet its own old socket under that name.
        identity = f"{client}.{uuid.uuid4().hex[:8]}".encode()
        self.session = Session(
            key=connection["key"].encode(), signature_scheme=connection["signature_scheme"], session=client
        )
        self.sockets: dict[str, zmq.asyncio.Socket] = {}
        for channel in REQUEST_CHANNELS:
            self.sockets[channel] = self._open(zmq.DEALER, channel, identity)
        self._subscribe(f"w-{uuid.uuid4().hex}".encode())

    def _subscribe(self, probe: bytes) -> None:
        iopub = self._make(zmq.SUB)
        events = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED
        self._monitor = iopub.get_monitor_socket(events)
        iopub.subscribe(b"")
        # The kernel greets new topics only. A topic of our own is new each time: its greeting proves that all is heard.
        iopub.subscribe(probe)
        iopub.connect(self._url("iopub"))
        self.sockets["iopub"] = iopub

    def _make(self, kind: int) -> zmq.asyncio.Socket:
        socket = context().socket(kind)
        socket.linger = 0
        socket.sndhwm = socket.rcvhwm = 0
        socket.setsockopt(zmq.HEARTBEAT_IVL, _HEARTBEAT_MS)
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, _HEARTBEAT_TIMEOUT_MS)
        socket.setsockopt(zmq.MAXMSGSIZE, _MOST_MESSAGE_BYTES)
        socket.setsockopt(zmq.RECONNECT_IVL, 20)
        if self._connection.get("curve_publickey"):
            public, secret = self._connection["curve_publickey"], self._connection["curve_secretkey"]
            socket.curve_serverkey = socket.curve_publickey = public.encode()
            socket.curve_secretkey = secret.encode()
        return socket

    def _open(self, kind: int, channel: str, identity: bytes) -> zmq.asyncio.Socket:
        socket = self._make(kind)
        socket.identity = identity
        socket.connect(self._url(channel))
        return socket

    def _url(self, channel: str) -> str:
        connection, port = self._connection, self._connection[f"{channel}_port"]
        if connection["transport"] == "ipc":
            return f"ipc://{connection['ip']}-{port}"
        return f"tcp://{connection['ip']}:{port}"

    async def send(self, channel: str, parts: Frames) -> None:
        """A message's parts (header, parent header, metadata, content, buffers), signed, to the kernel."""
        await self.sockets[channel].send_multipart([DELIM, self.session.sign(parts[:4]), *parts])

    async def next_connection_event(self) -> bool:
        """True when iopub has (re)connected, False when the kernel's side went away."""
        while True:
            event = parse_monitor_message(await self._monitor.recv_multipart())
            if event["event"] == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                return True
            if event["event"] == zmq.EVENT_DISCONNECTED:
                return False

    def close(self) -> None:
        """Frees every socket, the monitor too (it leaks otherwise)."""
        self.sockets["iopub"].disable_monitor()
        self._monitor.close(0)
        for socket in self.sockets.values():
            socket.close(0)


async def receive_many(socket: zmq.asyncio.Socket, most_bytes: int = 1 << 20) -> list[Frames]:
    """Messages that are there, at least one, about `most_bytes` at most. One wake-up a batch, not one a message."""
    await socket.poll()
    plain: zmq.Socket[bytes] = zmq.Socket.shadow(socket.underlying)
    batch: list[Frames] = []
    size = 0
    while size < most_bytes:
        try:
            frames = plain.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            break
        batch.append(frames)
        size += sum(map(len, frames))
    # A flood must not keep the loop from everybody else.
    await asyncio.sleep(0)
    return batch
