"""What waits to go to one browser. A slow browser costs it output, never a status or a reply, and never our memory.

Kernels' sockets are always drained: a PUB socket drops silently when nobody reads, also the `idle` that ends a run.
What the browser cannot take is dropped here, where its kind is known.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from runtimes.jupyter.gate import Send

BUDGET_BYTES = 16 << 20


class Outbox:
    """A queue of binary socket messages. `notice(count, parent)` makes the message that tells what was dropped."""

    def __init__(self, send: Send, notice: Callable[[int, bytes], bytes]) -> None:
        self._send = send
        self._notice = notice
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._dropped = 0
        self._dropped_parent = b"{}"
        self._wake = asyncio.Event()

    def put(self, message: bytes) -> None:
        """Sends `message` after what waits already, however much that is."""
        self._waiting.append(message)
        self._size += len(message)
        self._wake.set()

    def put_output(self, message: bytes, parent: bytes) -> None:
        """Sends `message`, or counts it as dropped when more than the budget waits. parent: its parent header."""
        if self._size > BUDGET_BYTES:
            self._dropped += 1
            self._dropped_parent = parent
        else:
            self.put(message)

    async def drain(self) -> None:
        """Sends what waits, for ever."""
        while True:
            while self._waiting:
                message = self._waiting.popleft()
                await self._send({"type": "websocket.send", "bytes": message})
                self._size -= len(message)
            if self._dropped:
                count, self._dropped = self._dropped, 0
                self.put(self._notice(count, self._dropped_parent))
                continue
            self._wake.clear()
            await self._wake.wait()

    async def emptied(self, timeout: float) -> None:
        """Waits until all was handed to the server, at most `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                while self._size:
                    await asyncio.sleep(0.01)
        except TimeoutError:
            return
