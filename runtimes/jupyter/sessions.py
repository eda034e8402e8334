"""Sessions: which kernel belongs to which notebook. A page that is opened again finds its kernel here.

The front end makes a session at an invented path and then renames it (two PATCHes); before that it looks for one at the
notebook's path. Two pages that open a notebook at once therefore both make one: the second gets the first one's kernel.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F, QuerySet
from starlette.requests import Request
from starlette.responses import Response

from runtimes import launch
from runtimes.errors import UnsafePath
from runtimes.jupyter import kernels, replies
from runtimes.jupyter.bodies import json_object, text
from runtimes.jupyter.entry import entry_of
from runtimes.jupyter.errors import BELOW, BadRequest, NotebookError, NotFound
from runtimes.jupyter.off_loop import off_loop
from runtimes.models import Kernel, Session, Workspace
from runtimes.paths import safe_path


def model(session: Session) -> dict[str, Any]:
    """A session as in Jupyter Server's REST interface (`Session`)."""
    return {
        "id": str(session.pk),
        "path": session.path,
        "name": session.name,
        "type": session.type,
        "kernel": kernels.model(session.kernel),
        "notebook": {"path": session.path, "name": session.name},
    }


def _living(workspace_id: int) -> QuerySet[Session]:
    alive = Session.objects.filter(workspace_id=workspace_id, kernel__in=kernels.living(workspace_id))
    return alive.select_related("kernel").order_by("created_at")


def _find(workspace_id: int, session_id: UUID) -> Session:
    session = _living(workspace_id).filter(pk=session_id).first()
    if session is None:
        raise NotFound(str(session_id))
    return session


def _path(values: dict[str, Any]) -> str:
    path = text(values, "path")
    if not path:
        raise BadRequest("a session has a path")
    try:
        return safe_path(path)
    except UnsafePath as error:
        raise BadRequest(path) from error


def _kernel_wishes(values: dict[str, Any]) -> tuple[UUID | None, str | None]:
    wished = values.get("kernel") or {}
    if not isinstance(wished, dict):
        raise BadRequest("kernel must be an object")
    kernel_id, name = text(wished, "id"), text(wished, "name")
    try:
        return (UUID(kernel_id) if kernel_id else None), name
    except ValueError as error:
        raise BadRequest("kernel.id is no UUID") from error


async def start(workspace_id: int, values: dict[str, Any]) -> Session:
    """The session at `path`, with a kernel that lives: the one that is there, else a new one. Safe to repeat."""
    path = _path(values)
    kernel_id, kernel_name = _kernel_wishes(values)
    if here := await off_loop(_living(workspace_id).filter(path=path).first):
        return here
    if kernel_id:
        kernel = await off_loop(kernels.find, workspace_id, kernel_id)
    else:
        kernel = await kernels.start(workspace_id, kernel_name, beside=path)
    name, kind = text(values, "name", most=200) or "", text(values, "type", most=20) or "notebook"
    session = await off_loop(_create, workspace_id, path, kernel, name, kind)
    if session.kernel_id != kernel.pk and not kernel_id:
        await launch.astop_kernel(kernel)
    return session


def _create(workspace_id: int, path: str, kernel: Kernel, name: str, kind: str) -> Session:
    """A new session, or the one that somebody else made at `path` meanwhile."""
    with transaction.atomic():
        _lock(workspace_id)
        here = _living(workspace_id).filter(path=path).first()
        return here or Session.objects.create(workspace_id=workspace_id, path=path, kernel=kernel, name=name, type=kind)


def _lock(workspace_id: int) -> None:
    # Takes the workspace's row until the end of the transaction: of two that arrive at once, the second sees the first.
    Workspace.objects.filter(pk=workspace_id).update(quota_bytes=F("quota_bytes"))


async def prepare(workspace_id: int, path: str) -> None:
    """Has a kernel ready for a notebook whose page is being loaded. The page finds it, or asks itself and is told why
    there is none: this tells nobody."""
    with suppress(NotebookError, *BELOW):
        kernel = {"name": await off_loop(kernels.named_by, workspace_id, path)}
        await start(workspace_id, {"path": path, "name": path.rsplit("/", 1)[-1], "type": "notebook", "kernel": kernel})


async def change(workspace_id: int, session_id: UUID, values: dict[str, Any]) -> Session:
    """Renames a session or gives it another kernel. Raises NotFound or BadRequest.

    One that comes to a path where another page has a session gets that page's kernel: a notebook has one."""
    session = await off_loop(_find, workspace_id, session_id)
    former = session.kernel
    changed = _changes(values)
    kernel_id, kernel_name = _kernel_wishes(values)
    if kernel_id and kernel_id != former.pk:
        changed["kernel"] = await off_loop(kernels.find, workspace_id, kernel_id)
    elif kernel_name:
        changed["kernel"] = await kernels.start(workspace_id, kernel_name, beside=changed.get("path", session.path))
    await off_loop(_apply, workspace_id, session_id, changed)
    session = await off_loop(_find, workspace_id, session_id)
    if session.kernel_id != former.pk:
        await _stop_unused(former)
    return session


def _changes(values: dict[str, Any]) -> dict[str, Any]:
    changed: dict[str, Any] = {}
    if values.get("path") is not None:
        changed["path"] = _path(values)
    for name, most in (("name", 200), ("type", 20)):
        if (value := text(values, name, most=most)) is not None:
            changed[name] = value
    return changed


async def _stop_unused(kernel: Kernel) -> None:
    if not await off_loop(kernel.sessions.exists):
        await launch.astop_kernel(kernel)


def _apply(workspace_id: int, session_id: UUID, changed: dict[str, Any]) -> None:
    with transaction.atomic():
        _lock(workspace_id)
        if "path" in changed and "kernel" not in changed:
            others = _living(workspace_id).filter(path=changed["path"]).exclude(pk=session_id)
            if other := others.first():
                changed["kernel"] = other.kernel
        if changed:
            mine = Session.objects.filter(pk=session_id)
            path = mine.values_list("path", flat=True).get()
            mine.update(**changed)
            if "kernel" in changed and "path" not in changed:
                # Another kernel was chosen for the notebook: for every page that shows it.
                Session.objects.filter(workspace_id=workspace_id, path=path).update(kernel=changed["kernel"])


async def end(workspace_id: int, session_id: UUID) -> None:
    """Ends a session, and its kernel when no other page uses it. Raises NotFound."""
    session = await off_loop(_find, workspace_id, session_id)
    await off_loop(session.delete)
    await _stop_unused(session.kernel)


async def list_sessions(request: Request) -> Response:
    """GET /api/sessions"""
    rows = await off_loop(list, _living(entry_of(request.scope).workspace_id))
    return replies.Json([model(session) for session in rows])


async def start_session(request: Request) -> Response:
    """POST /api/sessions {path, name, type, kernel}: 201, at once; the kernel's state is `starting` until it runs."""
    session = await start(entry_of(request.scope).workspace_id, await json_object(request))
    return replies.Json(model(session), 201)


async def read_session(request: Request) -> Response:
    """GET /api/sessions/<id>"""
    place = entry_of(request.scope).place
    return replies.Json(model(await off_loop(_find, place.workspace_id, request.path_params["session_id"])))


async def change_session(request: Request) -> Response:
    """PATCH /api/sessions/<id>"""
    place, values = entry_of(request.scope).place, await json_object(request)
    return replies.Json(model(await change(place.workspace_id, request.path_params["session_id"], values)))


async def end_session(request: Request) -> Response:
    """DELETE /api/sessions/<id>"""
    await end(entry_of(request.scope).workspace_id, request.path_params["session_id"])
    return replies.empty()
