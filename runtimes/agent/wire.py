"""Messages between the site and a runtime's agent: three frames on a Curve socket.

    signature | header (JSON) | payload (bytes, mostly a tar)

The Curve server key keeps others out and hides the content; the signature says that the sender holds the runtime's
HMAC key, which Curve without client certificates does not (libzmq, CURVE without ZAP admits every client).
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Sequence
from typing import Any

MAX_HEADER_BYTES = 4 << 20
MAX_MESSAGE_BYTES = 1 << 30
# Of each list of names in a header.
MAX_NAMES_BYTES = 1 << 20


class BadMessage(Exception):
    """Not one of ours: wrong number of frames, wrong signature, not JSON."""


def pack(key: bytes, header: dict[str, Any], payload: bytes = b"") -> list[bytes]:
    """Frames for `header` and `payload`."""
    body = json.dumps(header, separators=(",", ":")).encode()
    return [_signature(key, body, len(payload)), body, payload]


def unpack(key: bytes, frames: Sequence[bytes]) -> tuple[dict[str, Any], bytes]:
    """Header and payload of `frames`. Raises BadMessage."""
    if len(frames) != 3 or len(frames[1]) > MAX_HEADER_BYTES:
        raise BadMessage("not three frames")
    signature, body, payload = frames
    if not hmac.compare_digest(signature, _signature(key, body, len(payload))):
        raise BadMessage("wrong signature")
    try:
        header = json.loads(body)
    except ValueError as error:
        raise BadMessage("header is not JSON") from error
    if not isinstance(header, dict):
        raise BadMessage("header is not an object")
    return header, payload


def fitting(names: Iterable[str]) -> list[str]:
    """As many of `names`, the first ones, as a header has room for. At least one, where each is a path."""
    room = MAX_NAMES_BYTES
    told = []
    for name in names:
        room -= len(json.dumps(name)) + 1
        if room < 0:
            break
        told.append(name)
    return told


def _signature(key: bytes, body: bytes, payload_size: int) -> bytes:
    return hmac.new(key, body + payload_size.to_bytes(8, "big"), hashlib.sha256).digest()
