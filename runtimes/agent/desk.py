"""The agent's socket: questions come in, answers and events go out."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import zmq

from . import wire

WATCH_SECONDS = 60.0
# Who asked (a ZMQ identity) and the number of the question.
Asker = tuple[bytes, int]
Question = tuple[Asker, dict[str, Any], bytes]


class Refused(Exception):
    """What was asked cannot be done; the code is for programs."""

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(message or code)
        self.code = code


class Desk:
    """A Curve ROUTER. Keys: hmac_key, curve_public, curve_secret."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], url: str, keys: Mapping[str, str]) -> None:
        self._key = keys["hmac_key"].encode()
        self._watchers: dict[bytes, float] = {}
        self.socket = context.socket(zmq.ROUTER)
        self.socket.linger = 0
        self.socket.setsockopt(zmq.MAXMSGSIZE, wire.MAX_MESSAGE_BYTES)
        self.socket.curve_server = True
        self.socket.curve_secretkey = keys["curve_secret"].encode()
        self.socket.curve_publickey = keys["curve_public"].encode()
        self._url = url

    def open(self) -> None:
        """Begins to listen, which is how others see that the runtime is ready."""
        self.socket.bind(self._url)

    def hear(self) -> Question | None:
        """The next question, or None for something that is not one of ours."""
        sender, *frames = self.socket.recv_multipart()
        try:
            header, payload = wire.unpack(self._key, frames)
            return (sender, int(header["id"])), header, payload
        except (wire.BadMessage, KeyError, TypeError, ValueError):
            return None

    def answer(self, asker: Asker, header: Mapping[str, Any], payload: bytes = b"") -> None:
        """Answers a question."""
        self._send(asker[0], {"id": asker[1], "ok": True, **header}, payload)

    def refuse(self, asker: Asker, code: str, message: str) -> None:
        """Answers a question with no."""
        self._send(asker[0], {"id": asker[1], "ok": False, "code": code, "message": message[:2000]})

    def watch(self, asker: Asker) -> None:
        """The asker gets events for the next minute."""
        self._watchers[asker[0]] = time.monotonic() + WATCH_SECONDS

    def is_watched(self) -> bool:
        """Whether anybody gets events."""
        now = time.monotonic()
        return any(until > now for until in self._watchers.values())

    def tell(self, event: Mapping[str, Any], only: Asker | None = None) -> None:
        """Sends an event to one asker or to all that watch."""
        now = time.monotonic()
        self._watchers = {watcher: until for watcher, until in self._watchers.items() if until > now}
        for watcher in [only[0]] if only else list(self._watchers):
            self._send(watcher, dict(event))

    def _send(self, receiver: bytes, header: dict[str, Any], payload: bytes = b"") -> None:
        # Who is gone, or takes nothing in, must not hold up the others.
        with suppress(zmq.ZMQError):
            self.socket.send_multipart([receiver, *wire.pack(self._key, header, payload)], zmq.NOBLOCK)
