"""A browser's WebSocket to the ASGI application, and a front end's half of the kernel protocol on it."""

from __future__ import annotations

import asyncio
import json
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from jupyter_client.session import Session

from runtimes.jupyter import frames, hosts
from runtimes.models import Workspace


class Socket:
    """`async with Socket(app, workspace, path, cookie) as socket:`; `socket.accepted` and `socket.closed` (a code)."""

    def __init__(self, app: Any, workspace: Workspace, path: str, cookie: str = "", **headers: str) -> None:
        origin = hosts.origin(workspace.slug)
        sent = {"host": urlsplit(origin).netloc, "origin": origin, "cookie": cookie, **headers}
        path, _mark, query = path.partition("?")
        self._scope = {
            "type": "websocket",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "scheme": "ws",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(key.encode(), value.encode()) for key, value in sent.items()],
            "subprotocols": [frames.PROTOCOL],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 8000),
            "state": {},
            "extensions": {},
        }
        self._app = app
        self._to_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.received: asyncio.Queue[bytes] = asyncio.Queue()
        self._settled = asyncio.Event()
        self.slow = asyncio.Event()
        self.slow.set()
        self.accepted = False
        self.closed: int | None = None

    async def __aenter__(self) -> Self:
        self._to_app.put_nowait({"type": "websocket.connect"})
        self.task = asyncio.create_task(self._app(self._scope, self._to_app.get, self._from_app))
        async with asyncio.timeout(30):
            await self._settled.wait()
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._to_app.put_nowait({"type": "websocket.disconnect", "code": 1005})
        async with asyncio.timeout(30):
            await self.task

    async def _from_app(self, message: dict[str, Any]) -> None:
        if message["type"] == "websocket.accept":
            self.accepted = True
        elif message["type"] == "websocket.send":
            await self.slow.wait()
            self.received.put_nowait(message["bytes"])
        elif message["type"] == "websocket.close":
            self.closed = message.get("code", 1000)
            # What a server tells the application next (ASGI, websocket disconnect).
            self._to_app.put_nowait({"type": "websocket.disconnect", "code": self.closed})
        self._settled.set()

    def send(self, data: bytes) -> None:
        self._to_app.put_nowait({"type": "websocket.receive", "bytes": data})

    async def ended(self) -> int | None:
        """The close code, once the application has closed the socket."""
        async with asyncio.timeout(30):
            await asyncio.shield(self.task)
        return self.closed


class FrontEnd:
    """Sends requests on a kernel socket and collects what comes back for them."""

    def __init__(self, socket: Socket, client: str) -> None:
        self.socket = socket
        self.session = Session(session=client)
        self.seen: list[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]] = []

    def request(self, kind: str, content: dict[str, Any], channel: str = "shell") -> str:
        message = self.session.msg(kind, content)
        parts = [self.session.pack(message[name]) for name in ("header", "parent_header", "metadata", "content")]
        self.socket.send(frames.pack(parts, channel))
        return str(message["header"]["msg_id"])

    def execute(self, code: str, **more: Any) -> str:
        content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": True}
        return self.request("execute_request", {**content, "stop_on_error": True, **more})

    async def next(self) -> tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]:
        """(channel, header, parent header, content) of the next message."""
        async with asyncio.timeout(60):
            channel, parts = frames.unpack(await self.socket.received.get())
        header, parent, _metadata, content = (json.loads(part) for part in parts[:4])
        self.seen.append((channel, header, parent, content))
        return self.seen[-1]

    async def until(self, kind: str, parent_id: str = "", **fields: Any) -> dict[str, Any]:
        """The content of the next message of that type (for that request, with those fields)."""
        while True:
            _channel, header, parent, content = await self.next()
            if header["msg_type"] != kind or (parent_id and parent.get("msg_id") != parent_id):
                continue
            if all(content.get(name) == value for name, value in fields.items()):
                return content

    async def run(self, code: str) -> tuple[dict[str, Any], str]:
        """The reply, and the text that was printed before idle."""
        message_id = self.execute(code)
        reply: dict[str, Any] | None = None
        idle, text = False, ""
        while reply is None or not idle:
            _channel, header, parent, content = await self.next()
            if parent.get("msg_id") != message_id:
                continue
            if header["msg_type"] == "execute_reply":
                reply = content
            elif header["msg_type"] == "stream":
                text += content["text"]
            elif header["msg_type"] == "status":
                idle = content["execution_state"] == "idle"
        return reply, text
