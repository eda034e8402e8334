"""`/api/contents`: the workspace's files. Storage is the truth; a live runtime's disk is told afterwards."""

from __future__ import annotations

import asyncio
import logging
from weakref import WeakValueDictionary

from starlette.requests import Request
from starlette.responses import Response

from runtimes import storage
from runtimes.agent_replies import AgentError
from runtimes.errors import KeyMissing
from runtimes.jupyter import contents_changes as changes
from runtimes.jupyter import contents_models as models
from runtimes.jupyter import replies
from runtimes.jupyter.bodies import json_object, text
from runtimes.jupyter.contents_changes import Change
from runtimes.jupyter.entry import entry_of
from runtimes.jupyter.errors import BadRequest
from runtimes.jupyter.off_loop import off_loop
from runtimes.models import Runtime, Workspace

log = logging.getLogger(__name__)

# The front end refuses to upload more than 15 MB at once; base64 makes a third more of it.
MOST_BODY_BYTES = 24 << 20
_copying: set[asyncio.Task[None]] = set()
_turns: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()


async def workspace_of(request: Request) -> Workspace:
    """The row of the workspace that is asked."""
    return await off_loop(Workspace.objects.get, pk=entry_of(request.scope).workspace_id)


def path_of(request: Request) -> str:
    """The checked path of the address. Raises NotFound."""
    return models.checked(request.path_params.get("path", ""))


async def read(request: Request) -> Response:
    """GET /api/contents/<path>?content&type&format&hash"""
    query = request.query_params
    kind, text_format = query.get("type"), query.get("format")
    if kind not in {None, "notebook", "file", "directory"} or text_format not in models.FORMATS:
        raise BadRequest("unknown type or format")
    wish = models.Wish(
        kind=kind,
        text_format=text_format,
        content=query.get("content", "1") != "0",
        with_hash=query.get("hash", "0") == "1",
        writable=entry_of(request.scope).may_write,
    )
    return replies.Json(await off_loop(models.read, await workspace_of(request), path_of(request), wish))


async def save(request: Request) -> Response:
    """PUT /api/contents/<path>: 200, or 201 where there was nothing."""
    path, workspace = path_of(request), await workspace_of(request)
    body = await json_object(request, most_bytes=MOST_BODY_BYTES)
    there = await off_loop(workspace.files.filter(path=path).exists)
    change = await off_loop(changes.save, workspace, path, body)
    return await _changed(workspace, change, 200 if there else 201)


async def create(request: Request) -> Response:
    """POST /api/contents/<folder> {type, ext} or {copy_from}: 201 with the new file's model."""
    folder, workspace = path_of(request), await workspace_of(request)
    body = await json_object(request)
    if source := text(body, "copy_from"):
        change = await off_loop(changes.copy, workspace, source, folder)
    else:
        kind, extension = text(body, "type") or "file", text(body, "ext") or ""
        if extension == ".ipynb":
            kind = "notebook"
        change = await off_loop(changes.create_untitled, workspace, folder, kind, extension)
    return await _changed(workspace, change, 201)


async def rename(request: Request) -> Response:
    """PATCH /api/contents/<path> {path}"""
    path, workspace = path_of(request), await workspace_of(request)
    target = text(await json_object(request), "path")
    if not target:
        raise BadRequest("no new path")
    change = await off_loop(changes.rename, workspace, path, models.checked(target))
    return await _changed(workspace, change, 200)


async def remove(request: Request) -> Response:
    """DELETE /api/contents/<path>"""
    path, workspace = path_of(request), await workspace_of(request)
    follow(workspace, await off_loop(changes.remove, workspace, path))
    return replies.empty()


async def _changed(workspace: Workspace, change: Change, status: int) -> Response:
    follow(workspace, change)
    return replies.Json(await off_loop(models.read, workspace, change.path, models.Wish()), status)


def follow(workspace: Workspace, change: Change) -> None:
    """Brings a live runtime's disk up to date, while the answer is on its way."""
    task = asyncio.create_task(_copy(workspace.pk, change))
    _copying.add(task)
    task.add_done_callback(_copying.discard)


async def _copy(workspace_id: int, change: Change) -> None:
    # In the order of the changes: a file that is removed and made again must end up there.
    async with _turns.setdefault(workspace_id, asyncio.Lock()):
        ready = Runtime.objects.filter(workspace_id=workspace_id, state=Runtime.State.READY)
        runtime = await off_loop(ready.first)
        if runtime is None:
            return  # the next one gets everything when it starts
        try:
            await storage.settle(runtime)
        except (AgentError, KeyMissing) as error:
            # Code that runs now still sees it; the next pull tries again before it brings anything.
            log.warning("runtime %s did not let go of a file: %s", runtime.name, error)
        try:
            await storage.push(runtime, change.written)
        except (AgentError, KeyMissing) as error:
            # Storage has it, and the runtime gets it with the next push; only code that runs now does not see it.
            log.warning("runtime %s did not take a changed file: %s", runtime.name, error)
