"""A shared document in the database: begun, read, saved into its file, compacted. Blocks; any process, any thread.

Nothing here takes a lock that outlives a statement or trusts that it is alone:
- begun: `snapshot` moves once, from empty to the first state; who loses reads what the winner wrote;
- read: the log first, the snapshot after it. What compaction took from the log between the two is in the snapshot;
- saved: the file's row and `saved_seq` move together, and only forward;
- compacted: the snapshot moves from the one that was read, and only updates that were read leave the log.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F
from django.utils import timezone
from pycrdt import Doc

from runtimes import blobs, trees
from runtimes.jupyter import notebook_form
from runtimes.jupyter.document_log import DocumentGone, Update, document_log
from runtimes.jupyter.errors import NotFound
from runtimes.models import Document, FileVersion, Workspace, WorkspaceFile

#: Younger updates stay in the log, so that no reader is on the way to one that leaves it.
_SETTLED = timedelta(seconds=30)
_COMPACT_FROM = 200


@dataclass(frozen=True, slots=True)
class Stored:
    """A document as it was read. `seq` is the highest number in it."""

    document: Document
    snapshot: bytes
    updates: list[Update]

    @property
    def seq(self) -> int:
        return max(self.document.snapshot_seq, self.updates[-1].seq if self.updates else 0)

    def doc(self) -> Doc[Any]:
        """A fresh replica."""
        doc: Doc[Any] = Doc()
        for data in (self.snapshot, *(update.data for update in self.updates)):
            doc.apply_update(data)
        return doc


def opened(workspace_id: int, path: str, file_format: str, kind: str) -> tuple[Document, bool]:
    """The document of a file, begun, and whether it is new. Raises NotFound or NotANotebook."""
    if not WorkspaceFile.objects.filter(workspace_id=workspace_id, path=path).exists():
        raise NotFound(path)
    document, made = Document.objects.get_or_create(
        workspace_id=workspace_id, path=path, defaults={"format": file_format, "type": kind}
    )
    begin(document)
    return document, made


def begin(document: Document) -> None:
    """Gives a document its first state, from its file, if it has none. Raises NotFound or NotANotebook."""
    if document.snapshot:
        return
    row = WorkspaceFile.objects.filter(workspace_id=document.workspace_id, path=document.path).first()
    if row is None:
        raise NotFound(document.path)
    content = notebook_form.parse(document.type, blobs.read(row.blob_id))
    state = notebook_form.first_state(document.type, content)
    # Exactly one first state is ever written: two would show every cell twice.
    Document.objects.filter(pk=document.pk, snapshot=b"").update(
        snapshot=state, saved_sha256=row.blob_id, saved_at=row.modified_at
    )


def read(document_id: UUID) -> Stored:
    """The document now. Raises DocumentGone, and what `begin` raises."""
    updates = document_log().read(document_id)
    document = _row(document_id)
    if not document.snapshot:
        begin(document)
        document = _row(document_id)
    return Stored(document, bytes(document.snapshot), updates)


def _row(document_id: UUID) -> Document:
    document = Document.objects.filter(pk=document_id).select_related("workspace").first()
    if document is None:
        raise DocumentGone(str(document_id))
    return document


def save(document_id: UUID, data: bytes, seq: int) -> str | None:
    """Makes `data`, the content up to update `seq`, the document's file. Returns its SHA-256.

    None means that a newer content is in the file already. What someone else wrote there stays as a version.
    Raises DocumentGone and what `storage.write` raises."""
    blob = blobs.put(data)
    workspace = _row(document_id).workspace
    with transaction.atomic():
        # The workspace first, as every change of its tree does: no two savers see the same state, and none deadlock.
        Workspace.objects.filter(pk=workspace.pk).update(quota_bytes=F("quota_bytes"))
        document = _row(document_id)
        if document.saved_seq > seq:
            return None
        _keep_foreign(document)
        if document.saved_sha256 != blob.pk:
            trees.place(workspace, document.path, blob, source=trees.Source.SAVED)
        Document.objects.filter(pk=document_id).update(saved_seq=seq, saved_sha256=blob.pk, saved_at=timezone.now())
    return blob.pk


def _keep_foreign(document: Document) -> None:
    """Keeps what is in the file and is not from this document, as a version."""
    row = WorkspaceFile.objects.filter(workspace_id=document.workspace_id, path=document.path).first()
    if row is not None and row.blob_id != document.saved_sha256:
        trees.keep_version(document.workspace, document.path, row.blob_id, FileVersion.Source.REPLACED)
        document.saved_sha256 = ""  # the file is not what was saved last: place it again


def move_saved(document_id: UUID, seq: int, to: int) -> bool:
    """Counts update `to` as saved with `seq`, if there is none between: it changed no content, only `state`."""
    between = [update for update in document_log().read(document_id, after=seq) if update.seq < to]
    return not between and bool(Document.objects.filter(pk=document_id, saved_seq=seq).update(saved_seq=to))


def compact(document_id: UUID, *, settled: timedelta = _SETTLED, at_least: int = _COMPACT_FROM) -> bool:
    """Merges settled updates into the snapshot, if there are `at_least` so many. True if the snapshot moved."""
    log = document_log()
    until = log.settled(document_id, settled)
    stored = read(document_id)
    old = [update for update in stored.updates if update.seq <= until]
    if len(old) < at_least:
        return False
    seq = max(old[-1].seq, stored.document.snapshot_seq)
    doc = Stored(stored.document, stored.snapshot, old).doc()
    moved = Document.objects.filter(
        pk=document_id, snapshot_seq=stored.document.snapshot_seq, snapshot=stored.snapshot
    ).update(snapshot=doc.get_update(), snapshot_seq=seq)
    if moved:
        log.discard(document_id, [update.seq for update in old])
    return bool(moved)
