"""The executor's sockets to one kernel: requests out, what belongs to runs back in, many messages at a time."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from runtimes.jupyter.links import Frames, Links, receive_many, split

#: (channel, messages): each message has `msg_type`, `parent` (the id it answers) and `content`.
Handler = Callable[[str, list[dict[str, Any]]], Awaitable[None]]

# A flood is taken in larger gulps: what a page shows need not change more often.
_PACE_SECONDS = 0.01
_GREETING_SECONDS = 30.0

log = logging.getLogger(__name__)


class KernelSilent(Exception):
    """The kernel's sockets are there, but nothing answers."""


class KernelLink:
    """`await link.open()`, `send`, `close()`. `handle` is called from one task a channel, in order."""

    def __init__(self, connection: dict[str, Any], client: str, handle: Handler) -> None:
        self._links = Links(connection, client)
        self._handle = handle
        self._greeted = asyncio.Event()
        self._tasks = [asyncio.create_task(self._pump(channel)) for channel in ("shell", "stdin", "iopub")]

    async def open(self) -> None:
        """Returns when nothing that the kernel says is missed (JEP 65). Raises KernelSilent."""
        try:
            async with asyncio.timeout(_GREETING_SECONDS):
                await self._greeted.wait()
        except TimeoutError as error:
            raise KernelSilent from error

    async def send(self, channel: str, kind: str, content: dict[str, Any], *, msg_id: str, cell_id: str = "") -> None:
        """One request with an id of our choice."""
        session = self._links.session
        header = {**session.msg_header(kind), "msg_id": msg_id}
        metadata = {"cellId": cell_id} if cell_id else {}
        parts = [session.pack(part) for part in (header, {}, metadata, content)]
        await self._links.send(channel, parts)

    async def close(self) -> None:
        """Frees the sockets."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._links.close()

    async def _pump(self, channel: str) -> None:
        socket = self._links.sockets[channel]
        last = 0.0
        while True:
            if time.monotonic() - last < _PACE_SECONDS:
                await asyncio.sleep(_PACE_SECONDS)
            batch = await receive_many(socket)
            last = time.monotonic()
            messages = [message for frames in batch if (message := self._read(frames))]
            try:
                await self._handle(channel, messages)
            except Exception:
                # One message that cannot be handled must not silence the kernel for good.
                log.exception("messages of a kernel could not be handled")

    def _read(self, frames: Frames) -> dict[str, Any] | None:
        parts = split(frames)
        if parts is None:
            return None
        try:
            kind = json.loads(parts[0])["msg_type"]
            if kind == "iopub_welcome":
                self._greeted.set()
                return None
            parent = json.loads(parts[1]).get("msg_id", "")
            return {"msg_type": kind, "parent": parent, "content": json.loads(parts[3])}
        except (ValueError, KeyError, TypeError, AttributeError):
            # Student code has the kernel: whatever it sends is data, and this is none.
            return None
