"""Files between storage and a runtime's disk, which is a copy.

Pushed when a runtime starts; new and changed files pulled after each execution, every few minutes and before a stop.
What comes back was written where student code runs: names are checked, the quota holds, and a notebook that is or was
open for shared editing is never replaced: what code wrote into it becomes a version.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Iterator
from contextlib import asynccontextmanager
from datetime import datetime

from asgiref.sync import sync_to_async
from django.utils import timezone
from django.utils.translation import gettext as _

from runtimes import blobs, bus, trees
from runtimes.agent_client import AgentClient
from runtimes.agent_replies import Pulled
from runtimes.errors import StorageError, UnsafePath, WorkspaceReadOnly
from runtimes.models import Blob, Document, FileVersion, Runtime, Workspace, WorkspaceFile
from runtimes.paths import is_system, parents, safe_path

BATCH_BYTES = 32 << 20
NAMES_TOLD = 5
REMOVAL_SECONDS = 5.0


class Changed(list[str]):
    """Paths whose content in storage changed. `left_out`: path → sentence that says why it was not kept."""

    def __init__(self, paths: Iterable[str] = (), left_out: dict[str, str] | None = None) -> None:
        super().__init__(paths)
        self.left_out = left_out or {}


async def push(runtime: Runtime, paths: Collection[str] | None = None, *, agent: AgentClient | None = None) -> None:
    """Copies the workspace's files (or those of `paths` that exist) to the runtime's disk.

    Raises AgentUnreachable, AgentRefused (`full`) or TransferRefused."""
    if runtime.workspace_id is None:
        return
    rows = await _rows(runtime.workspace_id, paths)
    if not rows:
        return
    async with _connected(runtime, agent) as connected:
        for batch in _batches(rows):
            await connected.push(await asyncio.to_thread(_read, batch))


async def discard(
    runtime: Runtime, paths: Collection[str], *, only_known: bool = False, agent: AgentClient | None = None
) -> None:
    """Takes away from the runtime's disk those of `paths` (files, or folders with all in them) that storage has no
    longer. only_known: what code made or changed there since the last pull stays, and is pulled.

    Raises AgentUnreachable, after a few seconds, or AgentRefused."""
    if runtime.workspace_id is None:
        return
    gone = await _gone(runtime.workspace_id, paths)
    if not gone:
        return
    async with _connected(runtime, agent) as connected:
        await connected.remove(gone, only_known=only_known, timeout=REMOVAL_SECONDS)


@sync_to_async
def _gone(workspace_id: int, paths: Collection[str]) -> list[str]:
    """Those of `paths` that are neither a file nor a folder: somebody may have made one again meanwhile."""
    there: set[str] = set()
    for path in WorkspaceFile.objects.filter(workspace_id=workspace_id).values_list("path", flat=True):
        there.update((path, *parents(path)))
    return [path for path in paths if path not in there]


@sync_to_async
def _rows(workspace_id: int, paths: Collection[str] | None) -> list[tuple[str, str, int]]:
    rows = WorkspaceFile.objects.filter(workspace_id=workspace_id).order_by("path")
    if paths is not None:
        rows = rows.filter(path__in=paths)
    return list(rows.values_list("path", "blob_id", "blob__size"))


def _batches(rows: list[tuple[str, str, int]]) -> Iterator[list[tuple[str, str]]]:
    batch: list[tuple[str, str]] = []
    size = 0
    for path, sha256, length in rows:
        if batch and size + length > BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append((path, sha256))
        size += length
    if batch:
        yield batch


def _read(batch: list[tuple[str, str]]) -> dict[str, bytes]:
    return {path: blobs.read(sha256) for path, sha256 in batch}


@asynccontextmanager
async def _connected(runtime: Runtime, agent: AgentClient | None) -> AsyncIterator[AgentClient]:
    if agent is not None:
        yield agent
        return
    async with AgentClient.of(runtime) as own:
        yield own


async def pull(runtime: Runtime, *, agent: AgentClient | None = None) -> Changed:
    """Brings what code wrote, changed or deleted into storage; safe from several processes at once and to repeat.

    Returns the changed paths; what could not be kept is named in `left_out` and on the runtime's row.
    Raises AgentUnreachable or TransferRefused."""
    changed = Changed()
    if runtime.workspace_id is None:
        return changed
    async with _connected(runtime, agent) as connected:
        more = True
        while more:
            begun = timezone.now()
            pulled = await connected.pull()
            left_out = await _take(runtime.workspace_id, pulled, begun, changed)
            changed.left_out.update(left_out)
            more = pulled.more
            # What did not fit is told again by the next pull, unless the agent must go on to tell the rest.
            if more or not left_out:
                await connected.acknowledge(pulled.token)
    await _note(runtime, changed)
    return changed


async def _take(workspace_id: int, pulled: Pulled, begun: datetime, changed: Changed) -> dict[str, str]:
    kept = {path: data for path, data in pulled.files.items() if not is_system(path)}
    digests = await asyncio.to_thread(lambda: {path: blobs.digest(data) for path, data in kept.items()})
    fresh = await _fresh(workspace_id, digests)
    left_out = {path: why for path, why in pulled.skipped.items() if not is_system(path)}
    deleted = [path for path in pulled.deleted if not is_system(path)]
    changed.extend(await _remove(workspace_id, deleted, begun))
    # Small ones first: where the quota is reached, most files fit.
    for path in sorted(fresh, key=lambda path: len(kept[path])):
        try:
            safe_path(path)
            await asyncio.to_thread(blobs.save_bytes, digests[path], kept[path])
            if await _store(workspace_id, path, digests[path], kept[path], begun):
                changed.append(path)
        except WorkspaceReadOnly:
            return {}
        except StorageError as error:
            left_out[_printable(path)] = str(error.user_message)
    return left_out


def _printable(path: str) -> str:
    return path.encode("utf-8", "replace").decode("utf-8", "replace")


@sync_to_async
def _fresh(workspace_id: int, digests: dict[str, str]) -> list[str]:
    """Paths whose content differs from the row's."""
    rows = WorkspaceFile.objects.filter(workspace_id=workspace_id)
    known = dict(rows.values_list("path", "blob_id"))
    return [path for path, sha256 in digests.items() if known.get(path) != sha256]


@sync_to_async
def _store(workspace_id: int, path: str, sha256: str, data: bytes, begun: datetime) -> bool:
    workspace = Workspace.objects.get(pk=workspace_id)
    seen_before = Blob.objects.filter(pk=sha256).exists()
    blob = blobs.register(sha256, data)
    if _is_rival(workspace, path, begun):
        # A content that storage has seen is the copy that was pushed, not something that code wrote.
        if not seen_before:
            trees.keep_version(workspace, path, blob.pk, FileVersion.Source.CODE)
        return False
    trees.place(workspace, path, blob, source=trees.Source.CODE)
    return True


def _is_rival(workspace: Workspace, path: str, begun: datetime) -> bool:
    """True where storage must not be replaced: a shared document, or a file that someone wrote since the pull began."""
    if Document.objects.filter(workspace=workspace, path=path).exists():
        return True
    return WorkspaceFile.objects.filter(workspace=workspace, path=path, modified_at__gt=begun).exists()


@sync_to_async
def _remove(workspace_id: int, paths: list[str], begun: datetime) -> list[str]:
    """Follows deletions by code, each content kept as a version; notebooks stay, whatever code does."""
    workspace = Workspace.objects.get(pk=workspace_id)
    rows = WorkspaceFile.objects.filter(workspace=workspace, path__in=paths, modified_at__lte=begun)
    removed = []
    for path in rows.exclude(path__endswith=".ipynb").values_list("path", flat=True):
        if Document.objects.filter(workspace=workspace, path=path).exists():
            continue
        try:
            trees.remove(workspace, path)
        except StorageError:
            continue
        removed.append(path)
    return removed


async def _note(runtime: Runtime, changed: Changed) -> None:
    message = _left_out_message(changed.left_out)
    moved = (
        await Runtime.objects.filter(pk=runtime.pk, state=Runtime.State.READY)
        .exclude(message=message)
        .aupdate(message=message, pulled_at=timezone.now())
    )
    if moved:
        await bus.publish(f"runtime:{runtime.name}")
        return
    await Runtime.objects.filter(pk=runtime.pk).aupdate(pulled_at=timezone.now())


def _left_out_message(left_out: dict[str, str]) -> str:
    if not left_out:
        return ""
    names = ", ".join(sorted(left_out)[:NAMES_TOLD])
    if len(left_out) > NAMES_TOLD:
        names += ", …"
    why = next(iter(left_out.values()))
    return _("Not kept: %(names)s. %(why)s") % {"names": names, "why": why}


__all__ = ["Changed", "UnsafePath", "discard", "pull", "push"]
