"""Every route of a notebook host × who asks. A route that this table does not know fails the test."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from starlette.routing import Route, WebSocketRoute

from runtimes.jupyter.assets import Assets
from runtimes.jupyter.serve import OPEN_PATHS, route_table
from runtimes.models import Workspace
from tests.runtimes.jupyter.conftest import NOTEBOOK, browser, cookie_for
from tests.runtimes.jupyter.sockets import Socket

KERNEL = f"/api/kernels/{uuid4()}"
SESSION = f"/api/sessions/{uuid4()}"
FILE = f"/api/contents/{NOTEBOOK}"
# What a reader may not do, though it is asked with GET: nothing. What a reader may, though it is not: these.
READER_MAY = {"PUT /lab/api/settings/{plugin:path}", "PUT /lab/api/workspaces/{name:path}",
              "PUT /api/collaboration/session/{path:path}"}  # fmt: skip

EXAMPLES = {
    "GET /": "/",
    "POST /enter": "/enter",
    "GET /notebooks/{path:path}": f"/notebooks/{NOTEBOOK}",
    "GET /tree": "/tree",
    "GET /tree/{path:path}": "/tree/ps1",
    "GET /edit/{path:path}": "/edit/ps1/data.csv",
    "GET /lab/api/themes/{path:path}": "/lab/api/themes/@jupyterlab/theme-light-extension/index.css",
    "GET /static/favicons/{path:path}": "/static/favicons/favicon-notebook.ico",
    "GET /api/me": "/api/me",
    "GET /lab/api/settings": "/lab/api/settings",
    "GET /lab/api/settings/": "/lab/api/settings/",
    "GET /lab/api/settings/{plugin:path}": "/lab/api/settings/@jupyterlab/apputils-extension:themes",
    "PUT /lab/api/settings/{plugin:path}": "/lab/api/settings/@jupyterlab/apputils-extension:themes",
    "GET /lab/api/translations": "/lab/api/translations",
    "GET /lab/api/translations/": "/lab/api/translations/",
    "GET /lab/api/translations/{locale}": "/lab/api/translations/fr_FR",
    "GET /lab/api/workspaces": "/lab/api/workspaces",
    "GET /lab/api/workspaces/{name:path}": "/lab/api/workspaces/default",
    "PUT /lab/api/workspaces/{name:path}": "/lab/api/workspaces/default",
    "GET /api/kernelspecs": "/api/kernelspecs",
    "GET /api/kernels": "/api/kernels",
    "POST /api/kernels": "/api/kernels",
    "GET /api/kernels/{kernel_id:uuid}": KERNEL,
    "DELETE /api/kernels/{kernel_id:uuid}": KERNEL,
    "POST /api/kernels/{kernel_id:uuid}/interrupt": KERNEL + "/interrupt",
    "POST /api/kernels/{kernel_id:uuid}/restart": KERNEL + "/restart",
    "POST /api/kernels/{kernel_id:uuid}/execute": KERNEL + "/execute",
    "POST /api/kernels/{kernel_id:uuid}/input": KERNEL + "/input",
    "SOCKET /api/kernels/{kernel_id:uuid}/channels": KERNEL + "/channels",
    "GET /api/sessions": "/api/sessions",
    "POST /api/sessions": "/api/sessions",
    "GET /api/sessions/{session_id:uuid}": SESSION,
    "PATCH /api/sessions/{session_id:uuid}": SESSION,
    "DELETE /api/sessions/{session_id:uuid}": SESSION,
    "GET /api/nbconvert": "/api/nbconvert",
    "GET /api/terminals": "/api/terminals",
    "GET /api/contents/{path:path}/checkpoints": FILE + "/checkpoints",
    "POST /api/contents/{path:path}/checkpoints": FILE + "/checkpoints",
    "POST /api/contents/{path:path}/checkpoints/{version_id:int}": FILE + "/checkpoints/1",
    "DELETE /api/contents/{path:path}/checkpoints/{version_id:int}": FILE + "/checkpoints/1",
    "GET /api/contents": "/api/contents",
    "POST /api/contents": "/api/contents",
    "GET /api/contents/{path:path}": FILE,
    "POST /api/contents/{path:path}": "/api/contents/ps1",
    "PUT /api/contents/{path:path}": FILE,
    "PATCH /api/contents/{path:path}": FILE,
    "DELETE /api/contents/{path:path}": FILE,
    "GET /files/{path:path}": f"/files/{NOTEBOOK}",
    "PUT /api/collaboration/session/{path:path}": f"/api/collaboration/session/{NOTEBOOK}",
    "SOCKET /api/collaboration/room/{room:path}": "/api/collaboration/room/JupyterLab:globalAwareness",
    "SOCKET /api/events/subscribe": "/api/events/subscribe",
}


def _table() -> set[str]:
    found = set()
    for route in route_table(Assets()):
        if isinstance(route, WebSocketRoute):
            found.add(f"SOCKET {route.path}")
        else:
            assert isinstance(route, Route)
            found |= {f"{method} {route.path}" for method in (route.methods or set()) - {"HEAD"}}
    return found


def test_every_route_has_an_example() -> None:
    assert _table() == set(EXAMPLES)


def test_only_the_way_in_is_open() -> None:
    assert {"/enter"} == OPEN_PATHS


REQUESTS = sorted(name for name in EXAMPLES if not name.startswith("SOCKET") and name != "POST /enter")
SOCKETS = sorted(name for name in EXAMPLES if name.startswith("SOCKET"))


async def _ask(application: Any, workspace: Workspace, name: str, cookie: str = "", **headers: str) -> int:
    method = name.split(" ", maxsplit=1)[0]
    async with browser(application, workspace, cookie, **headers) as client:
        answer = await client.request(method, EXAMPLES[name], json={} if method in {"POST", "PUT", "PATCH"} else None)
    return answer.status_code


@pytest.mark.parametrize("name", REQUESTS)
async def test_who_gets_what(name: str, application: Any, work: Workspace, other_work: Workspace) -> None:
    """Nobody without a cookie, with another workspace's, or from a foreign page; readers only read."""
    ada, tim, ben = cookie_for(work, "ada"), cookie_for(work, "tim", "read"), cookie_for(other_work, "ben")
    assert await _ask(application, work, name) == 403
    assert await _ask(application, work, name, ben) == 403
    assert await _ask(application, work, name, cookie_for(work, "mallory")) == 403
    changes = not name.startswith("GET")
    for origin in ("https://evil.example", "null", "http://127.0.0.1:8000", "http://static.localhost:8000"):
        foreign = await _ask(application, work, name, ada, origin=origin)
        assert (foreign == 403) == changes, origin
    as_reader = await _ask(application, work, name, tim)
    assert (as_reader == 403) == (changes and name not in READER_MAY)
    assert await _ask(application, work, name, ada) not in {401, 403, 405, 500}


@pytest.mark.parametrize("name", SOCKETS)
async def test_who_gets_a_socket(name: str, application: Any, work: Workspace, other_work: Workspace) -> None:
    path, ada = EXAMPLES[name], cookie_for(work, "ada")
    for cookie, origin in (
        ("", None),
        (cookie_for(other_work, "ben"), None),
        (cookie_for(work, "mallory"), None),
        (ada, "https://evil.example"),
        (ada, "null"),
    ):
        async with Socket(application, work, path, cookie, **({"origin": origin} if origin else {})) as socket:
            assert not socket.accepted
            assert socket.closed in {4401, 4403}


async def test_unknown_paths_and_methods_are_not_found(application: Any, work: Workspace) -> None:
    async with browser(application, work, cookie_for(work, "ada")) as client:
        assert (await client.get("/api/shutdown")).status_code == 404
        assert (await client.post("/api/terminals", json={})).status_code == 404
        assert (await client.get("/api/config/notebook")).json()["message"]
