"""The servers and clients that `bench.socket` compares. Every kernel is a plain `ipykernel` of this interpreter."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
import urllib.request
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import websockets
from jupyter_client.session import DELIM, Session
from websockets.asyncio.client import ClientConnection

from deploy.local.services import free_port

PROTOCOL = "v1.kernel.websocket.jupyter.org"
PATIENCE_SECONDS = 120
TOKEN = "bench"
# The peer's own limits would cut the flood off, not carry it.
NO_LIMITS = [f"--ZMQChannelsWebsocketConnection.iopub_{kind}_rate_limit=0" for kind in ("msg", "data")]


@dataclass
class Run:
    """One execution: seconds to the reply and to idle, how much came, and what was printed."""

    reply: float
    idle: float
    messages: int
    size: int
    text: str


class Peer(ABC):
    """Something that runs code in a kernel. `pid` is the process between, 0 for none."""

    def __init__(self, name: str, pid: int) -> None:
        self.name = name
        self._pid = pid

    def cpu_seconds(self) -> float:
        """Processor time of the process between, so far."""
        if not self._pid:
            return 0.0
        # User and system time, fields 14 and 15, in clock ticks (proc_pid_stat(5)); the name before may hold spaces.
        fields = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @abstractmethod
    async def send(self, parts: list[bytes]) -> None:
        """One request on the shell channel."""

    @abstractmethod
    async def receive(self) -> list[bytes]:
        """header, parent header, metadata, content of whatever comes next."""

    @abstractmethod
    async def close(self) -> None:
        """Lets go."""

    async def run(self, code: str, session: Session) -> Run:
        """Executes `code` and waits for reply and idle."""
        content = {"code": code, "silent": False, "store_history": False, "user_expressions": {}}
        message = session.msg("execute_request", {**content, "allow_stdin": False, "stop_on_error": True})
        mine = message["header"]["msg_id"].encode()
        begun = time.perf_counter()
        await self.send([session.pack(message[part]) for part in ("header", "parent_header", "metadata", "content")])
        found = Run(0, 0, 0, 0, "")
        text: list[str] = []
        while not (found.reply and found.idle):
            parts = await self.receive()
            if mine not in parts[1]:
                continue
            found.messages += 1
            found.size += sum(map(len, parts))
            if b'"execute_reply"' in parts[0]:
                found.reply = time.perf_counter() - begun
            elif b'"status"' in parts[0] and b'"idle"' in parts[3]:
                found.idle = time.perf_counter() - begun
            elif b'"stream"' in parts[0]:
                text.append(json.loads(parts[3])["text"])
        found.text = "".join(text)
        return found


class OverSocket(Peer):
    """A browser's way: one WebSocket to a server."""

    def __init__(self, name: str, pid: int, connection: ClientConnection) -> None:
        super().__init__(name, pid)
        self._connection = connection

    async def send(self, parts: list[bytes]) -> None:
        from runtimes.jupyter import frames

        await self._connection.send(frames.pack(parts, "shell"))

    async def receive(self) -> list[bytes]:
        frame = await self._connection.recv(decode=False)
        # As the protocol says, without what our own reader refuses: the same cost for each peer.
        count = int.from_bytes(frame[:8], "little")
        at = [int.from_bytes(frame[8 * (i + 1) : 8 * (i + 2)], "little") for i in range(count)]
        return [frame[at[i] : at[i + 1]] for i in range(1, count - 1)]

    async def close(self) -> None:
        await self._connection.close()


class OverZmq(Peer):
    """The limit: a client at the kernel's own sockets, nothing between. Takes the bridge's own links."""

    def __init__(self, name: str, connection: dict[str, Any], client: str) -> None:
        from runtimes.jupyter.links import Links

        super().__init__(name, 0)
        self._links = Links(connection, client)
        self._inbox: asyncio.Queue[list[bytes]] = asyncio.Queue()
        self._tasks = [asyncio.create_task(self._read(channel)) for channel in ("shell", "iopub")]

    async def _read(self, channel: str) -> None:
        while True:
            frames = await self._links.sockets[channel].recv_multipart()
            self._inbox.put_nowait(frames[frames.index(DELIM) + 2 :])

    async def send(self, parts: list[bytes]) -> None:
        await self._links.send("shell", parts)

    async def receive(self) -> list[bytes]:
        return await self._inbox.get()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._links.close()


async def connect(url: str, client: str, **more: Any) -> ClientConnection:
    """A kernel socket as a browser opens it."""
    options: dict[str, Any] = {"compression": None, "max_size": None, "max_queue": None, "ping_interval": None}
    return await websockets.connect(
        f"{url}session_id={client}", subprotocols=[websockets.Subprotocol(PROTOCOL)], **options, **more
    )


class Stock:
    """A stock jupyter_server in a folder of its own, with or without our one-line change."""

    def __init__(self, folder: Path, *, no_delay: bool) -> None:
        self.port = free_port()
        places = {f"JUPYTER_{kind}_DIR": str(folder / kind.lower()) for kind in ("CONFIG", "DATA", "RUNTIME")}
        module = "bench._stock_without_nagle" if no_delay else "jupyter_server"
        command = [
            sys.executable, "-m", module, "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={self.port}",
            f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={folder}", *NO_LIMITS,
        ]  # fmt: skip
        folder.mkdir()
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(command, env=os.environ | places, stdout=log, stderr=log)

    async def kernel(self) -> str:
        """A new kernel's id, once the server answers."""
        for _attempt in range(PATIENCE_SECONDS * 4):
            try:
                return await asyncio.to_thread(self._start)
            except OSError:
                await asyncio.sleep(0.25)
        raise RuntimeError("jupyter_server did not start")

    def _start(self) -> str:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/api/kernels?token={TOKEN}", data=b'{"name": "python3"}', method="POST"
        )
        with urllib.request.urlopen(request) as answer:
            return str(json.load(answer)["id"])

    async def peer(self, name: str, client: str) -> Peer:
        """A browser at a new kernel."""
        url = f"ws://127.0.0.1:{self.port}/api/kernels/{await self.kernel()}/channels?token={TOKEN}&"
        return OverSocket(name, self.process.pid, await connect(url, client))
