"""What a runtime's disk holds when it ends, into storage: for as long as its agent answers, and within a bound."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from runtimes import signs, transfer
from runtimes.agent_client import AgentClient
from runtimes.agent_replies import AgentError, AgentEvent
from runtimes.describe import source_text
from runtimes.errors import StorageAway
from runtimes.models import Runtime
from runtimes.status import ALL_KEPT, ENDED_SENTENCES, LAST_SAVED, MOVED_SENTENCES

logger = logging.getLogger(__name__)

#: How long it may take, at most. Whoever drains a node grants about as much: see `pods.manifests.GRACE_SECONDS`.
FINAL_PULL_SECONDS = 30.0
STORAGE_RETRY_SECONDS = 1.0
#: Longer than anything serves on that was told to end.
ENDING_SECONDS = 60.0


async def pull(runtime: Runtime, agent: AgentClient) -> bool:
    """Whether storage has all that is there now. Raises StorageAway: the same again may help soon."""
    try:
        changed = await transfer.pull(runtime, agent=agent)
    except AgentError as error:
        logger.warning("runtime %s: files not pulled: %s", runtime.name, error)
        return False
    return not changed.left_out


async def last_pull(runtime: Runtime, *, is_there: bool = True) -> bool:
    """Whether storage has all that was there; waits for storage that is away, and tells the agent that it is done.

    is_there: False where nobody may answer any more, who is not waited for then."""
    if not runtime.endpoint or runtime.workspace_id is None:
        return False
    try:
        async with asyncio.timeout(FINAL_PULL_SECONDS), AgentClient.of(runtime) as agent:
            if not is_there and not await signs.answers(agent):
                return False
            kept = await _patiently(runtime, agent)
            with suppress(AgentError):
                await agent.dismiss()
            return kept
    except TimeoutError:
        logger.warning("runtime %s: files not pulled in time", runtime.name)
        return False


async def _patiently(runtime: Runtime, agent: AgentClient) -> bool:
    while True:
        try:
            return await pull(runtime, agent)
        except StorageAway as error:
            logger.warning("runtime %s: files not pulled yet: %s", runtime.name, error)
            await asyncio.sleep(STORAGE_RETRY_SECONDS)


class Rescue:
    """The files of a runtime that others than its site end, while it still answers. wake: set when that begins."""

    def __init__(self, wake: asyncio.Event) -> None:
        self._wake = wake
        self._told = False
        self._pulled_at: float | None = None
        self._whole = False

    @property
    def all_kept(self) -> bool:
        """Whether storage has all that was there, as of an end that is not long past."""
        return self._whole and not self._is_past()

    async def heard(self, event: AgentEvent) -> bool:
        """Whether its agent says so, who may know before its provider does; why is the provider's to say. It returns
        when that has come to pass: what becomes of kernels meanwhile is no longer theirs to answer for."""
        if event.kind != "ending":
            return False
        self._told = True
        self._wake.set()
        await asyncio.sleep(ENDING_SECONDS)
        return True

    async def if_told(self, runtime: Runtime) -> None:
        """Pulls its files where its agent has said so."""
        told, self._told = self._told, False
        if told:
            await self.now(runtime)

    async def now(self, runtime: Runtime) -> None:
        """Pulls its files, once an end."""
        if self._is_past():
            self._pulled_at = asyncio.get_running_loop().time()
            self._whole = await last_pull(runtime, is_there=False)

    def _is_past(self) -> bool:
        return self._pulled_at is None or asyncio.get_running_loop().time() - self._pulled_at >= ENDING_SECONDS

    def sentence(self, reason: str) -> str:
        """What its row says of its files, as in the source."""
        return about_files(reason, all_kept=self.all_kept)


def about_files(reason: str, *, all_kept: bool) -> str:
    """What the row of one that ended says of its files, as in the source; "" where that is what its reason says."""
    if all_kept:
        return source_text(ALL_KEPT) if reason in MOVED_SENTENCES else ""
    return source_text(LAST_SAVED) if reason in ENDED_SENTENCES else ""
