"""Messages of our own making, and the `idle` that a page waits for when a kernel's was lost."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from runtimes.jupyter.frames import pack
from runtimes.jupyter.links import Frames

# After a reply, the idle of the same request is on its way; PUB sockets may drop it.
IDLE_GRACE_SECONDS = 5.0
_MOST_WATCHED = 1000


def publication(client: str, kind: str, content: dict[str, Any], parent: bytes) -> bytes:
    """An iopub message for a page's socket (Jupyter messaging 5.4, §general message format)."""
    header = {
        "msg_id": secrets.token_hex(16),
        "msg_type": kind,
        "session": client,
        "username": "",
        "date": datetime.now(UTC).isoformat(),
        "version": "5.4",
    }
    parts = [json.dumps(header).encode(), parent, b"{}", json.dumps(content).encode()]
    return pack(parts, "iopub")


def _field(raw: bytes, name: str) -> str:
    """A text field of a JSON object, "" for anything else: kernels are student code, pages may be."""
    try:
        value = json.loads(raw)
        found = value.get(name) if isinstance(value, dict) else None
    except ValueError:
        return ""
    return found if isinstance(found, str) else ""


class Awaited:
    """Requests of one page between asking, reply and idle. A page with a reply and no idle looks busy for ever."""

    def __init__(self, put: Callable[[bytes], None]) -> None:
        self._put = put
        self._idle_seen: dict[str, bool] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def asked(self, parts: Frames) -> None:
        """The page sent a request."""
        if len(self._idle_seen) >= _MOST_WATCHED:
            self._idle_seen.pop(next(iter(self._idle_seen)))
        if message_id := _field(parts[0], "msg_id"):
            self._idle_seen[message_id] = False

    def status(self, parts: Frames) -> None:
        """The kernel published a status."""
        if b'"idle"' not in parts[3]:
            return
        message_id = _field(parts[1], "msg_id")
        if message_id in self._idle_seen:
            self._idle_seen[message_id] = True
        if timer := self._timers.pop(message_id, None):
            timer.cancel()

    def replied(self, parts: Frames) -> None:
        """The kernel answered a request: from now on its idle is due."""
        message_id = _field(parts[1], "msg_id")
        if self._idle_seen.pop(message_id, True):
            return
        loop = asyncio.get_running_loop()
        self._timers[message_id] = loop.call_later(IDLE_GRACE_SECONDS, self._overdue, message_id, parts[1])

    def _overdue(self, message_id: str, parent: bytes) -> None:
        self._timers.pop(message_id, None)
        client = _field(parent, "session")
        self._put(publication(client, "status", {"execution_state": "idle"}, parent))

    def close(self) -> None:
        """Forgets everything."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
