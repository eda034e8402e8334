"""`/api/kernels/<id>/channels`: a browser's socket on one side, a kernel's ZMQ sockets on the other.

Any process can bridge any kernel. The socket lives as long as the page; the kernel behind it may start, be restarted,
crash and come again meanwhile. Cells run by `/execute`; what goes through here is the rest: completion, inspection,
widgets, answers to `input()`, and execution by whatever does not use the shared document.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from typing import Any
from urllib.parse import parse_qs

from django.utils import translation
from django.utils.translation import gettext

from runtimes.connection import kernel_reached
from runtimes.errors import KernelRefused, KeyMissing, RuntimeFailed, StillWaiting
from runtimes.jupyter import kernels
from runtimes.jupyter.entry import Entry, Scope, entry_of
from runtimes.jupyter.errors import NotFound
from runtimes.jupyter.frames import PROTOCOL, Malformed, pack, unpack
from runtimes.jupyter.gate import CLOSE_FORBIDDEN, Receive, Send
from runtimes.jupyter.kernel_life import KernelLife
from runtimes.jupyter.links import REQUEST_CHANNELS, Frames, Links, receive_many, split
from runtimes.jupyter.off_loop import off_loop
from runtimes.jupyter.outbox import Outbox
from runtimes.jupyter.replying import Awaited, publication
from runtimes.jupyter.vitals import Vitals
from runtimes.models import Kernel

CLOSE_NO_KERNEL, CLOSE_NO_PROTOCOL, CLOSE_MALFORMED, CLOSE_TOO_MUCH = 4404, 4406, 1007, 1009
# A kernel older than JEP 65 does not greet; then messages go on this long after its iopub was reached.
WELCOME_SECONDS = 5.0
WAITING_BYTES = 16 << 20
_SESSION = re.compile(r"[A-Za-z0-9._-]{1,64}")
# Output of runs that this page did not ask for is in the shared document already.
_OUTPUT = (b'"stream"', b'"display_data"', b'"update_display_data"', b'"execute_result"')


class KernelSocket:
    """The ASGI application of the route."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        entry = entry_of(scope)
        await receive()
        refused = await self._refusal(scope, entry)
        if refused:
            await send({"type": "websocket.close", "code": refused})
            return
        kernel = await off_loop(kernels.find, entry.workspace_id, scope["path_params"]["kernel_id"])
        await send({"type": "websocket.accept", "subprotocol": PROTOCOL})
        await Bridge(kernel, _client(scope), entry, receive, send).run()

    async def _refusal(self, scope: Scope, entry: Entry) -> int | None:
        if not entry.may_write:
            return CLOSE_FORBIDDEN
        if PROTOCOL not in scope["subprotocols"]:
            return CLOSE_NO_PROTOCOL
        try:
            await off_loop(kernels.find, entry.workspace_id, scope["path_params"]["kernel_id"])
        except NotFound:
            return CLOSE_NO_KERNEL
        return None


def _client(scope: Scope) -> str:
    """The front end's session id for this connection, if it is one."""
    asked = parse_qs(scope["query_string"].decode("latin-1")).get("session_id", [""])[0]
    return asked if _SESSION.fullmatch(asked) else secrets.token_hex(16)


class Bridge:
    """One page and one kernel, for the life of the page's socket."""

    def __init__(self, kernel: Kernel, client: str, entry: Entry, receive: Receive, send: Send) -> None:
        self._client = client
        self._entry = entry
        self._receive = receive
        self._send = send
        self._life = KernelLife(kernel)
        self._vitals = Vitals(kernel)
        self._outbox = Outbox(send, self._dropped_notice)
        self._awaited = Awaited(self._outbox.put)
        self._links: Links | None = None
        self._reached, self._live, self._welcomed = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._waiting: list[tuple[str, Frames]] = []
        self._waiting_bytes = 0

    async def run(self) -> None:
        """Until the page leaves or the kernel is gone for good."""
        tasks = [asyncio.create_task(work) for work in (self._inbound(), self._lives(), self._outbox.drain())]
        tasks.append(asyncio.create_task(self._vitals.keep()))
        try:
            done, _pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._awaited.close()

    # --- the kernel's lives

    async def _lives(self) -> None:
        number = 0
        while reached := await self._ready():
            self._links = Links(reached, self._client)
            try:
                await self._one_life(self._links, first=not number)
            finally:
                for event in (self._reached, self._live, self._welcomed):
                    event.clear()
                self._links.close()
                self._links = None
            number += 1
            if await self._life.crashed():
                self._outbox.put(self._status("restarting", reason=self._life.reason(self._entry.language)))
        self._outbox.put(self._status("dead", reason=self._life.reason(self._entry.language)))
        await self._outbox.emptied(5)
        await self._send({"type": "websocket.close", "code": 1000})

    async def _ready(self) -> dict[str, Any] | None:
        """Waits for the kernel to run: how it is reached. None when it never will run again."""
        patience = 0.5
        while True:
            try:
                await self._life.ready(patience)
                return await kernel_reached(self._life.kernel)
            except (StillWaiting, KeyMissing):
                if patience < 1:
                    self._outbox.put(self._status("starting"))
                patience = 30
            except (RuntimeFailed, KernelRefused):
                return None

    async def _one_life(self, links: Links, *, first: bool) -> None:
        """Carries messages until the kernel's sockets go away."""
        pumps = [asyncio.create_task(self._replies(links, channel)) for channel in REQUEST_CHANNELS]
        pumps += [asyncio.create_task(self._publications(links)), asyncio.create_task(self._opening(links, first))]
        gone = asyncio.create_task(self._disconnected(links))
        try:
            done, _pending = await asyncio.wait([*pumps[:-1], gone], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (*pumps, gone):
                task.cancel()
            await asyncio.gather(*pumps, gone, return_exceptions=True)

    async def _disconnected(self, links: Links) -> None:
        while await links.next_connection_event():
            self._reached.set()

    async def _opening(self, links: Links, first: bool) -> None:
        # What a kernel is asked before iopub is there, it answers before anybody hears that it is idle again.
        await self._reached.wait()
        try:
            async with asyncio.timeout(WELCOME_SECONDS):
                await self._live.wait()
            late = False
        except TimeoutError:
            self._live.set()
            late = True
        if not first:
            # Pages that did not ask for the restart learn from what this makes the kernel publish that it is idle.
            await links.send("control", _parts(links, "kernel_info_request"))
        while self._waiting:
            channel, parts = self._waiting.pop(0)
            await links.send(channel, parts)
        self._waiting_bytes = 0
        if late:
            # On a crowded machine. Until now nothing was heard, so pages may believe that the kernel still works.
            await self._welcomed.wait()
            await links.send("control", _parts(links, "kernel_info_request"))

    # --- from the kernel

    async def _replies(self, links: Links, channel: str) -> None:
        while True:
            for frames in await receive_many(links.sockets[channel]):
                if parts := split(frames):
                    self._outbox.put(pack(parts, channel))
                    if channel == "shell":
                        self._awaited.replied(parts)

    async def _publications(self, links: Links) -> None:
        client = self._client.encode()
        while True:
            for frames in await receive_many(links.sockets["iopub"]):
                parts = split(frames)
                if parts is None:
                    continue
                if b'"iopub_welcome"' in parts[0]:
                    self._live.set()
                    self._welcomed.set()
                    continue
                if b'"status"' in parts[0]:
                    self._vitals.heard(parts[3])
                    self._awaited.status(parts)
                is_output = any(kind in parts[0] for kind in _OUTPUT)
                if not is_output:
                    self._outbox.put(pack(parts, "iopub"))
                elif client in parts[1]:
                    self._outbox.put_output(pack(parts, "iopub"), parts[1])

    # --- from the page

    async def _inbound(self) -> None:
        while True:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                return
            try:
                channel, parts = unpack(message.get("bytes"))
            except Malformed:
                channel, parts = "", []
            if channel not in REQUEST_CHANNELS:
                await self._send({"type": "websocket.close", "code": CLOSE_MALFORMED})
                return
            self._vitals.used(executes=channel == "shell" and b'"execute_request"' in parts[0])
            if channel == "shell":
                self._awaited.asked(parts)
            if not await self._forward(channel, parts):
                await self._send({"type": "websocket.close", "code": CLOSE_TOO_MUCH})
                return

    async def _forward(self, channel: str, parts: Frames) -> bool:
        """Sends or keeps a message until the kernel hears it. False when too much is kept already."""
        if self._links is not None and self._live.is_set() and not self._waiting:
            await self._links.send(channel, parts)
            return True
        self._waiting.append((channel, parts))
        self._waiting_bytes += sum(map(len, parts))
        return self._waiting_bytes <= WAITING_BYTES

    # --- what we say ourselves

    def _status(self, state: str, *, reason: str = "") -> bytes:
        content = {"execution_state": state} | ({"reason": reason} if reason else {})
        return publication(self._client, "status", content, b"{}")

    def _dropped_notice(self, count: int, parent: bytes) -> bytes:
        with translation.override(self._entry.language):
            text = gettext("[%(count)d pieces of output were left out: this browser could not keep up]\n")
        return publication(self._client, "stream", {"name": "stderr", "text": text % {"count": count}}, parent)


def _parts(links: Links, kind: str) -> Frames:
    message = links.session.msg(kind, {})
    # Not the page's session: the reply is ours.
    message["header"]["session"] = secrets.token_hex(8)
    encode: Any = links.session.pack
    return [encode(message[name]) for name in ("header", "parent_header", "metadata", "content")]
