"""How much a notebook keeps of what its cells put out: in one cell, and in all together. Pure but for the counting.

A notebook that is too large cannot be shown, sent or saved: what is typed must never be lost for what was printed.
"""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy as _
from pycrdt import Array, Map, Text

#: More text than this in one cell makes browsers slow; more of the rest makes the file unwieldy.
MOST_TEXT_BYTES = 1 << 20
MOST_RICH_BYTES = 16 << 20
#: Of all cells together. A front end that saves or uploads a whole notebook sends at most 24 MiB, escaped.
MOST_NOTEBOOK_BYTES = 32 << 20
#: A display that is updated to less than this is not worth counting the whole notebook.
SMALL_BYTES = 16 << 10
_MOST_ERROR_CHARACTERS = 100_000

CUT_TEXT = _("[The rest of this text is left out: a cell keeps at most one megabyte. Print less, or write to a file.]")
CUT_RICH = _("[An output was left out: a cell keeps at most 16 megabytes. Show something smaller, or write to a file.]")
CUT_NOTEBOOK = _(
    "[Outputs are left out from here on: those of a notebook take at most 32 megabytes together. Clear the outputs of "
    "other cells and run this one again, or write to a file.]"
)


class Budget:
    """What one cell has put out. others: bytes of the outputs of the notebook's other cells when it began."""

    def __init__(self, others: int = 0) -> None:
        self._others = others
        self._text = 0
        self._rich = 0

    def clear(self) -> None:
        """The cell's outputs were cleared."""
        self._text = self._rich = 0

    def text_room(self) -> int:
        """Bytes of text that the cell still takes."""
        return max(min(MOST_TEXT_BYTES - self._text, MOST_NOTEBOOK_BYTES - self._total), 0)

    def add_text(self, size: int) -> str:
        """Counts text that was taken. Returns the sentence to end with when there is no more room, else ""."""
        self._text += size
        if self._text >= MOST_TEXT_BYTES:
            return str(CUT_TEXT)
        return str(CUT_NOTEBOOK) if self._total >= MOST_NOTEBOOK_BYTES else ""

    def add_rich(self, size: int) -> str:
        """Counts anything else. Returns the sentence to put in its place where there is no room, else ""."""
        self._rich += size
        if self._rich > MOST_RICH_BYTES:
            return str(CUT_RICH)
        return str(CUT_NOTEBOOK) if self._total > MOST_NOTEBOOK_BYTES else ""

    @property
    def _total(self) -> int:
        return self._others + self._text + self._rich


def fitting(cells: Array[Any], content: dict[str, Any]) -> dict[str, Any]:
    """The content of a display that shall replace another one, or a sentence in its place."""
    size = size_of(content.get("data", {})) + size_of(content.get("metadata", {}))
    notice = ""
    if size > MOST_RICH_BYTES:
        notice = str(CUT_RICH)
    elif size > SMALL_BYTES and notebook_bytes(cells) + size > MOST_NOTEBOOK_BYTES:
        notice = str(CUT_NOTEBOOK)
    return {**content, "data": {"text/plain": notice}, "metadata": {}} if notice else content


def notebook_bytes(cells: Array[Any], *, without: str = "") -> int:
    """About how many bytes the outputs of all cells have, but for those of the cell with the id `without`."""
    return sum(_cell_bytes(cell) for cell in cells if cell.get("cell_type") == "code" and cell.get("id") != without)


def _cell_bytes(cell: Map[Any]) -> int:
    outputs = cell.get("outputs")
    return sum(map(_output_bytes, outputs)) if isinstance(outputs, Array) else 0


def _output_bytes(output: Any) -> int:
    text = output.get("text") if isinstance(output, Map) else None
    if isinstance(text, Text):
        return len(text)  # in bytes of UTF-8, without copying it
    return size_of(output.to_py() if isinstance(output, Map) else output)


def size_of(value: Any) -> int:
    """About how many bytes a JSON value has."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(size_of(key) + size_of(one) for key, one in value.items())
    if isinstance(value, list):
        return sum(map(size_of, value))
    return 8


def short_error(content: dict[str, Any]) -> dict[str, Any]:
    """An error output whose traceback has lost its middle if it is very long."""
    traceback = [str(line) for line in content.get("traceback", [])]
    while len(traceback) > 1 and sum(map(len, traceback)) > _MOST_ERROR_CHARACTERS:
        del traceback[len(traceback) // 2]
    return {
        "output_type": "error",
        "ename": str(content.get("ename", ""))[:1000],
        "evalue": str(content.get("evalue", ""))[:_MOST_ERROR_CHARACTERS],
        "traceback": [line[:_MOST_ERROR_CHARACTERS] for line in traceback],
    }
