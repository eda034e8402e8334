"""Fetches the files that code wrote, soon after a cell has run, without holding up the next one."""

from __future__ import annotations

import asyncio
import logging

from runtimes import launch, storage
from runtimes.agent_replies import AgentError
from runtimes.errors import RuntimesError
from runtimes.models import Runtime

# Of the cells of one Run All, every few seconds; of the last one, at once.
_AT_MOST_EVERY_SECONDS = 2.0

log = logging.getLogger(__name__)


class Puller:
    """Of one runtime."""

    def __init__(self) -> None:
        self._wanted: list[Runtime] = []
        self._task: asyncio.Task[None] | None = None

    def soon(self, runtime: Runtime) -> None:
        """Pulls in a moment; what is asked meanwhile is one pull."""
        self._wanted[:] = [runtime]
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Returns when what was wanted is pulled."""
        if self._task:
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while self._wanted:
            runtime = self._wanted.pop()
            await self._pull(runtime)
            if self._wanted:
                await asyncio.sleep(_AT_MOST_EVERY_SECONDS)

    async def _pull(self, runtime: Runtime) -> None:
        try:
            await launch.atouch(runtime)
            await storage.pull(runtime)
        except (AgentError, RuntimesError) as error:
            # The runtimes process pulls every few minutes and at the end in any case.
            log.info("runtime %s: files not pulled after a run: %s", runtime.name, error)
        except Exception:
            log.exception("runtime %s: pulling failed", runtime.name)
