"""A runtime's disk, which is a copy, made like storage: files pushed, and what people removed or renamed followed.

Every removal and renaming is a row (`TreeChange`), written with the change of the tree itself. Whoever comes first
applies it, in order and under a lease: the page that made it, the keeper of a runtime that is just starting, a pull.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import NamedTuple

from asgiref.sync import sync_to_async
from django.db.models import Q
from django.utils import timezone

from runtimes import blobs, packages
from runtimes.agent_client import AgentClient
from runtimes.agent_replies import AgentRefused
from runtimes.models import Runtime, TreeChange, WorkspaceFile
from runtimes.paths import parents

logger = logging.getLogger(__name__)

BATCH_BYTES = 32 << 20
FOLLOW_SECONDS = 5.0
LEASE = timedelta(seconds=15)
LOOK_SECONDS = 0.05
# Longer than any pull takes.
KEPT_AFTERWARDS = timedelta(hours=1)
# What was changed so long before a runtime was asked for is no business of its disk.
BEFORE = timedelta(minutes=1)

Had = dict[str, str]


class Row(NamedTuple):
    """A file as storage has it; size in bytes."""

    path: str
    sha256: str
    size: int
    executable: bool


@asynccontextmanager
async def connected(runtime: Runtime, agent: AgentClient | None) -> AsyncIterator[AgentClient]:
    """The agent that is given, or one for a while."""
    if agent is not None:
        yield agent
        return
    async with AgentClient.of(runtime) as own:
        yield own


async def push(runtime: Runtime, paths: Collection[str] | None = None, *, agent: AgentClient | None = None) -> None:
    """Copies the workspace's files (or those of `paths` that exist) to the runtime's disk.

    Raises AgentUnreachable, AgentRefused (`full`) or TransferRefused."""
    if runtime.workspace_id is None:
        return
    if rows := await _rows(runtime.workspace_id, paths):
        async with connected(runtime, agent) as own:
            await _push(own, rows)


async def fill(runtime: Runtime, agent: AgentClient, had: Had | None = None) -> Had:
    """Brings the disk of a runtime that starts up to date: first (`had` None) with every file, then with what has
    changed since; without packages that are not whole (`packages.py`), which its row then names. Returns what it has
    now: path → SHA-256. Raises as `push` does."""
    if runtime.workspace_id is None:
        return {}
    if had is None:
        await _forget(runtime.workspace_id, runtime.requested_at - BEFORE)
    else:
        await settle(runtime, agent=agent)
    rows = await _whole(runtime, await _rows(runtime.workspace_id, None))
    await _push(agent, [row for row in rows if had is None or had.get(row.path) != row.sha256])
    return {row.path: row.sha256 for row in rows}


async def _whole(runtime: Runtime, rows: list[Row]) -> list[Row]:
    """`rows` without those of packages that are not whole."""
    digests = {row.path: row.sha256 for row in rows if row.size <= packages.MOST_RECORD_BYTES}
    records = packages.records(digests)
    if not records:
        return rows
    contents = await asyncio.to_thread(_read, {path: digests[path] for path in records})
    found = packages.partial([row.path for row in rows], contents)
    titles = {record: one.title for record, one in found.items()}
    await Runtime.objects.filter(pk=runtime.pk).exclude(not_brought=titles).aupdate(not_brought=titles)
    left = frozenset[str]().union(*(one.names for one in found.values()))
    return [row for row in rows if row.path not in left]


async def settle(runtime: Runtime, *, agent: AgentClient | None = None) -> None:
    """Returns when the runtime's disk has followed everything that was removed or renamed.

    Raises AgentUnreachable; then a later call begins where this one ended."""
    if runtime.workspace_id is None or not await _outstanding(runtime.workspace_id):
        return
    async with connected(runtime, agent) as own:
        while await _outstanding(runtime.workspace_id):
            change = await _claim(runtime.workspace_id)
            if change is None:
                await asyncio.sleep(LOOK_SECONDS)  # somebody else is at it
                continue
            try:
                await _apply(runtime, change, own)
            except BaseException:
                await _give_back(change)
                raise
            await _applied(change)


def overtaken(workspace_id: int, path: str, begun: datetime) -> bool:
    """Whether what a pull that began at `begun` found at `path` may be what a person has removed or renamed."""
    changes = TreeChange.objects.filter(workspace_id=workspace_id, path__in=[path, *parents(path)])
    return changes.filter(Q(applied_at=None) | Q(applied_at__gte=begun)).exists()


async def _apply(runtime: Runtime, change: TreeChange, agent: AgentClient) -> None:
    if change.moved_to and await _renamed(change, agent):
        return
    # What code made or changed there since the last pull goes with a removed folder, and stays where one was renamed.
    only_known = bool(change.moved_to)
    gone = await _gone(change)
    try:
        await agent.remove(gone, only_known=only_known, timeout=FOLLOW_SECONDS)
        if change.moved_to:
            await push(runtime, await _below(change), agent=agent)
    except AgentRefused as error:
        # A file that code protects, or a full disk: trying again would hold up all that follows.
        logger.warning("runtime %s: did not follow %s: %s", runtime.name, change.pk, error)


async def _renamed(change: TreeChange, agent: AgentClient) -> bool:
    try:
        await agent.rename(change.path, change.moved_to, timeout=FOLLOW_SECONDS)
    except AgentRefused:
        return False  # not there yet, or something that code made is in the way
    return True


async def _push(agent: AgentClient, rows: list[Row]) -> None:
    for batch in _batches(rows):
        contents = await asyncio.to_thread(_read, {row.path: row.sha256 for row in batch})
        await agent.push(contents, executable={row.path for row in batch if row.executable})


def _batches(rows: list[Row]) -> Iterator[list[Row]]:
    batch: list[Row] = []
    size = 0
    for row in rows:
        if batch and size + row.size > BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(row)
        size += row.size
    if batch:
        yield batch


def _read(digests: dict[str, str]) -> dict[str, bytes]:
    return dict(zip(digests, blobs.read_all(list(digests.values())), strict=True))


# --- rows


@sync_to_async
def _rows(workspace_id: int, paths: Collection[str] | None) -> list[Row]:
    rows = WorkspaceFile.objects.filter(workspace_id=workspace_id).order_by("path")
    if paths is not None:
        rows = rows.filter(path__in=paths)
    return [Row(*row) for row in rows.values_list("path", "blob_id", "blob__size", "executable")]


@sync_to_async
def _gone(change: TreeChange) -> list[str]:
    """What of it is neither a file nor a folder: somebody may have made one again meanwhile."""
    there: set[str] = set()
    for path in WorkspaceFile.objects.filter(workspace_id=change.workspace_id).values_list("path", flat=True):
        there.update((path, *parents(path)))
    wanted = dict.fromkeys([change.path, *change.files])
    return [path for path in wanted if path not in there]


@sync_to_async
def _below(change: TreeChange) -> list[str]:
    paths = WorkspaceFile.objects.filter(workspace_id=change.workspace_id).values_list("path", flat=True)
    return [path for path in paths if path == change.moved_to or path.startswith(change.moved_to + "/")]


@sync_to_async
def _outstanding(workspace_id: int) -> bool:
    return TreeChange.objects.filter(workspace_id=workspace_id, applied_at=None).exists()


@sync_to_async
def _claim(workspace_id: int) -> TreeChange | None:
    """The oldest one that is outstanding, or None while somebody else holds it."""
    now = timezone.now()
    outstanding = TreeChange.objects.filter(workspace_id=workspace_id, applied_at=None)
    oldest = outstanding.order_by("pk").first()
    if oldest is None:
        return None
    free = outstanding.filter(Q(lease_until=None) | Q(lease_until__lt=now), pk=oldest.pk)
    return oldest if free.update(lease_until=now + LEASE) else None


@sync_to_async
def _applied(change: TreeChange) -> None:
    now = timezone.now()
    TreeChange.objects.filter(pk=change.pk).update(applied_at=now)
    TreeChange.objects.filter(workspace_id=change.workspace_id, applied_at__lt=now - KEPT_AFTERWARDS).delete()


@sync_to_async
def _give_back(change: TreeChange) -> None:
    TreeChange.objects.filter(pk=change.pk, applied_at=None).update(lease_until=None)


@sync_to_async
def _forget(workspace_id: int, before: datetime) -> None:
    TreeChange.objects.filter(workspace_id=workspace_id, made_at__lt=before).delete()
