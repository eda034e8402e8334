"""Messages of several frames over a Unix socket of sequenced packets: how a job's kernel and pid 1 are talked to.

A message goes out in packets of `sender | last | part`. A packet arrives whole or not at all, and every sender numbers
its own, so that a process which student code forked may write between the packets of its parent.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence

PART_BYTES = 60_000
PACKET_BYTES = PART_BYTES + 64
_HEAD = struct.Struct("!I?")
_COUNT = struct.Struct("!I")
_LENGTH = struct.Struct("!Q")
MAX_FRAMES = 10_000


class BadPacket(ValueError):
    """Not one of ours, or a longer message than is wanted."""


def split(frames: Sequence[bytes | memoryview]) -> Iterator[bytes]:
    """The packets of one message, to be sent in this order."""
    sizes = [len(memoryview(frame).cast("B")) for frame in frames]
    head = _COUNT.pack(len(frames)) + b"".join(map(_LENGTH.pack, sizes))
    body = b"".join((head, *frames))
    sender = os.getpid()
    for start in range(0, len(body), PART_BYTES):
        part = body[start : start + PART_BYTES]
        yield _HEAD.pack(sender, start + PART_BYTES >= len(body)) + part


class Assembler:
    """Packets to messages. What comes in may be student code's: nothing is believed beyond `max_bytes`."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._held = 0
        self._parts: dict[int, list[bytes]] = {}

    def feed(self, packet: bytes) -> list[bytes] | None:
        """The frames of the message that this packet completes. Raises BadPacket."""
        if len(packet) <= _HEAD.size:
            raise BadPacket("an empty packet")
        sender, last = _HEAD.unpack_from(packet)
        self._held += len(packet) - _HEAD.size
        if self._held > self._max_bytes:
            raise BadPacket(f"more than {self._max_bytes} bytes")
        parts = self._parts.setdefault(sender, [])
        parts.append(packet[_HEAD.size :])
        if not last:
            return None
        body = b"".join(self._parts.pop(sender))
        self._held -= len(body)
        return _frames(body)


def _frames(body: bytes) -> list[bytes]:
    try:
        (count,) = _COUNT.unpack_from(body)
        if count > MAX_FRAMES:
            raise BadPacket("too many frames")
        sizes = [_LENGTH.unpack_from(body, _COUNT.size + _LENGTH.size * number)[0] for number in range(count)]
    except struct.error as error:
        raise BadPacket("cut short") from error
    start = _COUNT.size + _LENGTH.size * count
    if start + sum(sizes) != len(body):
        raise BadPacket("cut short")
    frames = []
    for size in sizes:
        frames.append(body[start : start + size])
        start += size
    return frames
