"""The Starlette application for every notebook host. `route_table` is all that can be asked of one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute

from runtimes.jupyter import (
    checkpoints,
    collaboration,
    contents,
    execution,
    files,
    kernels,
    pages,
    preferences,
    replies,
    sessions,
)
from runtimes.jupyter.assets import ALIASES, Assets
from runtimes.jupyter.bridge import KernelSocket
from runtimes.jupyter.errors import BELOW, NotebookError
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
        *_kernel_routes(),
        *_contents_routes(),
        *collaboration.routes(),
        *execution.routes(),
        WebSocketRoute("/api/events/subscribe", Silence()),
    ]


def _kernel_routes() -> list[BaseRoute]:
    one, session = "/api/kernels/{kernel_id:uuid}", "/api/sessions/{session_id:uuid}"
    return [
        Route("/api/kernelspecs", kernels.kernelspecs, methods=["GET"]),
        Route("/api/kernels", kernels.list_kernels, methods=["GET"]),
        Route("/api/kernels", kernels.start_kernel, methods=["POST"]),
        Route(one, kernels.read_kernel, methods=["GET"]),
        Route(one, kernels.stop_kernel, methods=["DELETE"]),
        Route(one + "/interrupt", kernels.interrupt_kernel, methods=["POST"]),
        Route(one + "/restart", kernels.restart_kernel, methods=["POST"]),
        WebSocketRoute(one + "/channels", KernelSocket()),
        Route("/api/sessions", sessions.list_sessions, methods=["GET"]),
        Route("/api/sessions", sessions.start_session, methods=["POST"]),
        Route(session, sessions.read_session, methods=["GET"]),
        Route(session, sessions.change_session, methods=["PATCH"]),
        Route(session, sessions.end_session, methods=["DELETE"]),
        # Nothing to offer: export and terminals are not part of a workspace.
        Route("/api/nbconvert", _nothing, methods=["GET"]),
        Route("/api/terminals", _none, methods=["GET"]),
    ]


def _contents_routes() -> list[BaseRoute]:
    path, kept = "/api/contents/{path:path}", "/api/contents/{path:path}/checkpoints"
    return [
        Route(kept, checkpoints.list_checkpoints, methods=["GET"]),
        Route(kept, checkpoints.keep, methods=["POST"]),
        Route(kept + "/{version_id:int}", checkpoints.restore, methods=["POST"]),
        Route(kept + "/{version_id:int}", checkpoints.forget, methods=["DELETE"]),
        Route("/api/contents", contents.read, methods=["GET"]),
        Route("/api/contents", contents.create, methods=["POST"]),
        Route(path, contents.read, methods=["GET"]),
        Route(path, contents.create, methods=["POST"]),
        Route(path, contents.save, methods=["PUT"]),
        Route(path, contents.rename, methods=["PATCH"]),
        Route(path, contents.remove, methods=["DELETE"]),
        Route("/files/{path:path}", files.read, methods=["GET"]),
    ]


async def _nothing(request: Request) -> Response:
    return replies.Json({})


async def _none(request: Request) -> Response:
    return replies.Json([])


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
    told = (NotebookError, *BELOW, HTTPException, Exception)
    router = Starlette(
        routes=route_table(assets),
        lifespan=lambda _app: _lifespan(assets),
        exception_handlers=dict.fromkeys(told, replies.refused),
    )
    return Gate(router, assets, hooks, OPEN_PATHS)
