"""A person's wishes for the machine behind their notebook, and what it uses."""

from __future__ import annotations

import asyncio
from uuid import UUID

from asgiref.sync import async_to_sync

from runtimes import launch as runtimes
from runtimes.agent_client import AgentClient, AgentStatus, AgentUnreachable
from runtimes.models import Kernel, Runtime, Workspace

# A person has opened a panel and waits for it; without an answer the panel says so.
PATIENCE_SECONDS = 2.0


def obey(workspace: Workspace, wish: str, kernel_id: str = "") -> None:
    """start, stop, interrupt or restart; anything else, or a kernel that is no longer there, changes nothing.

    `restart` without a living machine starts one. Raises RuntimesError if it cannot be done.
    """
    runtime = runtimes.live_runtime(workspace)
    if wish == "stop":
        if runtime is not None:
            runtimes.stop(runtime, reason="Requested")
        return
    if wish == "start" or (wish == "restart" and runtime is None):
        runtimes.launch(workspace)
        return
    kernel = _kernel(runtime, kernel_id)
    if kernel is not None and wish == "interrupt":
        runtimes.interrupt(kernel)
    elif kernel is not None and wish == "restart":
        runtimes.restart(kernel)


def machine_use(workspace: Workspace) -> AgentStatus | None:
    """Memory and disk in use as the runtime's agent tells them; None if there is none or it does not answer."""
    runtime = runtimes.live_runtime(workspace)
    if runtime is None or runtime.state != Runtime.State.READY:
        return None
    return async_to_sync(_ask)(runtime)


async def _ask(runtime: Runtime) -> AgentStatus | None:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS), AgentClient.of(runtime) as agent:
            return await agent.status()
    except (TimeoutError, AgentUnreachable, KeyError):
        return None


def _kernel(runtime: Runtime | None, kernel_id: str) -> Kernel | None:
    if runtime is None:
        return None
    try:
        wanted = UUID(kernel_id)
    except ValueError:
        return None
    return Kernel.objects.filter(runtime=runtime, pk=wanted).first()
