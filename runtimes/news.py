"""Changes of status, told to every listener; a slow listener keeps only the last one of each runtime."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from runtimes.provider import Status


class Listener:
    """What one listener has not read yet."""

    def __init__(self) -> None:
        self._unread: dict[str, Status] = {}
        self._closed = False
        self._woken = asyncio.Event()

    def put(self, name: str, status: Status) -> None:
        """Replaces an unread status of the same runtime."""
        self._unread.pop(name, None)
        self._unread[name] = status
        self._woken.set()

    def close(self) -> None:
        """No more will come."""
        self._closed = True
        self._woken.set()

    async def __aiter__(self) -> AsyncIterator[tuple[str, Status]]:
        while True:
            while self._unread:
                name = next(iter(self._unread))
                yield name, self._unread.pop(name)
            if self._closed:
                return
            self._woken.clear()
            await self._woken.wait()


class News:
    """All listeners."""

    def __init__(self) -> None:
        self._listeners: set[Listener] = set()

    def tell(self, name: str, status: Status) -> None:
        """Tells everyone."""
        for listener in self._listeners:
            listener.put(name, status)

    @asynccontextmanager
    async def subscribe(self) -> AsyncIterator[Listener]:
        """What happens from now on."""
        listener = Listener()
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    def close(self) -> None:
        """Every listener's iteration ends."""
        for listener in self._listeners:
            listener.close()
