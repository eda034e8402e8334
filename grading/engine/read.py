"""Bytes to notebook, as nbgrader reads them, with a code for what is wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from grading.engine.load import NotebookNode, nbformat

OLDEST, NEWEST = 3, 4


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
        notebook: NotebookNode = nbformat.reads(text, as_version=4)
        # A notebook without these two cannot be walked; nbformat only logs it.
        if not isinstance(notebook.cells, list) or not isinstance(notebook.metadata, dict):
            raise Unreadable("not_a_notebook")
        for cell in notebook.cells:
            _ = cell.cell_type, cell.source, cell.metadata
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise Unreadable("not_a_notebook") from error
    return notebook


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
