"""Kernels of a workspace as Jupyter's REST interface shows them. Rows are the truth; `launch` does what is asked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from starlette.requests import Request
from starlette.responses import Response

from runtimes import blobs, launch, provider
from runtimes.jupyter import replies
from runtimes.jupyter.bodies import json_object, text
from runtimes.jupyter.entry import Entry, entry_of
from runtimes.jupyter.errors import BadRequest, NotFound
from runtimes.jupyter.off_loop import off_loop
from runtimes.jupyter.runs import cancel_queued
from runtimes.kernelspecs import PYTHON, Kernelspec
from runtimes.models import Kernel, Profile, Runtime, Workspace, WorkspaceFile

GONE = (Kernel.State.STOPPING, Kernel.State.DEAD)
# Before and between lives, what the kernel itself last said no longer holds.
_SPOKEN_FOR = {
    Kernel.State.REQUESTED: "starting",
    Kernel.State.STARTING: "starting",
    Kernel.State.RESTARTING: "restarting",
    Kernel.State.STOPPING: "dead",
    Kernel.State.DEAD: "dead",
}


def model(kernel: Kernel) -> dict[str, Any]:
    """A kernel as in Jupyter Server's REST interface (`Kernel`)."""
    state = _SPOKEN_FOR.get(Kernel.State(kernel.state), kernel.execution_state)
    described: dict[str, Any] = {
        "id": str(kernel.pk),
        "name": kernel.name,
        "last_activity": kernel.last_activity.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "execution_state": state,
        "connections": 1,
    }
    if kernel.message:
        described["reason"] = kernel.message
    return described


def living(workspace_id: int) -> QuerySet[Kernel]:
    """The kernels of a workspace that run or will, oldest first."""
    alive = Kernel.objects.filter(workspace_id=workspace_id, runtime__state__in=Runtime.LIVE)
    return alive.exclude(runtime__state=Runtime.State.STOPPING).exclude(state__in=GONE).order_by("pk")


def find(workspace_id: int, kernel_id: UUID) -> Kernel:
    """A living kernel of this workspace, its runtime read with it. Raises NotFound; another's kernel is not found."""
    kernel = living(workspace_id).select_related("runtime").filter(pk=kernel_id).first()
    if kernel is None:
        raise NotFound(str(kernel_id))
    return kernel


async def start(workspace_id: int, name: str | None, *, beside: str = "") -> Kernel:
    """Asks for a new kernel, and for the workspace's runtime if there is none. Does not wait for a place to be free.

    beside: the notebook in whose folder it starts, where `open("data.csv")` looks. Raises BadRequest for a kernelspec
    that the workspace's environment lacks, and what `launch` raises if none can be had."""
    workspace = await Workspace.objects.select_related("profile").aget(pk=workspace_id)
    wanted = name or PYTHON
    if wanted != PYTHON and wanted not in await off_loop(_others, workspace.profile):
        raise BadRequest(f"no kernelspec {name!r}")
    runtime = await launch.alaunch(workspace)
    return await launch.astart_kernel(runtime, name=wanted, cwd=beside.rpartition("/")[0])


def named_by(workspace_id: int, path: str) -> str:
    """The kernelspec that the notebook at `path` names, as it was saved; Python's where it names none that is there."""
    others = _others(Profile.objects.get(workspace=workspace_id))
    row = WorkspaceFile.objects.filter(workspace_id=workspace_id, path=path).first() if others else None
    if row is None:
        return PYTHON
    try:
        name = json.loads(blobs.read(row.blob_id))["metadata"]["kernelspec"]["name"]
    except (OSError, ValueError, KeyError, TypeError):
        return PYTHON
    return name if name in others else PYTHON


async def kernelspecs(request: Request) -> Response:
    """GET /api/kernelspecs: Python, named after the workspace's machine, and what else its environment has."""
    specs = await off_loop(_kernelspecs, entry_of(request.scope))
    return replies.Json({"default": PYTHON, "kernelspecs": {spec.name: _described(spec) for spec in specs}})


def _kernelspecs(entry: Entry) -> list[Kernelspec]:
    profile = Profile.objects.get(workspace=entry.workspace_id)
    return [Kernelspec(PYTHON, f"Python 3 ({profile.name})", "python"), *_others(profile).values()]


def _others(profile: Profile) -> Mapping[str, Kernelspec]:
    """Kernels beside Python's, by name."""
    return provider.get().kernelspecs(profile.environment)


def _described(spec: Kernelspec) -> dict[str, Any]:
    about = {"display_name": spec.display_name, "language": spec.language, "interrupt_mode": "message", "metadata": {}}
    return {"name": spec.name, "spec": {"argv": [], "env": {}, **about}, "resources": {}}


async def list_kernels(request: Request) -> Response:
    """GET /api/kernels"""
    rows = await off_loop(list, living(entry_of(request.scope).workspace_id))
    return replies.Json([model(kernel) for kernel in rows])


async def start_kernel(request: Request) -> Response:
    """POST /api/kernels {name}: a kernel without a notebook (a console)."""
    name = text(await json_object(request), "name")
    kernel = await start(entry_of(request.scope).workspace_id, name)
    return replies.Json(model(kernel), 201)


async def read_kernel(request: Request) -> Response:
    """GET /api/kernels/<id>"""
    return replies.Json(model(await _asked_for(request)))


async def stop_kernel(request: Request) -> Response:
    """DELETE /api/kernels/<id>"""
    await launch.astop_kernel(await _asked_for(request))
    return replies.empty()


async def interrupt_kernel(request: Request) -> Response:
    """POST /api/kernels/<id>/interrupt: also what waits to be run is forgotten."""
    kernel = await _asked_for(request)
    # First what waits: else the next cell begins between the two.
    await off_loop(cancel_queued, kernel.pk)
    await launch.ainterrupt(kernel)
    return replies.empty()


async def restart_kernel(request: Request) -> Response:
    """POST /api/kernels/<id>/restart: answers once the new process runs."""
    kernel = await _asked_for(request)
    await off_loop(cancel_queued, kernel.pk)
    return replies.Json(model(await launch.arestart(kernel)))


async def _asked_for(request: Request) -> Kernel:
    return await off_loop(find, entry_of(request.scope).workspace_id, request.path_params["kernel_id"])
