"""A person's wishes for the machine behind their notebook, and what it uses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import timedelta
from uuid import UUID

from asgiref.sync import async_to_sync
from django.utils import timezone

from runtimes import launch as runtimes
from runtimes import load
from runtimes.agent_client import AgentClient, AgentStatus, AgentUnreachable
from runtimes.errors import KeyMissing
from runtimes.fallback import use_fallback
from runtimes.models import Kernel, Runtime, Workspace
from runtimes.status import MOVES

# A person has opened a panel and waits for it; without an answer the panel says so.
PATIENCE_SECONDS = 2.0
# What is lost again and again is not the machine's fault: then the page says what happened, and waits for a person.
MOST_MOVES = 3
MOVES_WITHIN = timedelta(minutes=10)


def obey(workspace: Workspace, wish: str, kernel_id: str = "") -> None:
    """start, stop, keep or instead (its fallback, at once); interrupt or restart a kernel. Anything else, or a kernel
    that is no longer there, changes nothing.

    `restart` without a living machine starts one. Raises RuntimesError if it cannot be done.
    """
    runtime = runtimes.live_runtime(workspace)
    if wish in _WISHES:
        if runtime is not None:
            _WISHES[wish](runtime)
        return
    if wish == "start" or (wish == "restart" and runtime is None):
        runtimes.launch(workspace)
        return
    kernel = _kernel(runtime, kernel_id)
    if kernel is not None and wish == "interrupt":
        runtimes.interrupt(kernel)
    elif kernel is not None and wish == "restart":
        runtimes.restart(kernel)


def _stop(runtime: Runtime) -> None:
    runtimes.stop(runtime, reason="Requested")


def _keep(runtime: Runtime) -> None:
    """Somebody is there: it neither stops for being idle nor stays slowed down."""
    runtimes.touch(runtime)
    load.began(Runtime.objects.filter(pk=runtime.pk))


_WISHES: Mapping[str, Callable[[Runtime], object]] = {"stop": _stop, "keep": _keep, "instead": use_fallback}


def moves(runtime: Runtime | None) -> bool:
    """Whether it was taken away from under somebody's work: then there is another one by itself, a few times."""
    if runtime is None or runtime.state in Runtime.LIVE or runtime.reason not in MOVES:
        return False
    lately = timezone.now() - MOVES_WITHIN
    ends = Runtime.objects.filter(workspace=runtime.workspace_id, reason__in=MOVES, stopped_at__gt=lately)
    return runtime.stopped_at is not None and runtime.stopped_at > lately and ends.count() <= MOST_MOVES


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
    except (TimeoutError, AgentUnreachable, KeyMissing, KeyError):
        return None


def _kernel(runtime: Runtime | None, kernel_id: str) -> Kernel | None:
    if runtime is None:
        return None
    try:
        wanted = UUID(kernel_id)
    except ValueError:
        return None
    return Kernel.objects.filter(runtime=runtime, pk=wanted).first()
