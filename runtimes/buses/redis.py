"""The production bus: Redis pub/sub. Channels carry a name of this installation, as pub/sub knows no databases."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
from contextlib import suppress
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

import redis
import redis.asyncio
from django.conf import settings

from runtimes.buses import Listener, Subscriber

logger = logging.getLogger(__name__)

CONNECT_SECONDS = 5.0
RETRY_SECONDS = 0.5

_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, redis.asyncio.Redis] = WeakKeyDictionary()


@cache
def _prefix(master_key: str, url: str) -> str:
    return f"pupitre:{hashlib.sha256(f'bus {master_key} {url}'.encode()).hexdigest()[:12]}:"


def _channel(topic: str) -> str:
    return _prefix(settings.MASTER_KEY, settings.REDIS_URL) + topic


@cache
def _sync_client(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, socket_timeout=CONNECT_SECONDS, socket_connect_timeout=CONNECT_SECONDS)


def _client() -> redis.asyncio.Redis:
    loop = asyncio.get_running_loop()
    if loop not in _clients:
        _clients[loop] = redis.asyncio.Redis.from_url(
            settings.REDIS_URL, socket_timeout=CONNECT_SECONDS, socket_connect_timeout=CONNECT_SECONDS
        )
    return _clients[loop]


async def redis_publish(topic: str, payload: bytes) -> None:
    """Publishes; a Redis that is down is logged: the rows are still there."""
    try:
        await _client().publish(_channel(topic), payload)
    except redis.RedisError as error:
        logger.warning("bus: not published: %s", type(error).__name__)


def redis_publish_sync(topic: str, payload: bytes) -> None:
    """`redis_publish` without an event loop."""
    try:
        _sync_client(settings.REDIS_URL).publish(_channel(topic), payload)
    except redis.RedisError as error:
        logger.warning("bus: not published: %s", type(error).__name__)


class RedisListener(Listener):
    """One pub/sub connection for the event loop; connects again by itself, with all its topics."""

    def __init__(self) -> None:
        super().__init__()
        # redis-py 8 gives up reading after 5 seconds unless told otherwise, which would end a quiet subscription.
        self._client = redis.asyncio.Redis.from_url(
            settings.REDIS_URL, socket_timeout=None, socket_connect_timeout=CONNECT_SECONDS, health_check_interval=20
        )
        self._prefix = _channel("")
        self._own = _channel(f"listener:{secrets.token_hex(8)}")
        self._asked: set[str] = set()
        self._confirmed: set[str] = set()
        self._news = asyncio.Condition()
        self._wanted_changed = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._listen())

    def changed(self) -> None:
        self._wanted_changed.set()

    async def ready(self, subscriber: Subscriber) -> None:
        self.changed()
        channels = {self._prefix + topic for topic in subscriber.topics}
        with suppress(TimeoutError):
            async with asyncio.timeout(CONNECT_SECONDS), self._news:
                await self._news.wait_for(lambda: channels <= self._confirmed)

    async def close(self) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        await self._client.aclose()
        loop = asyncio.get_running_loop()
        client = _clients.pop(loop, None)
        if client is not None:
            await client.aclose()

    async def _listen(self) -> None:
        while True:
            try:
                async with self._client.pubsub() as pubsub:
                    self._asked, self._confirmed = set(), set()
                    await pubsub.subscribe(self._own)
                    async with asyncio.TaskGroup() as group:
                        group.create_task(self._receive(pubsub))
                        group.create_task(self._follow(pubsub))
            except* (redis.RedisError, OSError) as errors:
                logger.warning("bus: connecting again: %s", type(errors.exceptions[0]).__name__)
            await asyncio.sleep(RETRY_SECONDS)

    async def _follow(self, pubsub: Any) -> None:
        """Subscribes to what is wanted and no longer to what is not."""
        while True:
            self._wanted_changed.clear()
            wanted = {self._prefix + topic for subscriber in list(self._subscribers) for topic in subscriber.topics}
            for patterned in (False, True):
                more = [name for name in wanted - self._asked if name.endswith("*") is patterned]
                less = [name for name in self._asked - wanted if name.endswith("*") is patterned]
                if more:
                    await (pubsub.psubscribe if patterned else pubsub.subscribe)(*more)
                if less:
                    await (pubsub.punsubscribe if patterned else pubsub.unsubscribe)(*less)
            self._asked = wanted
            self._confirmed &= wanted
            await self._wanted_changed.wait()

    async def _receive(self, pubsub: Any) -> None:
        async for message in pubsub.listen():
            if message["type"] in ("message", "pmessage"):
                self.fan_out(message["channel"].decode().removeprefix(self._prefix), message["data"])
            elif message["type"] in ("subscribe", "psubscribe"):
                async with self._news:
                    self._confirmed.add(message["channel"].decode())
                    self._news.notify_all()
