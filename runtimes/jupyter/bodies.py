"""Request bodies, read no further than they may go."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import ClientDisconnect, Request

from runtimes.jupyter.errors import BadRequest, TooLarge

MOST_JSON_BYTES = 1 << 20


async def body(request: Request, *, most_bytes: int) -> bytes:
    """The body. Raises TooLarge as soon as it is known to have more than `most_bytes`."""
    declared = request.headers.get("content-length", "0")
    if not declared.isdigit() or int(declared) > most_bytes:
        raise TooLarge(f"{declared} bytes announced")
    parts: list[bytes] = []
    size = 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > most_bytes:
                raise TooLarge(f"more than {most_bytes} bytes")
            parts.append(part)
    except ClientDisconnect as error:
        raise BadRequest("the browser went away") from error
    return b"".join(parts)


async def json_object(request: Request, *, most_bytes: int = MOST_JSON_BYTES) -> dict[str, Any]:
    """The body as a JSON object; {} when it is empty. Raises BadRequest for anything else."""
    raw = await body(request, most_bytes=most_bytes)
    try:
        value = json.loads(raw) if raw else {}
    except (ValueError, RecursionError) as error:
        raise BadRequest("not JSON") from error
    if not isinstance(value, dict):
        raise BadRequest("not a JSON object")
    return value


def text(values: dict[str, Any], name: str, *, most: int = 500) -> str | None:
    """A string field, or None when it is absent or null. Raises BadRequest for another type or too long a text."""
    value = values.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > most:
        raise BadRequest(f"{name} must be a text of at most {most} characters")
    return value
