"""Everything of a work into storage, before it is frozen or handed out: what is typed, and what code wrote."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import structlog
from asgiref.sync import async_to_sync

from classroom.models import Work
from runtimes import storage
from runtimes.agent_replies import AgentError
from runtimes.errors import RuntimesError
from runtimes.jupyter import document
from runtimes.models import Runtime

_log = structlog.get_logger(__name__)

# How long a person who clicked waits at most for the files that code wrote.
PULL_SECONDS = 10.0
_HAS_FILES = (Runtime.State.READY, Runtime.State.STOPPING)


@dataclass(frozen=True)
class Lacking:
    """What of a work is not in storage. files_may_lack: the machine did not answer, so that what code wrote last may be
    missing. left_out: path → why it is not kept, a sentence as in the source."""

    files_may_lack: bool = False
    left_out: dict[str, str] = field(default_factory=dict)


def gather(work: Work) -> Lacking:
    """Flushes open documents and fetches the files that code wrote. Raises StorageError where there is no room."""
    document.flush_sync(work.workspace)
    return fetch(work)


def fetch(work: Work) -> Lacking:
    """Fetches the files that code wrote; says what is lacking instead of raising."""
    runtime = Runtime.objects.filter(workspace=work.workspace).order_by("-pk").first()
    if runtime is None:
        return Lacking()
    if runtime.state not in _HAS_FILES:
        # Its disk is gone, or has nothing yet: what was left out at its end is still missing.
        return Lacking(left_out=runtime.left_out)
    return async_to_sync(_pull)(runtime)


async def _pull(runtime: Runtime) -> Lacking:
    try:
        async with asyncio.timeout(PULL_SECONDS):
            changed = await storage.pull(runtime)
    except (TimeoutError, AgentError, RuntimesError, KeyError) as error:
        _log.warning("files not fetched", runtime=runtime.name, error=type(error).__name__)
        return Lacking(files_may_lack=True, left_out=runtime.left_out)
    return Lacking(left_out=changed.named)
