"""Sets of files that never change: what was released, submitted, graded. Copies rows, never bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from django.db import transaction

from runtimes import blobs
from runtimes.errors import UnsafePath
from runtimes.models import Snapshot, SnapshotFile, Workspace, WorkspaceFile
from runtimes.paths import parents, safe_path


def tree_digest(entries: Iterable[tuple[str, str]]) -> str:
    """SHA-256 of the sorted lines "path NUL sha256 LF": the same files give the same digest on any machine."""
    lines = sorted(f"{path}\0{sha256}\n".encode() for path, sha256 in entries)
    return hashlib.sha256(b"".join(lines)).hexdigest()


def snapshot(workspace: Workspace) -> Snapshot:
    """The workspace's files as they are in storage now, frozen. The same files twice give the same snapshot."""
    rows = WorkspaceFile.objects.filter(workspace=workspace)
    return _freeze(dict(rows.values_list("path", "blob_id")))


def snapshot_of(files: Mapping[str, bytes]) -> Snapshot:
    """Given files, frozen. Raises UnsafePath, also where one file's name is another's folder."""
    for path in files:
        safe_path(path)
        if not files.keys().isdisjoint(parents(path)):
            raise UnsafePath(f"a folder of {path!r} is a file")
    return _freeze(dict(zip(files, blobs.put_all(files.values()), strict=True)))


def digest_of(files: Mapping[str, bytes]) -> str:
    """The digest that `snapshot_of` these files would have; nothing is stored."""
    return tree_digest((path, blobs.digest(data)) for path, data in files.items())


def _freeze(entries: Mapping[str, str]) -> Snapshot:
    digest = tree_digest(entries.items())
    known = Snapshot.objects.filter(digest=digest).order_by("pk").first()
    if known is not None:
        return known
    with transaction.atomic():
        frozen = Snapshot.objects.create(digest=digest)
        SnapshotFile.objects.bulk_create(
            SnapshotFile(snapshot=frozen, path=path, blob_id=sha256) for path, sha256 in sorted(entries.items())
        )
    return frozen


def read_snapshot(snapshot: Snapshot) -> dict[str, bytes]:
    """Every file of a snapshot: path → content."""
    rows = dict(SnapshotFile.objects.filter(snapshot=snapshot).order_by("path").values_list("path", "blob_id"))
    return dict(zip(rows, blobs.read_all(list(rows.values())), strict=True))


def fill(workspace: Workspace, snapshot: Snapshot) -> None:
    """Gives the workspace those files of a snapshot that it lacks. Replaces nobody's work; safe to repeat."""
    rows = SnapshotFile.objects.filter(snapshot=snapshot)
    WorkspaceFile.objects.bulk_create(
        [
            WorkspaceFile(workspace=workspace, path=path, blob_id=sha256)
            for path, sha256 in rows.values_list("path", "blob_id")
        ],
        ignore_conflicts=True,
    )
