"""Answers of the notebook host: JSON for the front end, a kind page for people."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.template.loader import render_to_string
from django.utils import translation
from django.utils.translation.trans_real import parse_accept_lang_header
from jupyter_client.jsonutil import json_default
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from runtimes.jupyter import policy
from runtimes.jupyter.entry import Scope, header
from runtimes.jupyter.errors import BELOW, NotebookError, NotFound, seen_from_browser

# People see these paths in the frame; everything else is asked for by the front end's code.
_PAGES = ("/notebooks/", "/enter", "/files/")


class Json(Response):
    """JSON with the dates and bytes that Jupyter's own models hold."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return json.dumps(content, default=json_default, separators=(",", ":")).encode()


def empty() -> Response:
    """204, for what has no answer."""
    return Response(status_code=204)


def language_of(scope: Scope) -> str:
    """The language of the person inside, else the first that their browser asks for and we speak."""
    wanted = []
    if entry := scope.get("state", {}).get("entry"):
        wanted.append(entry.language)
    wanted += [tag for tag, _weight in parse_accept_lang_header(header(scope, b"accept-language") or "")]
    for tag in wanted:
        try:
            return translation.get_supported_language_variant(tag)
        except LookupError:
            continue
    return str(settings.LANGUAGE_CODE)


def refusal(scope: Scope, error: NotebookError) -> Response:
    """The error as the front end (JSON with `message`) or a person (a page) reads it, in their language."""
    language = language_of(scope)
    with translation.override(language):
        message = str(error.user_message)
        if not _is_page(scope["path"]):
            return Json({"message": message, "reason": type(error).__name__}, error.status)
        context = {"message": message, "site": settings.SITE_ORIGIN, "language": language}
        html = render_to_string("runtimes/refusal.html", context)
    return HTMLResponse(html, error.status, {"content-security-policy": policy.error_policy()})


async def refused(request: Request, error: Exception) -> Response:
    """Starlette's exception handler: what a route raised, told kindly."""
    if isinstance(error, BELOW):
        error = seen_from_browser(error)
    elif isinstance(error, HTTPException):
        # The router's own: no such path, or not that method there.
        error = NotFound(request.url.path)
    elif not isinstance(error, NotebookError):
        error = NotebookError(type(error).__name__)
    return refusal(request.scope, error)


def _is_page(path: str) -> bool:
    return path == "/" or path.startswith(_PAGES) or not path.startswith(("/api", "/lab", "/static"))
