"""How messages travel between processes: what both ways have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol
from weakref import WeakSet


def matches(wanted: str, topic: str) -> bool:
    """True if a message of `topic` is for who wants `wanted` (a topic, or a beginning and `*`)."""
    return topic.startswith(wanted[:-1]) if wanted.endswith("*") else topic == wanted


class Subscriber(Protocol):
    """Somebody who wants the messages of some topics."""

    topics: set[str]

    def deliver(self, topic: str, payload: bytes) -> None: ...


class Listener(ABC):
    """One for each event loop: receives for all of the loop's subscribers. One that is forgotten vanishes by itself."""

    def __init__(self) -> None:
        self._subscribers: WeakSet[Subscriber] = WeakSet()
        self._closing = False

    def add(self, subscriber: Subscriber) -> None:
        """From now on `subscriber` gets its messages."""
        self._subscribers.add(subscriber)
        self.changed()

    async def remove(self, subscriber: Subscriber) -> bool:
        """Forgets `subscriber`; True if it was the last one and this listener has ended."""
        self._subscribers.discard(subscriber)
        if self._subscribers or self._closing:
            self.changed()
            return False
        self._closing = True
        await self.close()
        return True

    def fan_out(self, topic: str, payload: bytes) -> None:
        """Gives one message to everybody who wants it."""
        for subscriber in list(self._subscribers):
            subscriber.deliver(topic, payload)

    @abstractmethod
    def changed(self) -> None:
        """The wanted topics changed."""

    @abstractmethod
    async def ready(self, subscriber: Subscriber) -> None:
        """Returns when nothing published from now on is missed."""

    @abstractmethod
    async def close(self) -> None:
        """Ends for good."""
