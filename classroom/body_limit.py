"""How much of a request's body is taken in. Django would store all of it before any view is asked, whoever sends it.

Where it is too much the application reads no further, and answers with a page that says so: `TooLargeMiddleware`, since
that page has the person's language.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import Resolver404, resolve

type Scope = MutableMapping[str, Any]
type Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
type Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
type App = Callable[[Scope, Receive, Send], Awaitable[None]]

# What a form holds besides its files.
FORM_BYTES = 8 * 1024 * 1024
_TOO_LARGE = "pupitre.too_large"
_TAKES_FILES = "takes_files"


def takes_files[View: Callable[..., HttpResponse]](view: View) -> View:
    """For a view that people bring files to: from who has a session it may take `UPLOAD_MOST_BYTES`."""
    setattr(view, _TAKES_FILES, True)
    return view


class BodyLimit:
    """An ASGI application around Django's."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes on a request, and of its body as much as its address may take."""
        await self._app(scope, _Limited(scope, receive, _most_bytes(scope)), send)


class _Limited:
    """The body as it comes; where it is too much, its end."""

    def __init__(self, scope: Scope, receive: Receive, most: int) -> None:
        self._scope = scope
        self._receive = receive
        self._room = most
        declared = _header(scope, b"content-length")
        if declared.isdigit() and int(declared) > most:
            self._refuse()

    async def __call__(self) -> MutableMapping[str, Any]:
        if _TOO_LARGE in self._scope:
            return await self._end()
        message = await self._receive()
        if message["type"] == "http.request":
            self._room -= len(message.get("body", b""))
            if self._room < 0:
                self._refuse()
                return await self._end()
        return message

    def _refuse(self) -> None:
        self._scope[_TOO_LARGE] = "refused"

    async def _end(self) -> MutableMapping[str, Any]:
        if self._scope[_TOO_LARGE] == "ended":
            # Django listens for a client that goes away while it makes the answer; the rest of the body stays unread.
            await asyncio.Event().wait()
        self._scope[_TOO_LARGE] = "ended"
        return {"type": "http.request", "body": b"", "more_body": False}


class TooLargeMiddleware:
    """Answers 413 where `BodyLimit` has cut a body, before any view sees the rest."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """The page, or whatever comes next."""
        if _TOO_LARGE not in getattr(request, "scope", {}):
            return self.get_response(request)
        context = {"most": settings.UPLOAD_MOST_BYTES}
        return render(request, "413.html", context, status=413)


def _most_bytes(scope: Scope) -> int:
    try:
        view = resolve(scope["path"]).func
    except Resolver404:
        return FORM_BYTES
    signed_in = settings.SESSION_COOKIE_NAME.encode() + b"=" in _header(scope, b"cookie")
    files = signed_in and getattr(view, _TAKES_FILES, False)
    return FORM_BYTES + (int(settings.UPLOAD_MOST_BYTES) if files else 0)


def _header(scope: Scope, name: bytes) -> bytes:
    return next((value for key, value in scope["headers"] if key == name), b"")
