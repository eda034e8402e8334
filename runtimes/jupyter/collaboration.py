"""Shared editing, as jupyter-collaboration 5 asks for it: a session for a file, and a socket for its room."""

from __future__ import annotations

import asyncio
import logging

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket

from runtimes.errors import UnsafePath
from runtimes.jupyter import document, notebook_form, replies
from runtimes.jupyter.bodies import json_object, text
from runtimes.jupyter.entry import entry_of
from runtimes.jupyter.errors import BadRequest, NotebookError
from runtimes.jupyter.off_loop import off_loop
from runtimes.jupyter.room import Client, Room, TooSlow
from runtimes.jupyter.rooms import Entered, rooms
from runtimes.paths import safe_path

# A document's history is kept for good, so a page of any age may come back: there is only ever one session.
SESSION_ID = "pupitre"
# Codes that the front end knows (docprovider, `_onConnectionClosed`); 1013 and others make it come back.
_CLOSE_MALFORMED, _CLOSE_NOT_FOUND, _CLOSE_AGAIN = 4400, 4404, 1013

log = logging.getLogger(__name__)


async def open_session(request: Request) -> Response:
    """PUT /api/collaboration/session/<path> {format, type}: the file's id, with its shared document begun."""
    entry = entry_of(request.scope)
    values = await json_object(request)
    kind = (text(values, "format") or "", text(values, "type") or "")
    if kind not in notebook_form.KINDS:
        raise BadRequest(f"no shared editing of {kind}")
    try:
        path = safe_path(request.path_params["path"])
    except UnsafePath as error:
        raise BadRequest(str(error)) from error
    opened, made = await off_loop(document.opened, entry.workspace_id, path, *kind)
    model = {"format": opened.format, "type": opened.type, "fileId": str(opened.pk), "sessionId": SESSION_ID}
    return replies.Json(model, 201 if made else 200)


async def room_socket(websocket: WebSocket) -> None:
    """WS /api/collaboration/room/<format>:<type>:<fileId> or …/JupyterLab:globalAwareness"""
    entry = entry_of(websocket.scope)
    try:
        async with rooms().enter(entry.place, websocket.path_params["room"]) as entered:
            await websocket.accept()
            await _serve(websocket, entered, Client(may_write=entry.may_write))
    except NotebookError as error:
        # Accepted first: a browser is told the code of a socket that was open, of no other.
        await websocket.accept()
        await websocket.close(_CLOSE_NOT_FOUND, type(error).__name__)


async def _serve(websocket: WebSocket, entered: Entered, client: Client) -> None:
    entered.room.join(client)
    code = asyncio.create_task(_first_end(websocket, entered, client))
    try:
        if close := await code:
            await websocket.close(close)
    finally:
        code.cancel()
        await entered.room.leave(client)


async def _first_end(websocket: WebSocket, entered: Entered, client: Client) -> int | None:
    """Serves until one side ends it. Returns the code to close with; None if the browser went."""
    reading = asyncio.create_task(_read(websocket, entered.room, client))
    writing = asyncio.create_task(client.write(websocket.send_bytes))
    gone = asyncio.create_task(entered.gone())
    try:
        await asyncio.wait({reading, writing, gone}, return_when=asyncio.FIRST_COMPLETED)
        if gone.done():
            return _CLOSE_NOT_FOUND
        if reading.done():
            return reading.result()
        return _CLOSE_AGAIN if isinstance(writing.exception(), TooSlow) else None
    finally:
        for task in (reading, writing, gone):
            task.cancel()
        await asyncio.gather(reading, writing, gone, return_exceptions=True)


async def _read(websocket: WebSocket, room: Room, client: Client) -> int | None:
    while True:
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            return None
        try:
            await room.receive(client, message.get("bytes") or b"")
        except (ValueError, RuntimeError, LookupError, AssertionError) as error:
            # What pycrdt raises at bytes that are no message of the Yjs protocols.
            log.info("a message for %s was malformed: %s", websocket.path_params["room"], error)
            return _CLOSE_MALFORMED


def routes() -> list[BaseRoute]:
    """What the notebook host mounts."""
    return [
        Route("/api/collaboration/session/{path:path}", open_session, methods=["PUT"]),
        WebSocketRoute("/api/collaboration/room/{room:path}", room_socket),
    ]
