"""Changes to a workspace's files as the front end asks for them. An open document is changed as a document."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

from runtimes import storage
from runtimes.jupyter import contents_models as models
from runtimes.jupyter import document, notebook_form
from runtimes.jupyter.errors import AlreadyThere, BadRequest
from runtimes.models import Workspace, WorkspaceFile

# What makes an empty folder exist: storage knows only files. Never shown.
PLACEHOLDER = ".keep"
_UNTITLED = {"notebook": ("Untitled", ".ipynb"), "file": ("untitled", ""), "directory": ("Untitled Folder", "")}
_MOST_TRIES = 1000


@dataclass(frozen=True, slots=True)
class Change:
    """What the caller shows (`path`), and what a live runtime's disk has to get (what it has to lose are rows)."""

    path: str
    written: list[str] = field(default_factory=list)


def save(workspace: Workspace, path: str, body: dict[str, Any]) -> Change:
    """Makes the model `body` the content of `path`; without content it is a new, empty one.

    Raises BadRequest and what `storage.write` raises."""
    kind = body.get("type") or models.kind_of(path)
    if not path or kind not in _UNTITLED:
        raise BadRequest(f"cannot save a {kind!r} at {path!r}")
    if body.get("chunk") is not None:
        raise BadRequest("files in pieces are not taken: the page does not send them")
    if kind == "directory":
        return make_folder(workspace, path)
    content = body.get("content")
    return write(
        workspace, path, _empty(kind) if content is None else models.to_bytes(kind, body.get("format"), content)
    )


def write(workspace: Workspace, path: str, data: bytes, *, source: str = storage.Source.UPLOADED) -> Change:
    """Writes `data`, into the shared document if the file has one (its pages see the edit), else to storage."""
    opened = _content_for(workspace, path, data)
    if opened is not None and document.post_edit_sync(workspace, path, opened):
        document.flush_sync(workspace)
    else:
        storage.write(workspace, path, data, source=source)
    return Change(path, written=[path])


def _content_for(workspace: Workspace, path: str, data: bytes) -> notebook_form.Content | None:
    kind = workspace.documents.filter(path=path).values_list("type", flat=True).first()
    return notebook_form.parse(kind, data) if kind else None


def _empty(kind: str) -> bytes:
    if kind != "notebook":
        return b""
    return notebook_form.to_bytes(cast("dict[str, Any]", notebook_form.parse("notebook", b"")))


def make_folder(workspace: Workspace, path: str) -> Change:
    """An empty folder. One that is there is no error; a file of that name is (PathTaken)."""
    storage.write(workspace, f"{path}/{PLACEHOLDER}", b"")
    return Change(path, written=[f"{path}/{PLACEHOLDER}"])


def create_untitled(workspace: Workspace, folder: str, kind: str, extension: str) -> Change:
    """A new file, notebook or folder in `folder`, under the first free name."""
    if kind not in _UNTITLED or not _is_extension(extension):
        raise BadRequest(f"cannot make a {kind!r} with extension {extension!r}")
    stem, default = _UNTITLED[kind]
    path = _free(workspace, folder, stem, extension if kind == "file" else default)
    if kind == "directory":
        return make_folder(workspace, path)
    return write(workspace, path, _empty(kind))


def _is_extension(extension: str) -> bool:
    return not extension or (extension.startswith(".") and extension[1:].isalnum() and len(extension) <= 12)


def copy(workspace: Workspace, source: str, folder: str) -> Change:
    """A copy of a file in `folder`, as it is now (an open document with what is not saved yet)."""
    source = models.checked(source)
    data = document.current_sync(workspace, source)
    name = source.rsplit("/", 1)[-1]
    stem, dot, extension = name.rpartition(".")
    stem, extension = (stem, dot + extension) if stem else (name, "")
    return write(workspace, _free(workspace, folder, f"{stem}-Copy", extension), data)


def _free(workspace: Workspace, folder: str, stem: str, extension: str) -> str:
    prefix = f"{folder}/" if folder else ""
    taken = set(WorkspaceFile.objects.filter(workspace=workspace).values_list("path", flat=True))
    for number in range(_MOST_TRIES):
        path = f"{prefix}{stem}{number or ''}{extension}"
        if not any(one == path or one.startswith(path + "/") for one in taken):
            return models.checked(path)
    raise AlreadyThere(f"{prefix}{stem}")


def rename(workspace: Workspace, old: str, new: str) -> Change:
    """Moves a file or folder; open documents and sessions go with it. Raises what `storage.rename` raises."""
    if not old or not new:
        raise BadRequest("the top folder has no name")
    storage.rename(workspace, old, new)
    return Change(new)


def remove(workspace: Workspace, path: str) -> Change:
    """Takes a file or folder away; contents stay as versions. Raises what `storage.remove` raises."""
    if not path:
        raise BadRequest("the top folder stays")
    gone = _below(workspace, path)
    storage.remove(workspace, path)
    for one in gone:
        document.removed(workspace.pk, one)
    return Change(path)


def _below(workspace: Workspace, path: str) -> list[str]:
    paths = WorkspaceFile.objects.filter(workspace=workspace).values_list("path", flat=True)
    return [one for one in paths if one == path or one.startswith(path + "/")]
