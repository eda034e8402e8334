"""Files as Jupyter's contents interface shows them (`Contents` models). Folders are what paths have in common.

Names that begin with a dot, and what programs keep for themselves, are not shown and cannot be asked for.
"""

from __future__ import annotations

import base64
import json
import mimetypes
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, cast

from runtimes.errors import FileNotThere, UnsafePath
from runtimes.jupyter import document, notebook_form
from runtimes.jupyter.errors import BadRequest, NotFound, TooLarge
from runtimes.models import Workspace, WorkspaceFile
from runtimes.paths import is_system, safe_path

Kind = Literal["notebook", "file", "directory"]
FORMATS = {None, "text", "base64", "json"}
# A browser tab that is sent more than this as JSON is lost; the file can still be downloaded.
MOST_SHOWN_BYTES = 64 << 20


def hidden(path: str) -> bool:
    """True for what a listing leaves out: dotted names (also our folder placeholders) and programs' own folders."""
    return is_system(path) or any(part.startswith(".") for part in path.split("/"))


def checked(path: str) -> str:
    """A path from an address or a body, without slashes around it; "" is the top. Raises NotFound."""
    path = path.strip("/")
    try:
        if path and (hidden(path) or safe_path(path) != path):
            raise NotFound(path)
    except UnsafePath as error:
        raise NotFound(path) from error
    return path


def kind_of(path: str) -> Kind:
    """What a file is opened as when nobody says."""
    return "notebook" if path.endswith(".ipynb") else "file"


def _moment(value: datetime) -> str:
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def model(row: WorkspaceFile, *, writable: bool, kind: str | None = None, with_hash: bool = False) -> dict[str, Any]:
    """A file without content."""
    kind = kind or kind_of(row.path)
    described: dict[str, Any] = {
        "name": row.path.rsplit("/", 1)[-1],
        "path": row.path,
        "type": kind,
        "created": _moment(row.created_at),
        "last_modified": _moment(row.modified_at),
        "size": row.blob.size,
        "writable": writable,
        "mimetype": None if kind == "notebook" else mimetypes.guess_type(row.path)[0],
        "format": None,
        "content": None,
    }
    if with_hash:
        # The blob's name is the hash: nothing is read.
        described |= {"hash": row.blob_id, "hash_algorithm": "sha256"}
    return described


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for: of which type, in which form, with content, with a hash; and whether the asker may write."""

    kind: str | None = None
    text_format: str | None = None
    content: bool = False
    with_hash: bool = True
    writable: bool = True


def read(workspace: Workspace, path: str, wish: Wish) -> dict[str, Any]:
    """The model of a file or folder. Raises NotFound, BadRequest (not what was asked for) or TooLarge."""
    rows = WorkspaceFile.objects.filter(workspace=workspace, path=path)
    row = rows.select_related("blob").first() if path and wish.kind != "directory" else None
    if row is None:
        if wish.kind not in {None, "directory"}:
            raise NotFound(path)
        return directory(workspace, path, wish)
    described = model(row, writable=wish.writable, kind=wish.kind, with_hash=wish.with_hash)
    if wish.content:
        if row.blob.size > MOST_SHOWN_BYTES:
            raise TooLarge(path)
        described |= _content(workspace, path, described["type"], wish.text_format)
    return described


def _content(workspace: Workspace, path: str, kind: Kind, text_format: str | None) -> dict[str, Any]:
    try:
        data = document.current_sync(workspace, path)
    except FileNotThere as error:
        raise NotFound(path) from error
    if kind == "notebook":
        # Brought to the newest format and mended like a document, so that the front end shows what it would open.
        parsed = cast("dict[str, Any]", notebook_form.parse("notebook", data))
        return {"format": "json", "content": notebook_form.for_file(parsed)}
    if text_format != "base64":
        try:
            return {"format": "text", "content": data.decode("utf-8")}
        except UnicodeDecodeError as error:
            if text_format == "text":
                raise BadRequest(f"{path} is not UTF-8 text") from error
    return {"format": "base64", "content": base64.b64encode(data).decode("ascii")}


def directory(workspace: Workspace, path: str, wish: Wish) -> dict[str, Any]:
    """A folder, with what is directly in it. Raises NotFound for one that no path goes through."""
    prefix = f"{path}/" if path else ""
    every = WorkspaceFile.objects.filter(workspace=workspace).select_related("blob").order_by("path")
    # Compared in Python: SQLite's LIKE takes A for a.
    rows = [row for row in every if row.path.startswith(prefix)]
    if path and not rows:
        raise NotFound(path)
    newest = max((row.modified_at for row in rows), default=workspace.created_at)
    described = _folder(path, workspace.created_at, newest, writable=wish.writable)
    if wish.content:
        described |= {"format": "json", "content": list(_entries(prefix, rows, writable=wish.writable))}
    return described


def _folder(path: str, created: datetime, modified: datetime, *, writable: bool) -> dict[str, Any]:
    return {
        "name": path.rsplit("/", 1)[-1],
        "path": path,
        "type": "directory",
        "created": _moment(created),
        "last_modified": _moment(modified),
        "size": None,
        "writable": writable,
        "mimetype": None,
        "format": None,
        "content": None,
    }


def _entries(prefix: str, rows: Iterable[WorkspaceFile], *, writable: bool) -> Iterable[dict[str, Any]]:
    folders: dict[str, list[WorkspaceFile]] = {}
    for row in rows:
        name, slash, _rest = row.path[len(prefix) :].partition("/")
        if hidden(name):
            continue
        if slash:
            folders.setdefault(prefix + name, []).append(row)
        else:
            yield model(row, writable=writable)
    for path, inside in folders.items():
        created, modified = min(row.created_at for row in inside), max(row.modified_at for row in inside)
        yield _folder(path, created, modified, writable=writable)


def to_bytes(kind: str, text_format: str | None, content: object) -> bytes:
    """The bytes that a saved model stands for. Raises BadRequest."""
    if kind == "notebook":
        if not isinstance(content, dict):
            raise BadRequest("a notebook's content is an object")
        # Read as any notebook is, so that nothing is stored that cannot be opened again.
        parsed = notebook_form.parse("notebook", json.dumps(content).encode())
        return notebook_form.to_bytes(notebook_form.for_file(cast("dict[str, Any]", parsed)))
    if not isinstance(content, str) or text_format not in {"text", "base64"}:
        raise BadRequest("a file's content is a text, its format text or base64")
    if text_format == "text":
        return content.encode("utf-8", "surrogatepass")
    try:
        return base64.b64decode(content, validate=True)
    except ValueError as error:
        raise BadRequest("not base64") from error
