"""A workspace's files as rows: written, removed, renamed.

Every verb is safe to repeat, and holds under races on SQLite and PostgreSQL: a change of a tree first takes its
workspace's row (`lock`), so that quota and names are checked against the truth.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from django.db import transaction
from django.db.models import F, Q, QuerySet, Sum
from django.db.models.functions import Left
from django.utils import timezone

from runtimes import blobs, bus
from runtimes.errors import FileNotThere, PathTaken, QuotaExceeded, WorkspaceReadOnly
from runtimes.models import MIB, Blob, Document, FileVersion, Kernel, Session, TreeChange, Workspace, WorkspaceFile
from runtimes.paths import parents, safe_path

# The newest so many earlier contents of a path are kept, each kind by itself.
VERSIONS_KEPT = 20
# Of the quota (at most a quarter): whatever code writes, what a person types can still be saved.
FOR_PEOPLE_BYTES = 64 * MIB


class Source(StrEnum):
    """Who writes. What a person brings or restores keeps the former content as a version; a save does not."""

    SAVED = "saved"
    UPLOADED = "uploaded"
    RESTORED = "restored"
    CODE = "code"


def files(workspace: Workspace) -> QuerySet[WorkspaceFile]:
    """The current files by path, each with its blob."""
    return WorkspaceFile.objects.filter(workspace=workspace).select_related("blob").order_by("path")


def used_bytes(workspace: Workspace) -> int:
    """Bytes of all current files; versions and snapshots do not count against the quota."""
    return _bytes(WorkspaceFile.objects.filter(workspace=workspace))


def write(workspace: Workspace, path: str, data: bytes, *, source: str = Source.SAVED) -> WorkspaceFile:
    """Makes `data` the content of `path`, for good when this returns.

    Raises UnsafePath, PathTaken, QuotaExceeded or WorkspaceReadOnly, and then nothing has changed."""
    safe_path(path)
    return place(workspace, path, blobs.put(data), source=source)


def place(workspace: Workspace, path: str, blob: Blob, *, source: str) -> WorkspaceFile:
    """Like `write`, with bytes that are in storage and a path that is safe."""
    now = timezone.now()
    with transaction.atomic():
        lock(workspace)
        current = WorkspaceFile.objects.filter(workspace=workspace, path=path).first()
        if current is not None and current.blob_id == blob.pk:
            return current
        if current is None:
            _check_names(workspace, path)
        _check_quota(workspace, path, blob.size, source)
        if current is not None and _keeps_former(source, path):
            keep_version(workspace, path, current.blob_id, FileVersion.Source.REPLACED)
        row, _made = WorkspaceFile.objects.update_or_create(
            workspace=workspace, path=path, defaults={"blob": blob, "modified_at": now}
        )
    return row


def _keeps_former(source: str, path: str) -> bool:
    if source in (Source.UPLOADED, Source.RESTORED):
        return True
    # Data files that code writes come and go; a notebook that it replaces was somebody's work.
    return source == Source.CODE and path.endswith(".ipynb")


def lock(workspace: Workspace) -> None:
    """Nobody else changes the tree until the transaction ends. Raises WorkspaceReadOnly."""
    # An update takes the row until the end of the transaction on PostgreSQL; SQLite's IMMEDIATE took the whole file.
    open_ones = Workspace.objects.filter(pk=workspace.pk, read_only=False)
    if not open_ones.update(quota_bytes=F("quota_bytes")):
        raise WorkspaceReadOnly(workspace.slug)


def _check_names(workspace: Workspace, path: str) -> None:
    folders = WorkspaceFile.objects.filter(workspace=workspace, path__in=parents(path))
    if folders.exists() or _below(workspace, path).exists():
        raise PathTaken(path)


def room_for_code(workspace: Workspace) -> int:
    """Bytes of new files that code may still write."""
    return max(_most(workspace, Source.CODE) - used_bytes(workspace), 0)


def _most(workspace: Workspace, source: str) -> int:
    most = Workspace.objects.values_list("quota_bytes", flat=True).get(pk=workspace.pk)
    return most - min(FOR_PEOPLE_BYTES, most // 4) if source == Source.CODE else most


def _check_quota(workspace: Workspace, path: str, size: int, source: str) -> None:
    used = _bytes(WorkspaceFile.objects.filter(workspace=workspace).exclude(path=path))
    most = _most(workspace, source)
    if used + size > most:
        raise QuotaExceeded(f"{used} + {size} > {most} bytes")


def _bytes(rows: QuerySet[WorkspaceFile]) -> int:
    return rows.aggregate(total=Sum("blob__size"))["total"] or 0


def keep_version(workspace: Workspace, path: str, sha256: str, source: str) -> FileVersion:
    """Remembers a content of `path`, and forgets the oldest of its kind beyond `VERSIONS_KEPT`."""
    kept = FileVersion.objects.filter(workspace=workspace, path=path, source=source).order_by("-created_at", "-pk")
    newest = kept.first()
    if newest is not None and newest.blob_id == sha256:
        return newest
    version = FileVersion.objects.create(workspace=workspace, path=path, blob_id=sha256, source=source)
    FileVersion.objects.filter(pk__in=list(kept.values_list("pk", flat=True)[VERSIONS_KEPT:])).delete()
    return version


def checkpoint(workspace: Workspace, path: str) -> FileVersion:
    """Keeps the current content of `path` as a version saved by hand. Raises FileNotThere."""
    row = WorkspaceFile.objects.filter(workspace=workspace, path=path).first()
    if row is None:
        raise FileNotThere(path)
    return keep_version(workspace, path, row.blob_id, FileVersion.Source.CHECKPOINT)


def remove(workspace: Workspace, path: str, *, source: str = Source.SAVED) -> int:
    """Takes away a file, or a folder with all in it; each content stays as a version. Returns how many files went.

    A live runtime's disk follows (`disk.settle`), unless code removed it there. Raises FileNotThere or
    WorkspaceReadOnly."""
    with transaction.atomic():
        lock(workspace)
        rows = list(_below(workspace, path))
        if not rows:
            raise FileNotThere(path)
        for row in rows:
            keep_version(workspace, row.path, row.blob_id, FileVersion.Source.REPLACED)
        WorkspaceFile.objects.filter(pk__in=[row.pk for row in rows]).delete()
        _forget_documents(workspace, [row.path for row in rows])
        if source != Source.CODE:
            _note_change(workspace, path, [row.path for row in rows])
    return len(rows)


def _note_change(workspace: Workspace, path: str, files: list[str], moved_to: str = "") -> None:
    TreeChange.objects.create(workspace=workspace, path=path, files=files, moved_to=moved_to)


def _forget_documents(workspace: Workspace, paths: list[str]) -> None:
    """A document goes with its file: else its pages would write the file again."""
    for document in Document.objects.filter(workspace=workspace, path__in=paths):
        bus.publish_on_commit(f"doc:{document.pk}", b"removed")
        document.delete()


def rename(workspace: Workspace, old: str, new: str) -> list[WorkspaceFile]:
    """Moves a file, or a folder with all in it, together with its documents, sessions, versions and kernels' folders;
    a live runtime's disk follows (`disk.settle`).

    Raises UnsafePath, FileNotThere, PathTaken (the target exists, or lies in `old`) or WorkspaceReadOnly."""
    safe_path(new)
    with transaction.atomic():
        lock(workspace)
        rows = list(_below(workspace, old))
        if not rows:
            raise FileNotThere(old)
        if old == new:
            return rows
        targets = {row.path: safe_path(new + row.path[len(old) :]) for row in rows}
        _check_free(workspace, old, new)
        for row in rows:
            row.path = targets[row.path]
        WorkspaceFile.objects.bulk_update(rows, ["path"])
        _move_followers(workspace, targets)
        _move_kernels(workspace, old, new)
        _note_change(workspace, old, list(targets), moved_to=new)
    return rows


def _below(workspace: Workspace, path: str) -> QuerySet[WorkspaceFile]:
    # Not `startswith`: SQLite's LIKE takes A for a.
    inside = Q(head=path + "/")
    return files(workspace).alias(head=Left("path", len(path) + 1)).filter(Q(path=path) | inside)


def _check_free(workspace: Workspace, old: str, new: str) -> None:
    if new.startswith(old + "/") or _below(workspace, new).exists():
        raise PathTaken(new)
    if WorkspaceFile.objects.filter(workspace=workspace, path__in=parents(new)).exclude(path=old).exists():
        raise PathTaken(new)


def _move_followers(workspace: Workspace, targets: Mapping[str, str]) -> None:
    for old, new in targets.items():
        for model in (Document, Session):
            # What a file that is gone left behind under the new name belongs to nobody.
            model._default_manager.filter(workspace=workspace, path=new).delete()
            model._default_manager.filter(workspace=workspace, path=old).update(path=new)
        FileVersion.objects.filter(workspace=workspace, path=old).update(path=new)


def _move_kernels(workspace: Workspace, old: str, new: str) -> None:
    """A kernel that works in a renamed folder starts again there."""
    inside = Q(cwd=old) | Q(head=old + "/")
    kernels = Kernel.objects.filter(workspace=workspace).exclude(state=Kernel.State.DEAD)
    for kernel in kernels.alias(head=Left("cwd", len(old) + 1)).filter(inside):
        Kernel.objects.filter(pk=kernel.pk).update(cwd=new + kernel.cwd[len(old) :])
