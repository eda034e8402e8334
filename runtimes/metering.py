"""Reads how much of a processor a runtime used, from whoever can be trusted most."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from runtimes import rows
from runtimes.agent_client import AgentClient
from runtimes.agent_replies import AgentError, AgentStatus
from runtimes.models import Runtime
from runtimes.provider import Provider, ProviderError

ANSWER_SECONDS = 3.0


class Metering:
    """For a keeper. Its provider's count is taken before its agent's: code in a pod runs as the same user as the agent,
    and a container that was started again counts from 0."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    async def read(self, row: Runtime, status: AgentStatus) -> None:
        """Brings what it used so far onto its row. status: what its agent says."""
        counted = await self._counted(row)
        await self._note(row, status.cpu_seconds if counted is None else counted)

    async def read_last(self, row: Runtime) -> None:
        """The same before it ends; where its agent alone can tell and does not, what was read before counts."""
        counted = await self._counted(row)
        if counted is None and row.endpoint:
            with suppress(AgentError, TimeoutError):
                async with asyncio.timeout(ANSWER_SECONDS), AgentClient.of(row) as agent:
                    counted = (await agent.status()).cpu_seconds
        await self._note(row, counted, last=True)

    async def _counted(self, row: Runtime) -> float | None:
        with suppress(ProviderError):
            return await self._provider.cpu_seconds(row.name)
        return None

    async def _note(self, row: Runtime, count: float | None, *, last: bool = False) -> None:
        if count is not None:
            await rows.note_cpu(row, count, last=last)
