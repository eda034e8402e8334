"""Signs of life of a runtime: for how long nothing has stirred in it, whether it still answers when its provider has
lost sight of it, and whether it is still the same."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import timedelta

from runtimes.agent_client import AgentClient
from runtimes.agent_replies import AgentError, AgentStatus
from runtimes.models import Runtime
from runtimes.provider import Phase, Provider, ProviderError, Reason, Status

#: How long neither its provider nor its agent may be heard of. The cluster has waited for its node before.
SILENCE = timedelta(seconds=30)
ANSWER_SECONDS = 5.0


def idle_for(status: AgentStatus, untouched: timedelta) -> timedelta:
    """How long nothing has run in it, at most `untouched`: for so long nobody has used it. A busy kernel is in use."""
    if any(kernel.state == "busy" for kernel in status.kernels):
        return timedelta(0)
    return max(min(timedelta(seconds=status.idle_seconds), untouched), timedelta(0))


class Silence:
    """Of one runtime. A node of which the cluster hears nothing may come back, or be cut off from the cluster alone."""

    def __init__(self) -> None:
        self._since: float | None = None

    async def told(self, status: Status | None, agent: AgentClient) -> Status | None:
        """The status that it has for good where neither speaks any more: lost, for the reason that its provider gave;
        None while one does, or is waited for. status: what its provider said last."""
        if status is None or status.phase is not Phase.UNREACHABLE or await answers(agent):
            self._since = None
            return None
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        return replace(status, phase=Phase.LOST) if now - self._since >= SILENCE.total_seconds() else None


async def begun_anew(row: Runtime, provider: Provider) -> Status | None:
    """The status for good of a ready runtime that listens elsewhere than its row says: what was in it is lost, for the
    reason that its provider gives. None for one that is where it was. Its node was started again, or its sandbox has a
    kernel of its own (gVisor), which ends as a whole when memory does: the pod then goes on at another address."""
    try:
        endpoint, status = await provider.endpoint(row.name), await provider.status(row.name)
    except ProviderError:
        return None
    if endpoint.to_json() == row.endpoint:
        return None
    words = "; ".join(text for text in (status.message, f"it went on at {endpoint.host}") if text)
    return replace(status, phase=Phase.LOST, reason=status.reason or Reason.NODE_LOST, message=words)


class Memory:
    """What a provider tells of a runtime that ran out of memory and goes on."""

    def __init__(self) -> None:
        self._told = ""

    def ran_out(self, status: Status | None) -> bool:
        """Once for each time that it did."""
        if status is None or status.reason is not Reason.OUT_OF_MEMORY or status.message == self._told:
            return False
        self._told = status.message
        return True


async def answers(agent: AgentClient) -> bool:
    """Whether it does so soon."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            await agent.status()
    except (AgentError, TimeoutError):
        return False
    return True
