"""Wakes other processes. Rows are the truth: a lost message costs latency, never correctness.

Embedded: one Unix datagram socket a process and event loop in `RUN_DIR`/bus; production: Redis pub/sub. Both look the
same from here: `publish(topic, payload)` and `subscribe(*topics)`. A topic that ends in `*` stands for all that begin
so. Every listener must also look at the rows on a timer.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self
from weakref import WeakKeyDictionary

from django.conf import settings
from django.db import transaction

from runtimes.buses import Listener, matches
from runtimes.buses.datagram import DatagramListener, send, send_async
from runtimes.buses.redis import RedisListener, redis_publish, redis_publish_sync

QUEUE_LENGTH = 2000

_listeners: WeakKeyDictionary[asyncio.AbstractEventLoop, Listener] = WeakKeyDictionary()


async def publish(topic: str, payload: bytes = b"") -> None:
    """Tells every subscriber of `topic` in any process. Never raises for a bus that is down: rows are the truth."""
    if settings.REDIS_URL:
        await redis_publish(topic, payload)
    else:
        await send_async(topic, payload)


def publish_sync(topic: str, payload: bytes = b"") -> None:
    """`publish` for code without an event loop."""
    if settings.REDIS_URL:
        redis_publish_sync(topic, payload)
    else:
        send(topic, payload)


def publish_on_commit(topic: str, payload: bytes = b"") -> None:
    """`publish_sync` once the caller's transaction is committed: whoever wakes sees its rows."""
    transaction.on_commit(lambda: publish_sync(topic, payload))


def subscribe(*topics: str) -> Subscription:
    """Messages of `topics` from now on, for `async for topic, payload in …`; needs a running event loop.

    Close it, or use it as `async with`. On Redis, `await subscription.ready()` returns when nothing is missed."""
    return Subscription(topics)


class Subscription:
    """An async iterator of (topic, payload). When its reader is slow the oldest messages are dropped."""

    def __init__(self, topics: tuple[str, ...]) -> None:
        self.topics = set(topics)
        self._queue: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue(QUEUE_LENGTH)
        self._listener = _listener()
        self._listener.add(self)

    async def ready(self) -> None:
        """Returns when every message published from now on will arrive."""
        await self._listener.ready(self)

    def add(self, topic: str) -> None:
        """Listens to one more topic."""
        self.topics.add(topic)
        self._listener.changed()

    def discard(self, topic: str) -> None:
        """Listens to one topic less."""
        self.topics.discard(topic)
        self._listener.changed()

    def deliver(self, topic: str, payload: bytes) -> None:
        """Called by the listener for every message it gets."""
        if not any(matches(wanted, topic) for wanted in self.topics):
            return
        if self._queue.full():
            self._queue.get_nowait()
        self._queue.put_nowait((topic, payload))

    async def next(self, timeout: float) -> tuple[str, bytes] | None:
        """The next message, or None after `timeout` seconds without one."""
        try:
            async with asyncio.timeout(timeout):
                return await self._queue.get()
        except TimeoutError:
            return None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> tuple[str, bytes]:
        return await self._queue.get()

    async def aclose(self) -> None:
        """Stops listening; the process's socket goes with its last subscription."""
        if await self._listener.remove(self):
            loop = asyncio.get_running_loop()
            if _listeners.get(loop) is self._listener:
                del _listeners[loop]

    async def __aenter__(self) -> Self:
        await self.ready()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def _listener() -> Listener:
    loop = asyncio.get_running_loop()
    listener = _listeners.get(loop)
    if listener is None:
        listener = RedisListener() if settings.REDIS_URL else DatagramListener()
        _listeners[loop] = listener
    return listener
