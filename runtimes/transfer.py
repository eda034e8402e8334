"""Files from a runtime's disk into storage: what code made, changed or deleted.

Pulled after each execution, every few minutes and before a stop. What comes back was written where student code runs:
names are checked, the quota holds, what a person has removed or renamed meanwhile stays so, and a notebook that is or
was open for shared editing is never replaced: what code wrote into it becomes a version.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from datetime import datetime
from itertools import batched

from asgiref.sync import sync_to_async
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from runtimes import blobs, bus, disk, packages, trees
from runtimes.agent import wire
from runtimes.agent_client import AgentClient
from runtimes.agent_replies import Pulled
from runtimes.describe import source_text
from runtimes.errors import QuotaExceeded, StorageAway, StorageError, WorkspaceReadOnly
from runtimes.models import Blob, Document, FileVersion, Runtime, Workspace, WorkspaceFile
from runtimes.paths import is_system, safe_path

# Asked about in one question to the database.
NAMES_AT_ONCE = 500
# On a row.
MOST_NAMED = 100
_NOT_A_FILE = _("Links, devices and files with unusual names are not kept.")
_WHY = {
    "too-large": _("A file may have at most 64 MB."),
    "not-a-file": _NOT_A_FILE,
    "changing": _("The file was being written at that moment."),
    "no-room": QuotaExceeded.user_message,
    "unreadable": _("The file cannot be read."),
    "too-many-folders": _("There are too many folders."),
}


class Overtaken(StorageError):
    """A person has removed or renamed it since the pull began."""


class Changed(list[str]):
    """Paths whose content in storage changed. `left_out`: path → why it was not kept, a sentence as in the source.
    `installed`: records of packages that are there now (`packages.py`)."""

    def __init__(self, paths: Iterable[str] = (), left_out: dict[str, str] | None = None) -> None:
        super().__init__(paths)
        self.left_out = left_out or {}
        self.installed: set[str] = set()

    @property
    def named(self) -> dict[str, str]:
        """As much of `left_out` as a row keeps."""
        return dict(sorted(self.left_out.items())[:MOST_NAMED])


async def pull(runtime: Runtime, *, agent: AgentClient | None = None) -> Changed:
    """Brings what code wrote, changed or deleted into storage; safe from several processes at once and to repeat.

    Returns the changed paths; what could not be kept is named in `left_out` and on the runtime's row.
    Raises AgentUnreachable, TransferRefused or StorageAway; what was not stored is told again by the next one."""
    changed = Changed()
    if runtime.workspace_id is None:
        return changed
    async with disk.connected(runtime, agent) as own:
        await disk.settle(runtime, agent=own)
        more, again, skipped = True, True, dict[str, str]()
        while more:
            begun = timezone.now()
            pulled = await own.pull(again=again, room=await _room(runtime.workspace_id))
            not_taken = await _take(runtime.workspace_id, pulled, begun, changed)
            # Told again by the next pull: there may be room then.
            await own.acknowledge(pulled.token, without=wire.fitting(not_taken))
            changed.installed.update(packages.records(pulled.files))
            # What code has removed, or renamed, makes room for what there was none for.
            again = not pulled.more and bool(pulled.deleted) and "no-room" in pulled.skipped.values()
            more, skipped = pulled.more or again, _skipped(pulled)
        changed.left_out = {**skipped, **changed.left_out}
    await _note(runtime, changed)
    return changed


async def _take(workspace_id: int, pulled: Pulled, begun: datetime, changed: Changed) -> list[str]:
    """Stores it, adds to `changed`, and returns the paths that were not taken as they are. Raises StorageAway."""
    kept = {path: data for path, data in pulled.files.items() if not is_system(path)}
    digests = await asyncio.to_thread(lambda: {path: blobs.digest(data) for path, data in kept.items()})
    fresh, turned = await _fresh(workspace_id, digests, pulled.executable)
    deleted = [path for path in pulled.deleted if not is_system(path)]
    changed.extend(await _remove(workspace_id, deleted, begun))
    await asyncio.to_thread(blobs.save_all, {digests[path]: kept[path] for path in fresh})
    not_taken = []
    # Small ones first: where the quota is reached, most files fit.
    for path in sorted(fresh, key=lambda path: len(kept[path])):
        try:
            safe_path(path)
            if await _store(workspace_id, path, digests[path], kept[path], begun):
                changed.append(path)
            changed.left_out.pop(_printable(path), None)
        except WorkspaceReadOnly:
            return []
        except StorageAway:
            raise
        except Overtaken:
            not_taken.append(path)
        except StorageError as error:
            not_taken.append(path)
            changed.left_out[_printable(path)] = source_text(error.user_message)
    await _turn(workspace_id, {path: turned[path] for path in turned.keys() - set(not_taken)}, set(fresh), begun)
    return not_taken


def _skipped(pulled: Pulled) -> dict[str, str]:
    found = {path: why for path, why in pulled.skipped.items() if why != "gone" and not is_system(path)}
    return {path: source_text(_WHY.get(why, _NOT_A_FILE)) for path, why in found.items()}


def _printable(path: str) -> str:
    return path.encode("utf-8", "replace").decode("utf-8", "replace")


@sync_to_async
def _fresh(
    workspace_id: int, digests: dict[str, str], executable: Collection[str]
) -> tuple[list[str], dict[str, bool]]:
    """Paths whose content differs from the row's; and, of each that may be run and could not, or the reverse, which."""
    rows = WorkspaceFile.objects.filter(workspace_id=workspace_id)
    known = {path: (sha256, on) for path, sha256, on in rows.values_list("path", "blob_id", "executable")}
    was = {path: known.get(path, ("", False)) for path in digests}
    fresh = [path for path, sha256 in digests.items() if was[path][0] != sha256]
    return fresh, {path: path in executable for path in digests if was[path][1] != (path in executable)}


@sync_to_async
def _turn(workspace_id: int, turned: dict[str, bool], fresh: set[str], begun: datetime) -> None:
    """Files become such as may be run, or no longer. An older pull does not take that back from a later one."""
    rows = WorkspaceFile.objects.filter(workspace_id=workspace_id, workspace__read_only=False)
    now = timezone.now()
    for some in batched(turned, NAMES_AT_ONCE):
        on = [path for path in some if turned[path]]
        off = [path for path in some if not turned[path]]
        rows.filter(path__in=on).update(executable=True, modified_at=now)
        ours = Q(modified_at__lte=begun) | Q(path__in=fresh.intersection(off))
        rows.filter(ours, path__in=off).update(executable=False, modified_at=now)


@sync_to_async
def _store(workspace_id: int, path: str, sha256: str, data: bytes, begun: datetime) -> bool:
    workspace = Workspace.objects.get(pk=workspace_id)
    with transaction.atomic():
        # Whoever removes the file waits for us, or we see it.
        trees.lock(workspace)
        if disk.overtaken(workspace_id, path, begun):
            raise Overtaken(path)
        return _store_locked(workspace, path, sha256, data, begun)


def _store_locked(workspace: Workspace, path: str, sha256: str, data: bytes, begun: datetime) -> bool:
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
    rows = WorkspaceFile.objects.filter(workspace=workspace, modified_at__lte=begun).exclude(path__endswith=".ipynb")
    there: list[str] = []
    for some in batched(paths, NAMES_AT_ONCE):
        there.extend(rows.filter(path__in=some).values_list("path", flat=True))
    removed = []
    for path in there:
        if Document.objects.filter(workspace=workspace, path=path).exists():
            continue
        try:
            trees.remove(workspace, path, source=trees.Source.CODE)
        except StorageError:
            continue
        removed.append(path)
    return removed


@sync_to_async
def _room(workspace_id: int) -> int:
    return trees.room_for_code(Workspace.objects.get(pk=workspace_id))


async def _note(runtime: Runtime, changed: Changed) -> None:
    row = Runtime.objects.filter(pk=runtime.pk)
    moved = await row.exclude(left_out=changed.named).aupdate(left_out=changed.named, pulled_at=timezone.now())
    if changed.installed:
        moved += await _note_installed(row, changed.installed)
    if moved:
        await bus.publish(f"runtime:{runtime.name}")
    else:
        await row.aupdate(pulled_at=timezone.now())


async def _note_installed(row: QuerySet[Runtime], installed: set[str]) -> int:
    """What was not brought and is there now is no longer named. 1 where something was."""
    before = await row.values_list("not_brought", flat=True).afirst() or {}
    after = {path: title for path, title in before.items() if path not in installed}
    # Who else pulled at the same time has seen the same.
    return await row.filter(not_brought=before).aupdate(not_brought=after) if after != before else 0
