"""Documents for the rest of the project: flushed, edited and asked about from any process, with no page open.

Nothing here needs the process that has the document open: all is read from the log and written into it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from asgiref.sync import sync_to_async
from pycrdt import Doc

from runtimes import blobs, bus
from runtimes.errors import FileNotThere, StorageError
from runtimes.jupyter import document_store, notebook_form
from runtimes.jupyter.document_log import DocumentGone, document_log
from runtimes.jupyter.replica import REMOVED
from runtimes.models import Document, Workspace, WorkspaceFile

log = logging.getLogger(__name__)

_ORIGIN = "edit"


@dataclass(frozen=True, slots=True)
class DocumentState:
    """Of a workspace's documents: when one was last saved (None: none ever was), and whether one is not saved now."""

    saved_at: datetime | None
    dirty: bool


def state(workspace: Workspace) -> DocumentState:
    """What the page's bar tells: two small queries."""
    rows = list(Document.objects.filter(workspace=workspace).values_list("pk", "snapshot_seq", "saved_seq", "saved_at"))
    heads = document_log().heads([row[0] for row in rows]) if rows else {}
    dirty = any(max(heads.get(pk, 0), snapshot_seq) > saved_seq for pk, snapshot_seq, saved_seq, _ in rows)
    return DocumentState(max((row[3] for row in rows if row[3]), default=None), dirty)


def opened(workspace_id: int, path: str, file_format: str, kind: str) -> tuple[Document, bool]:
    """The document of a file that somebody opens, and whether it is new.

    If the file was replaced in storage (restored, uploaded) since the document was saved, the document follows.
    Raises NotFound or NotANotebook."""
    document, made = document_store.opened(workspace_id, path, file_format, kind)
    if not made:
        _follow_file(document)
    return document, made


def _follow_file(document: Document) -> None:
    row = WorkspaceFile.objects.filter(workspace_id=document.workspace_id, path=document.path).first()
    if row is None or not document.saved_sha256 or row.blob_id == document.saved_sha256:
        return
    stored = document_store.read(document.pk)
    if stored.seq > stored.document.saved_seq:
        return  # somebody is at work: what they have goes before, the other stays as a version when it is saved
    content = notebook_form.parse(document.type, blobs.read(row.blob_id))
    # Who moves this makes the edit; two would show every cell twice.
    moved = Document.objects.filter(pk=document.pk, saved_sha256=stored.document.saved_sha256, saved_seq=stored.seq)
    if stored.document.saved_sha256 != row.blob_id and moved.update(saved_sha256=row.blob_id):
        _edit(stored, content)


def flush_sync(workspace: Workspace) -> None:
    """Writes every open document of the workspace to its file. Needs no page open, and disturbs none.

    Raises the first StorageError there is, after all others are written."""
    problem: StorageError | None = None
    for document_id in Document.objects.filter(workspace=workspace).values_list("pk", flat=True):
        try:
            _flush(document_id)
        except DocumentGone:
            continue
        except StorageError as error:
            problem = problem or error
    if problem:
        raise problem


def _flush(document_id: Any) -> None:
    stored = document_store.read(document_id)
    if stored.seq <= stored.document.saved_seq:
        return
    view = notebook_form.shared(stored.document.type, stored.doc())
    document_store.save(document_id, notebook_form.to_bytes(notebook_form.content_of(view)), stored.seq)


def post_edit_sync(workspace: Workspace, path: str, content: notebook_form.Content) -> bool:
    """Makes `content` (a notebook's JSON, a text) that of the document at `path`, as one edit that open pages see.

    False if the file was never open: then it is to be written to storage."""
    document = Document.objects.filter(workspace=workspace, path=path).first()
    if document is None:
        return False
    _edit(document_store.read(document.pk), content)
    return True


def change_sync(workspace: Workspace, path: str, change: Callable[[Any], notebook_form.Content]) -> bool:
    """Makes `change(content)` the content of the document at `path`, as one edit that open pages see.

    The difference alone is written: what somebody types at the same time stays. False if the file was never open."""
    document = Document.objects.filter(workspace=workspace, path=path).first()
    if document is None:
        return False
    stored = document_store.read(document.pk)
    before = notebook_form.content_of(notebook_form.shared(document.type, stored.doc()))
    _edit(stored, change(before))
    return True


def _edit(stored: document_store.Stored, content: notebook_form.Content) -> None:
    doc: Doc[Any] = stored.doc()
    before = doc.get_state()
    if isinstance(content, dict):
        content = notebook_form.for_document(content)
    notebook_form.shared(stored.document.type, doc).set(content)
    document_log().append(stored.document.pk, doc.get_update(before), _ORIGIN)
    bus.publish_sync(f"doc:{stored.document.pk}", _ORIGIN.encode())


def current_sync(workspace: Workspace, path: str) -> bytes:
    """The bytes that the file at `path` would have if it were saved now. Raises FileNotThere."""
    document = Document.objects.filter(workspace=workspace, path=path).exclude(snapshot=b"").first()
    if document is not None:
        stored = document_store.read(document.pk)
        if stored.seq > stored.document.saved_seq:
            view = notebook_form.shared(document.type, stored.doc())
            return notebook_form.to_bytes(notebook_form.content_of(view))
    row = WorkspaceFile.objects.filter(workspace=workspace, path=path).first()
    if row is None:
        raise FileNotThere(path)
    return blobs.read(row.blob_id)


def removed(workspace_id: int, path: str) -> None:
    """Forgets the document of a file that is removed: its pages are told, and nothing writes the file again."""
    for document_id in Document.objects.filter(workspace_id=workspace_id, path=path).values_list("pk", flat=True):
        Document.objects.filter(pk=document_id).delete()
        document_log().erase(document_id)
        bus.publish_on_commit(f"doc:{document_id}", REMOVED)


flush = sync_to_async(flush_sync)
post_edit = sync_to_async(post_edit_sync)
current = sync_to_async(current_sync)
astate = sync_to_async(state)
