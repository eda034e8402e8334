"""Bytes to notebook, as nbgrader reads them, with a code for what is wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

from grading.engine.load import NotebookNode, nbformat

OLDEST, NEWEST = 3, 4
_IDS_SINCE = 5


class Unreadable(ValueError):
    """These bytes are no notebook. `code` is a key of `grading.explain`."""

    def __init__(self, code: str, **params: Any) -> None:
        super().__init__(code)
        self.code = code
        self.params: Mapping[str, Any] = params


def read(data: bytes) -> NotebookNode:
    """A notebook of format 4, converted where it was 3. Raises Unreadable."""
    text = _text(data)
    raw = _json(text)
    _check_format(raw)
    try:
        notebook: NotebookNode = nbformat.reads(_with_ids(raw, text), as_version=4)
        # A notebook without these two cannot be walked; nbformat only logs it.
        if not isinstance(notebook.cells, list) or not isinstance(notebook.metadata, dict):
            raise Unreadable("not_a_notebook")
        for cell in notebook.cells:
            _ = cell.cell_type, cell.source, cell.metadata
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError, nbformat.ValidationError) as error:
        raise Unreadable("not_a_notebook") from error
    return notebook


def identified(notebook: NotebookNode) -> NotebookNode:
    """The notebook with the cell ids that its format asks for (4.5 and later: one each), and without where it has none.

    nbformat would invent random ones; these make the same notebook out of the same files.
    """
    wanted = notebook.nbformat_minor >= _IDS_SINCE
    seen: set[str] = set()
    for number, cell in enumerate(notebook.cells):
        if not wanted:
            cell.pop("id", None)
        elif not isinstance(cell.get("id"), str) or cell["id"] in seen:
            cell["id"] = next(name for name in _names(number) if name not in seen)
        seen.add(cell.get("id", ""))
    return notebook


def _with_ids(raw: dict[str, Any], text: str) -> str:
    """The same text, unless cell ids are missing or doubled. nbformat repairs this too, with a warning each time."""
    if raw["nbformat"] < NEWEST or raw.get("nbformat_minor", 0) < _IDS_SINCE:
        return text
    ids = [cell.get("id") for cell in raw["cells"]]
    if all(isinstance(name, str) for name in ids) and len(set(ids)) == len(ids):
        return text
    return json.dumps(identified(nbformat.from_dict(raw)))


def _names(number: int) -> Iterator[str]:
    yield f"cell-{number}"
    yield from (f"cell-{number}-{again}" for again in count(1))


def _text(data: bytes) -> str:
    if not data.strip():
        raise Unreadable("empty")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Unreadable("not_utf8") from error


def _json(text: str) -> dict[str, Any]:
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unreadable("not_json") from error
    if not isinstance(raw, dict) or not isinstance(raw.get("nbformat"), int):
        raise Unreadable("not_a_notebook")
    return raw


def _check_format(raw: dict[str, Any]) -> None:
    version = raw["nbformat"]
    if version > NEWEST:
        raise Unreadable("nbformat_new", version=version, newest=NEWEST)
    if version < OLDEST:
        raise Unreadable("nbformat_old", version=version, oldest=OLDEST)
    if not isinstance(raw.get("cells" if version >= 4 else "worksheets"), list):
        raise Unreadable("not_a_notebook")


def write(notebook: NotebookNode) -> bytes:
    """The notebook as a file, the way nbgrader's exporter writes it."""
    text: str = nbformat.writes(notebook, version=4)
    return (text if text.endswith("\n") else text + "\n").encode()
