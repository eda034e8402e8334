"""The sockets of one document in this process, or of a workspace's `globalAwareness`.

Messages (jupyter-collaboration 5): byte 0 = a Yjs sync message, 1 = awareness, 2 = "save" and its number. What one
client sends goes to the others here at once, to other processes by the log (sync) or the bus (awareness).
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress

from pycrdt import (
    Awareness,
    Decoder,
    Doc,
    Encoder,
    YMessageType,
    YSyncMessageType,
    create_awareness_message,
    create_sync_message,
    create_update_message,
    read_message,
)

from runtimes import bus
from runtimes.jupyter.open_documents import OpenDocument

RAW = 2
#: More than this waiting for a browser that does not read: it is cut off, and syncs anew when it is back.
_MOST_WAITING_BYTES = 64 * 1024 * 1024
_QUESTION = b"?"

log = logging.getLogger(__name__)

Send = Callable[[bytes], Awaitable[None]]


class TooSlow(Exception):
    """The browser does not read what it is sent."""


class Client:
    """One socket: an outbox that never blocks who fills it, and the awareness states that came through it."""

    def __init__(self, *, may_write: bool) -> None:
        self.may_write = may_write
        self.aware: set[int] = set()
        self._outbox: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._news = asyncio.Event()

    def put(self, message: bytes) -> None:
        """Queues a message."""
        self._outbox.append(message)
        self._waiting_bytes += len(message)
        self._news.set()

    async def write(self, send: Send) -> None:
        """Sends what is queued, for ever. Raises TooSlow."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._outbox:
                if self._waiting_bytes > _MOST_WAITING_BYTES:
                    raise TooSlow
                message = self._outbox.popleft()
                await send(message)
                self._waiting_bytes -= len(message)


class Room:
    """Clients of one document (`opened`), or of none: then only awareness is shared."""

    def __init__(self, topic: str, opened: OpenDocument | None) -> None:
        self.clients: set[Client] = set()
        self._topic = topic
        self._opened = opened
        self._name = secrets.token_bytes(8)
        self._awareness = Awareness(opened.replica.doc if opened else Doc())
        self._awareness.set_local_state(None)  # the server is nobody's collaborator
        self._listening: asyncio.Task[None] | None = None
        self._saving: set[asyncio.Task[None]] = set()
        if opened:
            opened.replica.listen(self._spread)

    async def start(self) -> None:
        """Listens to the awareness of other processes, and asks them for it."""
        news = bus.subscribe(self._topic)
        await news.ready()
        self._listening = asyncio.create_task(self._listen(news))
        await bus.publish(self._topic, self._name + _QUESTION)

    async def stop(self) -> None:
        """Finishes what was asked for, and stops listening."""
        await asyncio.gather(*self._saving, return_exceptions=True)
        if self._listening:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)

    def join(self, client: Client) -> None:
        """Greets a client with what it needs to catch up."""
        self.clients.add(client)
        if self._opened:
            client.put(create_sync_message(self._opened.replica.doc))
        if self._awareness.states:
            client.put(self._aware_message(list(self._awareness.states)))

    async def leave(self, client: Client) -> None:
        """Tells the others that it is gone."""
        self.clients.discard(client)
        gone = [one for one in client.aware if one in self._awareness.states]
        if gone:
            self._awareness.remove_awareness_states(gone, "left")
            await self._share(self._aware_message(gone))

    async def receive(self, client: Client, message: bytes) -> None:
        """Obeys one message. Raises ValueError for one that is malformed."""
        if not message:
            return
        kind, body = message[0], message[1:]
        if kind == YMessageType.SYNC and self._opened:
            self._sync(self._opened, client, body)
        elif kind == YMessageType.AWARENESS:
            client.aware |= _client_ids(body)
            self._awareness.apply_awareness_update(read_message(body), client)
            await self._share(message)
        elif kind == RAW and self._opened:
            self._raw(self._opened, client, message)

    def _sync(self, opened: OpenDocument, client: Client, body: bytes) -> None:
        update = read_message(body[1:])
        if body[0] == YSyncMessageType.SYNC_STEP1:
            reply = opened.replica.doc.get_update(update)
            client.put(bytes([YMessageType.SYNC, YSyncMessageType.SYNC_STEP2]) + _with_length(reply))
        elif client.may_write and update != b"\x00\x00":
            opened.replica.apply(update, client)

    def _spread(self, update: bytes, _foreign: bool, source: object) -> None:
        message = create_update_message(update)
        for client in self.clients:
            if client is not source:
                client.put(message)

    def _raw(self, opened: OpenDocument, client: Client, message: bytes) -> None:
        decoder = Decoder(message)
        decoder.read_var_uint()
        if decoder.read_var_string() == "save":
            # What came before on this socket is in the replica by now; what comes after need not wait.
            saving = asyncio.create_task(self._save(opened, client, decoder.read_var_uint()))
            self._saving.add(saving)
            saving.add_done_callback(self._saving.discard)

    async def _save(self, opened: OpenDocument, client: Client, number: int) -> None:
        status = "success"
        if client.may_write:
            try:
                await opened.saver.save()
            except Exception:
                log.exception("document %s: saving on demand failed", opened.replica.id)
                status = "failed"
        answer = Encoder()
        answer.write_var_uint(RAW)
        answer.write_var_string(json.dumps({"type": "save", "responseTo": number, "status": status}))
        client.put(answer.to_bytes())

    async def _share(self, message: bytes) -> None:
        # To its sender, too: the front end takes a connection for dead that is silent for 30 s.
        for client in self.clients:
            client.put(message)
        await bus.publish(self._topic, self._name + message)

    def _aware_message(self, clients: list[int]) -> bytes:
        return create_awareness_message(self._awareness.encode_awareness_update(clients))

    async def _listen(self, news: bus.Subscription) -> None:
        async with news:
            async for _topic, payload in news:
                name, message = payload[:8], payload[8:]
                if name == self._name or not message:
                    continue
                with suppress(Exception):  # what another process sent may be of another version: never fatal
                    await self._heard(message)

    async def _heard(self, message: bytes) -> None:
        if message == _QUESTION:
            if self._awareness.states:
                await bus.publish(self._topic, self._name + self._aware_message(list(self._awareness.states)))
            return
        self._awareness.apply_awareness_update(read_message(message[1:]), "elsewhere")
        for client in self.clients:
            client.put(message)


def _client_ids(body: bytes) -> set[int]:
    """Whose states an awareness message tells (y-protocols, awareness.js: count, then id, clock and state of each)."""
    decoder = Decoder(read_message(body))
    ids: set[int] = set()
    for _ in range(decoder.read_var_uint()):
        ids.add(decoder.read_var_uint())
        decoder.read_var_uint()
        decoder.read_var_string()
    return ids


def _with_length(data: bytes) -> bytes:
    encoder = Encoder()
    encoder.write_var_uint(len(data))
    return encoder.to_bytes() + data
