"""A file's bytes to a shared document's content and back. Pure.

Shared form and file differ: in the file, a cell carries no trust and no display ids (nbformat 4.5 allows neither), and
numbers are as Python had them before Yjs made floats of them.
"""

from __future__ import annotations

import copy
import json
import warnings
from typing import Any

from runtimes.notebook_formats import nbformat

# isort: split
import nbformat.corpus.words
from django.utils.translation import gettext_lazy as _
from jupyter_ydoc import ydocs
from jupyter_ydoc.ybasedoc import YBaseDoc
from pycrdt import Doc

from runtimes.jupyter.errors import BadRequest

Content = dict[str, Any] | str

#: The (format, type) pairs that the front end opens together (jupyter-collaboration, `PUT session`).
KINDS = frozenset({("json", "notebook"), ("text", "file")})
_DISPLAY = {"display_data": {"data", "metadata"}, "execute_result": {"data", "metadata", "execution_count"}}
_OUTPUT_KEYS = {**_DISPLAY, "stream": {"name", "text"}, "error": {"ename", "evalue", "traceback"}}
_CELL_KEYS = {
    "code": {"id", "cell_type", "metadata", "source", "outputs", "execution_count"},
    "markdown": {"id", "cell_type", "metadata", "source", "attachments"},
    "raw": {"id", "cell_type", "metadata", "source", "attachments"},
}


class NotANotebook(BadRequest):
    """The file cannot be read as a notebook."""

    user_message = _(
        "This file cannot be opened as a notebook: its content is damaged. "
        "Restore an earlier version, or upload it again."
    )


def parse(kind: str, data: bytes) -> Content:
    """The content of a file of type `kind` ("notebook" or "file"). Raises NotANotebook."""
    if kind != "notebook":
        return data.decode("utf-8", "replace")
    try:
        # Older notebooks are brought to format 4; what is only odd (a missing id, say) is mended, not refused.
        with warnings.catch_warnings(action="ignore"):
            blank = not data.strip()
            notebook = nbformat.v4.new_notebook() if blank else nbformat.reads(data.decode("utf-8"), as_version=4)
    except Exception as error:
        # nbformat has no base class for what it raises at input that is JSON but no notebook.
        raise NotANotebook(str(error)) from error
    if notebook.nbformat_minor < 5:
        notebook.nbformat_minor = 5  # cell ids are what cells are run by
    return for_document(json.loads(json.dumps(notebook)))


def for_document(notebook: dict[str, Any]) -> dict[str, Any]:
    """The notebook as the shared document holds it: every cell has an id of its own, code cells are trusted.

    Trust means nothing on a workspace's own origin, and untrusted cells show widgets as text."""
    notebook = copy.deepcopy(notebook)
    seen: set[str] = set()
    for cell in notebook["cells"]:
        if not cell.get("id") or cell["id"] in seen:
            cell["id"] = nbformat.corpus.words.generate_corpus_id()
        seen.add(cell["id"])
        if cell["cell_type"] == "code":
            cell.setdefault("metadata", {})["trusted"] = True
    return notebook


def for_file(content: dict[str, Any]) -> dict[str, Any]:
    """The notebook as a file holds it: only what nbformat 4.5 allows. Changes and returns `content`."""
    content["cells"] = [_cell_for_file(cell) for cell in content["cells"] if cell.get("cell_type") in _CELL_KEYS]
    content["nbformat"], content["nbformat_minor"] = 4, max(5, content.get("nbformat_minor", 5))
    return content


def _cell_for_file(cell: dict[str, Any]) -> dict[str, Any]:
    kind = cell["cell_type"]
    cell = {key: value for key, value in cell.items() if key in _CELL_KEYS[kind]}
    cell.setdefault("metadata", {}).pop("trusted", None)
    if kind == "code":
        cell.setdefault("execution_count", None)
        outputs = cell.get("outputs") or []
        cell["outputs"] = [_output_for_file(one) for one in outputs if one.get("output_type") in _OUTPUT_KEYS]
    return cell


def _output_for_file(output: dict[str, Any]) -> dict[str, Any]:
    kind = output["output_type"]
    return {key: value for key, value in output.items() if key == "output_type" or key in _OUTPUT_KEYS[kind]}


def to_bytes(content: Content) -> bytes:
    """The file that holds `content`. A notebook's content may be changed on the way."""
    if isinstance(content, str):
        return content.encode()
    text: str = nbformat.v4.writes(nbformat.from_dict(for_file(content)))
    return (text + "\n").encode()


def shared(kind: str, doc: Doc[Any]) -> YBaseDoc:
    """The view of `doc` that knows the shape of its kind. Make one a document: it also holds an undo manager."""
    return ydocs[kind](doc)


def content_of(view: YBaseDoc) -> Content:
    """What a shared document holds now. Cells that share an id get ids of their own, in the document, too."""
    with warnings.catch_warnings(action="ignore"):
        content: Content = view.get()
    return content


def first_state(kind: str, content: Content) -> bytes:
    """The Yjs update that holds `content` and is the start of a document's log."""
    # The same client for every file: it writes here and never again, so its number is free to be fixed.
    doc: Doc[Any] = Doc(client_id=0)
    shared(kind, doc).set(content)
    return doc.get_update()
