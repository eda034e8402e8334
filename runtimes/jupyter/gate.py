"""The one door of every notebook host: which workspace, who, from which page, and what every answer carries.

Nothing behind the gate is reached without an entry, but for `/enter` (which makes one) and the front end's own files.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from django.conf import settings
from starlette.datastructures import MutableHeaders

from runtimes.jupyter import hosts, policy, replies
from runtimes.jupyter.access import Doorman
from runtimes.jupyter.entry import Entry, Scope, header
from runtimes.jupyter.errors import (
    ForeignOrigin,
    NoEntry,
    NotebookError,
    ReadOnly,
    UnknownWorkspace,
)
from runtimes.jupyter.hooks import Hooks
from runtimes.jupyter.tickets import Credential, credential_of

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
# What a reader's page still has to say to the server: these change nothing in the workspace.
READER_MAY_SEND = ("/api/collaboration/session/", "/lab/api/settings/", "/lab/api/workspaces/")
CLOSE_FORBIDDEN = 4403
CLOSE_SIGNED_OUT = 4401


class Gate:
    """`inner` is the router for workspaces, `assets` serves the front end's files, `open_paths` need no entry."""

    def __init__(self, inner: App, assets: App, hooks: Hooks, open_paths: frozenset[str]) -> None:
        self._inner = inner
        self._assets = assets
        self._doorman = Doorman(hooks)
        self._open_paths = open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._inner(scope, receive, send)
            return
        host = header(scope, b"host") or ""
        if hosts.label(host) == hosts.STATIC_LABEL and scope["type"] == "http":
            await self._assets(scope, receive, send)
            return
        scope["state"] = {**scope.get("state", {})}
        if scope["type"] == "websocket":
            await self._socket(scope, receive, send, host)
        else:
            await self._request(scope, receive, _with_headers(send), host)

    async def _request(self, scope: Scope, receive: Receive, send: Send, host: str) -> None:
        try:
            await self._admit(scope, host)
        except NotebookError as error:
            await replies.refusal(scope, error)(scope, receive, send)
        else:
            await self._inner(scope, receive, send)

    async def _admit(self, scope: Scope, host: str) -> Credential | None:
        """Fills the scope's state with place and entry. Raises the NotebookError that says why not."""
        slug = hosts.slug(host)
        place = await self._doorman.place(slug) if slug else None
        if place is None:
            raise UnknownWorkspace(host)
        scope["state"]["place"] = place
        if scope["path"] in self._open_paths:
            _check_form_origin(scope)
            return None
        credential = credential_of(scope, place.slug)
        entry = await self._doorman.enter(place, credential) if credential else None
        if entry is None:
            raise NoEntry(place.slug)
        scope["state"]["entry"] = entry
        _check_origin(scope, entry)
        return credential

    async def _socket(self, scope: Scope, receive: Receive, send: Send, host: str) -> None:
        try:
            credential = await self._admit(scope, host)
        except NotebookError as error:
            code = CLOSE_SIGNED_OUT if isinstance(error, NoEntry) else CLOSE_FORBIDDEN
            await send({"type": "websocket.close", "code": code, "reason": type(error).__name__})
            return
        assert credential is not None, "no socket is among the open paths"
        entry: Entry = scope["state"]["entry"]
        async with self._doorman.until_changed(entry, credential) as changed:
            await _serve_until(changed, self._inner, scope, receive, send)


async def _serve_until(changed: asyncio.Task[None], app: App, scope: Scope, receive: Receive, send: Send) -> None:
    """Runs a socket's application; when `changed` ends first, closes the socket and lets the application finish."""
    closed = False

    async def guarded_send(message: Message) -> None:
        if not closed:
            await send(message)

    async def guarded_receive() -> Message:
        if closed:
            return {"type": "websocket.disconnect", "code": CLOSE_SIGNED_OUT}
        return await receive()

    serving = asyncio.ensure_future(app(scope, guarded_receive, guarded_send))
    try:
        await asyncio.wait({serving, changed}, return_when=asyncio.FIRST_COMPLETED)
        if not serving.done():
            await send({"type": "websocket.close", "code": CLOSE_SIGNED_OUT})
            closed = True
            # uvicorn answers the pending receive with a disconnect, so an orderly application ends by itself.
            await asyncio.wait({serving}, timeout=5)
    finally:
        if not serving.done():
            serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
    if not closed and (error := None if serving.cancelled() else serving.exception()):
        raise error


def _check_form_origin(scope: Scope) -> None:
    """The site's form reaches us from the site; "null" is what its referrer policy makes of that (Fetch, §3.2)."""
    if header(scope, b"origin") not in {None, "null", settings.SITE_ORIGIN}:
        raise ForeignOrigin(scope["path"])


def _check_origin(scope: Scope, entry: Entry) -> None:
    """Sockets and unsafe methods must come from a page of this very host, and readers may change nothing."""
    method = scope.get("method", "GET")
    if scope["type"] == "http" and method in SAFE:
        return
    if header(scope, b"origin") != hosts.origin(entry.slug):
        raise ForeignOrigin(scope["path"])
    if scope["type"] == "http" and not entry.may_write and not scope["path"].startswith(READER_MAY_SEND):
        raise ReadOnly(scope["path"])


def _with_headers(send: Send) -> Send:
    async def wrapped(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in policy.common_headers().items():
                headers.setdefault(name, value)
        await send(message)

    return wrapped
