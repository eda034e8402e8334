"""The truth about files: trees of a workspace as rows, bytes as blobs, snapshots that never change.

A runtime's disk and Drive are copies. This is what other parts use; the verbs live in `blobs.py` (bytes), `trees.py`
(a workspace's files), `snapshots.py` (frozen sets), `disk.py` (to a runtime) and `transfer.py` (from it). Each
synchronous verb has an async form with an `a` before its name.
"""

from __future__ import annotations

from asgiref.sync import sync_to_async

from runtimes.blobs import open_blob, put, read
from runtimes.disk import push, settle
from runtimes.errors import FileNotThere, PathTaken, QuotaExceeded, StorageError, UnsafePath, WorkspaceReadOnly
from runtimes.models import Workspace, WorkspaceFile
from runtimes.paths import safe_path
from runtimes.snapshots import digest_of, fill, read_snapshot, snapshot, snapshot_of
from runtimes.transfer import Changed, pull
from runtimes.trees import Source, checkpoint, files, remove, rename, used_bytes, write

__all__ = [
    "Changed", "FileNotThere", "PathTaken", "QuotaExceeded", "Source", "StorageError", "UnsafePath",
    "WorkspaceReadOnly", "acheckpoint", "afiles", "afill", "aopen_blob", "aput", "aread", "aread_snapshot",
    "aremove", "arename", "asnapshot", "asnapshot_of", "awrite", "checkpoint", "digest_of", "files", "fill",
    "open_blob", "pull", "push", "put", "read", "read_snapshot", "remove", "rename", "safe_path", "settle",
    "snapshot", "snapshot_of", "used_bytes", "write",
]  # fmt: skip


def _list(workspace: Workspace) -> list[WorkspaceFile]:
    return list(files(workspace))


aput = sync_to_async(put)
aread = sync_to_async(read)
aopen_blob = sync_to_async(open_blob)
afiles = sync_to_async(_list)
awrite = sync_to_async(write)
aremove = sync_to_async(remove)
arename = sync_to_async(rename)
acheckpoint = sync_to_async(checkpoint)
asnapshot = sync_to_async(snapshot)
asnapshot_of = sync_to_async(snapshot_of)
aread_snapshot = sync_to_async(read_snapshot)
afill = sync_to_async(fill)
