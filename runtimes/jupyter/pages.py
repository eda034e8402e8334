"""What a person's browser opens as a page: the way in, and the front end's own pages."""

from __future__ import annotations

import zlib
from typing import cast
from urllib.parse import parse_qs, quote

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from runtimes.errors import UnsafePath
from runtimes.jupyter import frontend, policy, replies, sessions, tickets
from runtimes.jupyter.bodies import body
from runtimes.jupyter.entry import entry_of, place_of
from runtimes.jupyter.errors import NotFound
from runtimes.jupyter.frontend import Page
from runtimes.jupyter.off_loop import off_loop
from runtimes.models import WorkspaceFile
from runtimes.paths import safe_path

_LARGEST_FORM = 16_384
#: How many the front end's style sheets have for collaborators.
_COLOURS = 7


async def enter(request: Request) -> Response:
    """A ticket, by POST, for a cookie and the way to the notebook (303). The ticket is used up."""
    form = parse_qs((await body(request, most_bytes=_LARGEST_FORM)).decode("ascii", "replace"), max_num_fields=4)
    secret, target = form.get("ticket", [""])[0], form.get("next", [""])[0]
    try:
        path = safe_path(target)
    except UnsafePath as error:
        raise NotFound(target) from error
    credential = await off_loop(tickets.redeem, secret, place_of(request.scope).slug)
    response = RedirectResponse(f"/notebooks/{quote(path)}", 303)
    response.headers["set-cookie"] = tickets.cookie(credential)
    response.headers["referrer-policy"] = "no-referrer"
    return response


async def page(request: Request) -> Response:
    """The front end's page for a notebook, a folder or a text file. 404 where there is no such file."""
    entry = entry_of(request.scope)
    kind = cast("Page", request.url.path.split("/")[1])
    path = request.path_params.get("path", "").strip("/")
    if kind != "tree":
        rows = WorkspaceFile.objects.filter(workspace_id=entry.workspace_id, path=path)
        if not await off_loop(rows.exists):
            raise NotFound(path)
    # The kernel starts while the browser loads the page. The front end looks for a session before it makes one.
    # A picture that a notebook shows is asked for beside it, by the same address, and needs no kernel.
    early = kind == "notebooks" and path.endswith(".ipynb") and entry.may_write
    warm = BackgroundTask(sessions.prepare, entry.workspace_id, path) if early else None
    language = replies.language_of(request.scope)
    response = HTMLResponse(frontend.html(kind, entry, language), background=warm)
    response.headers["content-security-policy"] = policy.page_policy(entry.slug, entry.mode)
    return response


async def home(request: Request) -> Response:
    """The workspace's bare host shows its files."""
    return RedirectResponse("/tree", 302)


async def me(request: Request) -> Response:
    """`/api/me`: who works here, as collaborators see them, each in a colour of the front end's.

    The subject is opaque; no address, no account name.
    """
    entry = entry_of(request.scope)
    name = entry.display_name
    initials = "".join(word[0] for word in name.split()[:2]).upper()
    identity = {
        "username": entry.subject,
        "name": name,
        "display_name": name,
        "initials": initials,
        "avatar_url": None,
        "color": f"var(--jp-collaborator-color{zlib.crc32(entry.subject.encode()) % _COLOURS + 1})",
    }
    return replies.Json({"identity": identity, "permissions": {}})
