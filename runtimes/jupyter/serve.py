"""The Starlette application for every notebook host. `route_table` is all that can be asked of one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Route, WebSocketRoute

from runtimes.jupyter import pages, preferences
from runtimes.jupyter.assets import ALIASES, Assets
from runtimes.jupyter.gate import App, Gate
from runtimes.jupyter.hooks import Hooks
from runtimes.jupyter.silence import Silence

# The only paths that need no entry; they make one.
OPEN_PATHS = frozenset({"/enter"})


def route_table(assets: Assets) -> list[BaseRoute]:
    """Every route of a workspace's host. All but `OPEN_PATHS` are behind the gate."""
    return [
        Route("/", pages.home, methods=["GET"]),
        Route("/enter", pages.enter, methods=["POST"]),
        Route("/notebooks/{path:path}", pages.page, methods=["GET"]),
        Route("/tree", pages.page, methods=["GET"]),
        Route("/tree/{path:path}", pages.page, methods=["GET"]),
        Route("/edit/{path:path}", pages.page, methods=["GET"]),
        *(Route(prefix + "{path:path}", assets.alias, methods=["GET"]) for prefix in ALIASES),
        Route("/api/me", pages.me, methods=["GET"]),
        Route("/lab/api/settings", preferences.list_settings, methods=["GET"]),
        Route("/lab/api/settings/", preferences.list_settings, methods=["GET"]),
        Route("/lab/api/settings/{plugin:path}", preferences.read_setting, methods=["GET"]),
        Route("/lab/api/settings/{plugin:path}", preferences.write_setting, methods=["PUT"]),
        Route("/lab/api/translations", preferences.list_translations, methods=["GET"]),
        Route("/lab/api/translations/", preferences.list_translations, methods=["GET"]),
        Route("/lab/api/translations/{locale}", preferences.read_translation, methods=["GET"]),
        Route("/lab/api/workspaces", preferences.list_workspaces, methods=["GET"]),
        Route("/lab/api/workspaces/{name:path}", preferences.read_workspace, methods=["GET"]),
        Route("/lab/api/workspaces/{name:path}", preferences.write_workspace, methods=["PUT"]),
        WebSocketRoute("/api/events/subscribe", Silence()),
    ]


@asynccontextmanager
async def _lifespan(assets: Assets) -> AsyncIterator[None]:
    stop = threading.Event()
    preparing = asyncio.create_task(asyncio.to_thread(assets.prepare, stop))
    async with AsyncExitStack():
        try:
            yield
        finally:
            stop.set()
            await asyncio.gather(preparing, return_exceptions=True)


def serve(hooks: Hooks) -> App:
    """The ASGI application for every host below `settings.NOTEBOOK_DOMAIN`, its lifespan included."""
    assets = Assets()
    router = Starlette(routes=route_table(assets), lifespan=lambda _app: _lifespan(assets))
    return Gate(router, assets, hooks, OPEN_PATHS)
