"""`…/checkpoints`: contents that a person kept by saving by hand, oldest first (the front end shows the last)."""

from __future__ import annotations

from datetime import UTC
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from runtimes import storage
from runtimes.jupyter import contents_changes as changes
from runtimes.jupyter import document, replies
from runtimes.jupyter.contents import follow, path_of, workspace_of
from runtimes.jupyter.errors import NotFound
from runtimes.jupyter.off_loop import off_loop
from runtimes.models import FileVersion, Workspace


def model(version: FileVersion) -> dict[str, Any]:
    """A checkpoint as in Jupyter Server's REST interface."""
    return {
        "id": str(version.pk),
        "last_modified": version.created_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
    }


def _of(workspace: Workspace, path: str) -> list[FileVersion]:
    kept = FileVersion.objects.filter(workspace=workspace, path=path, source=FileVersion.Source.CHECKPOINT)
    return list(kept.order_by("created_at", "pk"))


def _one(workspace: Workspace, path: str, version_id: int) -> FileVersion:
    version = next((each for each in _of(workspace, path) if each.pk == version_id), None)
    if version is None:
        raise NotFound(f"{path} {version_id}")
    return version


def _keep(workspace: Workspace, path: str) -> FileVersion:
    document.flush_sync(workspace)
    return storage.checkpoint(workspace, path)


def _restore(workspace: Workspace, path: str, version_id: int) -> changes.Change:
    data = storage.read(_one(workspace, path, version_id).blob_id)
    return changes.write(workspace, path, data, source=storage.Source.RESTORED)


async def list_checkpoints(request: Request) -> Response:
    """GET …/checkpoints"""
    kept = await off_loop(_of, await workspace_of(request), path_of(request))
    return replies.Json([model(version) for version in kept])


async def keep(request: Request) -> Response:
    """POST …/checkpoints: what the document holds now, kept."""
    version = await off_loop(_keep, await workspace_of(request), path_of(request))
    return replies.Json(model(version), 201)


async def restore(request: Request) -> Response:
    """POST …/checkpoints/<id>: that content again. The present one stays as a version."""
    workspace = await workspace_of(request)
    change = await off_loop(_restore, workspace, path_of(request), request.path_params["version_id"])
    follow(workspace, change)
    return replies.empty()


async def forget(request: Request) -> Response:
    """DELETE …/checkpoints/<id>"""
    workspace = await workspace_of(request)
    version = await off_loop(_one, workspace, path_of(request), request.path_params["version_id"])
    await off_loop(version.delete)
    return replies.empty()
