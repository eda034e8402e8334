"""One listener, two kinds of host: pages on the site's, one workspace on each host below the notebook domain."""

from __future__ import annotations

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "classroom.settings")
django.setup()

from django.conf import settings  # noqa: E402
from django.core.asgi import get_asgi_application  # noqa: E402

from classroom.body_limit import BodyLimit  # noqa: E402
from classroom.hooks import HOOKS  # noqa: E402
from runtimes import jupyter  # noqa: E402

_pages = BodyLimit(get_asgi_application())  # type: ignore[arg-type]
_notebooks = jupyter.application(HOOKS)


def _host(scope: dict) -> str:  # type: ignore[type-arg]
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == b"host"), "")


async def application(scope, receive, send):  # type: ignore[no-untyped-def]
    """Dispatches by host; a lifespan is the notebook application's (it holds the bus)."""
    if scope["type"] == "lifespan" or _host(scope).endswith("." + settings.NOTEBOOK_DOMAIN):
        await _notebooks(scope, receive, send)
    elif scope["type"] == "http":
        await _pages(scope, receive, send)
    else:
        # The site itself has no sockets: refuse the handshake (ASGI spec, websocket.close before accept).
        await send({"type": "websocket.close", "code": 4404})
