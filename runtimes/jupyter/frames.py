"""Kernel messages in one binary socket frame: the subprotocol v1.kernel.websocket.jupyter.org (Jupyter Server docs)."""

from __future__ import annotations

from jupyter_server.services.kernels.connection.base import deserialize_msg_from_ws_v1, serialize_msg_to_ws_v1

PROTOCOL = "v1.kernel.websocket.jupyter.org"
# Channel, four JSON parts, and the buffers of a widget: far more than any front end sends.
_MOST_OFFSETS = 1024


class Malformed(ValueError):
    """Not a frame of the protocol."""


def pack(parts: list[bytes], channel: str) -> bytes:
    """header, parent header, metadata, content and buffers as one frame."""
    framed: bytes = serialize_msg_to_ws_v1(parts, channel)  # type: ignore[no-untyped-call]
    return framed


def unpack(frame: bytes | None) -> tuple[str, list[bytes]]:
    """Channel and parts. Raises Malformed, also where the library would count to any number that a page sends."""
    if not frame or len(frame) < 8:
        raise Malformed("too short")
    count = int.from_bytes(frame[:8], "little")
    if not 6 <= count <= _MOST_OFFSETS or len(frame) < 8 * (count + 1):
        raise Malformed(f"{count} offsets in {len(frame)} bytes")
    try:
        channel, parts = deserialize_msg_from_ws_v1(frame)  # type: ignore[no-untyped-call]
    except UnicodeDecodeError as error:
        raise Malformed("channel") from error
    return channel, parts
