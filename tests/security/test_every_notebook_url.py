"""Every route of a notebook host × everyone who might ask for it. A route without a line here fails."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import httpx
import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from starlette.routing import BaseRoute, Route, WebSocketRoute

from classroom.hooks import HOOKS
from classroom.models import Course
from classroom.people.models import User
from runtimes.jupyter import hosts, tickets
from runtimes.jupyter.assets import ALIASES, Assets
from runtimes.jupyter.gate import Gate
from runtimes.jupyter.off_loop import close_connections
from runtimes.jupyter.serve import OPEN_PATHS, route_table
from tests import world as worlds
from tests.security.test_every_url import ROLES

# in: reaches the route · 403: turned away at the door. Ada's workspace is asked for; everyone brings a credential
# of their own, signed and for this very workspace, as if they had had a ticket once.
READ = "403 403 in 403 403 403 in in"
WRITE = "403 403 in 403 403 403 403 403"
OPEN = "in in in in in in in in"

TABLE: dict[tuple[str, str], str] = {}


def lines(expected: str, *rows: str) -> None:
    """Each row is a path after the methods that it answers; SOCKET for a WebSocket."""
    for row in rows:
        methods, path = row.split()
        for method in methods.split("/"):
            TABLE[method, path] = expected


lines(OPEN, "POST /enter")
lines(
    READ,
    "GET /",
    "GET /api/contents",
    "GET /api/contents/{path:path}",
    "GET /api/contents/{path:path}/checkpoints",
    "GET /api/kernels",
    "GET /api/kernels/{kernel_id:uuid}",
    "GET /api/kernelspecs",
    "GET /api/me",
    "GET /api/nbconvert",
    "GET /api/sessions",
    "GET /api/sessions/{session_id:uuid}",
    "GET /api/terminals",
    "GET /edit/{path:path}",
    "GET /files/{path:path}",
    "GET /lab/api/settings",
    "GET /lab/api/settings/",
    "GET /lab/api/settings/{plugin:path}",
    "GET /lab/api/translations",
    "GET /lab/api/translations/",
    "GET /lab/api/translations/{locale}",
    "GET /lab/api/workspaces",
    "GET /lab/api/workspaces/{name:path}",
    "GET /notebooks/{path:path}",
    "GET /tree",
    "GET /tree/{path:path}",
    # a reader's page joins the document and keeps its own look; neither changes the workspace
    "PUT /api/collaboration/session/{path:path}",
    "PUT /lab/api/settings/{plugin:path}",
    "PUT /lab/api/workspaces/{name:path}",
    # what a reader may say on a socket is each socket's own to refuse
    "SOCKET /api/collaboration/room/{room:path}",
    "SOCKET /api/events/subscribe",
    "SOCKET /api/kernels/{kernel_id:uuid}/channels",
)
lines(
    WRITE,
    "DELETE /api/contents/{path:path}",
    "DELETE /api/contents/{path:path}/checkpoints/{version_id:int}",
    "DELETE /api/kernels/{kernel_id:uuid}",
    "DELETE /api/sessions/{session_id:uuid}",
    "PATCH /api/contents/{path:path}",
    "PATCH /api/sessions/{session_id:uuid}",
    "POST /api/contents",
    "POST /api/contents/{path:path}",
    "POST /api/contents/{path:path}/checkpoints",
    "POST /api/contents/{path:path}/checkpoints/{version_id:int}",
    "POST /api/kernels",
    "POST /api/kernels/{kernel_id:uuid}/execute",
    "POST /api/kernels/{kernel_id:uuid}/input",
    "POST /api/kernels/{kernel_id:uuid}/interrupt",
    "POST /api/kernels/{kernel_id:uuid}/restart",
    "POST /api/sessions",
    "PUT /api/contents/{path:path}",
)


@pytest.fixture
def world(transactional_db: None, course: Course, mallory: User):
    # The door reads rows in threads of its own, which see only what is committed.
    yield worlds.build(course)
    close_connections()


def routes() -> dict[tuple[str, str], BaseRoute]:
    """Every route but the front end's own files, by method and path."""
    found: dict[tuple[str, str], BaseRoute] = {}
    for route in route_table(Assets()):
        if isinstance(route, WebSocketRoute):
            found["SOCKET", route.path] = route
        elif isinstance(route, Route):
            assert route.methods
            found.update({(method, route.path): route for method in route.methods - {"HEAD"}})
        else:
            raise TypeError(f"{route} is neither a request nor a socket: teach this test to ask for it")
    return found


async def reached(scope: Any, receive: Any, send: Any) -> None:
    """Stands behind the door in place of the routes: whoever gets here is in."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close", "code": 1000})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"in"})


def address(route: BaseRoute) -> str:
    """The route's path with something in every place."""
    assert isinstance(route, Route | WebSocketRoute)
    values = {"uuid": str(UUID(int=1)), "int": "1", "path": worlds.NOTEBOOK, "str": "x"}
    path = route.path_format
    for name, convertor in route.param_convertors.items():
        kind = (
            type(convertor)
            .__name__.removesuffix("Convertor")
            .lower()
            .replace("string", "str")
            .replace("integer", "int")
        )
        path = path.replace(f"{{{name}}}", values[kind])
    return path


def credential(world: worlds.World, username: str | None) -> str:
    """The cookie that a person would have; "" for who has none."""
    if username is None:
        return ""
    slug = world.ada_work.workspace.slug
    return tickets.cookie(tickets.Credential(slug, User.objects.get(username=username).subject, "write")).split(";")[0]


async def socket_outcome(gate: Gate, host: str, path: str, cookie: str) -> str:
    sent: list[Any] = []
    headers = [(b"host", host.encode()), (b"origin", f"http://{host}".encode()), (b"cookie", cookie.encode())]
    scope = {
        "type": "websocket",
        "path": path,
        "headers": headers,
        "query_string": b"",
        "subprotocols": [],
        "state": {},
    }

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await gate(scope, receive, send)
    return "in" if sent[0]["type"] == "websocket.accept" else "403"


lines(READ, *(f"GET {prefix}{{path:path}}" for prefix in ALIASES))  # the front end's own files


def test_every_route_has_a_line():
    assert routes().keys() - TABLE.keys() == set()


def test_every_line_has_a_route():
    assert TABLE.keys() - routes().keys() == set()


async def test_everyone_gets_what_is_theirs(world: worlds.World):
    gate = Gate(reached, Assets(), HOOKS, OPEN_PATHS)
    host = f"{world.ada_work.workspace.slug}.{settings.NOTEBOOK_DOMAIN}"
    cookies = {role: await sync_to_async(credential)(world, username) for role, username in ROLES.items()}
    wrong: dict[str, str] = {}
    transport = httpx.ASGITransport(gate)
    async with httpx.AsyncClient(
        transport=transport, base_url=f"http://{host}", headers={"origin": f"http://{host}"}
    ) as web:
        for (method, path), expected in TABLE.items():
            url, found = address(routes()[method, path]), []
            for cookie in cookies.values():
                if method == "SOCKET":
                    found.append(await socket_outcome(gate, host, url, cookie))
                    continue
                origin = {"origin": "null"} if url in OPEN_PATHS else {}
                answer = await web.request(method, url, headers={"cookie": cookie, **origin})
                found.append("in" if answer.status_code == 200 else str(answer.status_code))
            if " ".join(found) != expected:
                wrong[f"{method} {path}"] = f"{' '.join(found)} (expected {expected})"
    assert not wrong, "\n" + "\n".join(f"{line}: {found}" for line, found in wrong.items())


@pytest.mark.parametrize("path", ["/", "/accounts/login/", "/c/data/", "/django-admin/", "/static/css/tokens.css"])
async def test_a_notebook_host_serves_no_page_of_the_site(world: worlds.World, path: str):
    from classroom.asgi import application

    host = f"{world.ada_work.workspace.slug}.{settings.NOTEBOOK_DOMAIN}"
    async with httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url=f"http://{host}") as web:
        answer = await web.get(path)
    assert answer.status_code in {403, 404}
    assert settings.SESSION_COOKIE_NAME not in answer.headers.get("set-cookie", "")


@pytest.mark.parametrize(
    "path", ["/api/contents", "/api/me", "/enter", "/notebooks/squares.ipynb", "/lab/api/settings"]
)
async def test_the_site_serves_no_notebook(world: worlds.World, path: str):
    from classroom.asgi import application

    cookie = await sync_to_async(credential)(world, "ada")
    headers = {"cookie": cookie}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url=settings.SITE_ORIGIN) as web:
        assert (await web.get(path, headers=headers)).status_code == 404


async def test_a_host_that_is_neither_gets_nothing(transactional_db: None):
    from classroom.asgi import application

    for host in ("evil.example", "localhost", hosts.STATIC_LABEL + ".evil.example"):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url=f"http://{host}") as web:
            assert (await web.get("/")).status_code == 400
