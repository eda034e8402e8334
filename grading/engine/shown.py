"""A graded notebook as its authors may see it: nothing in it can hold a hidden test, in whatever code.

What was shown before a hidden test was in reach (`seal.py`) is shown as it was. Of a cell that ran later, a test says
how it failed, in words that are the teacher's or Python's; any other cell has the outputs that it was handed in with.
Scores say something, too: a submission can choose which tests it fails.
"""

from __future__ import annotations

import builtins
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from grading.engine.contract import Json, Settings
from grading.engine.hidden import REMOVED, Hidden, plain_text, printed_lines
from grading.engine.load import NotebookNode, nbformat
from grading.engine.parts import is_warning
from grading.engine.read import Unreadable, read, write
from grading.engine.watch import is_tests
from grading.engine.words import Words

_ERRORS = frozenset(
    name for name, value in vars(builtins).items() if isinstance(value, type) and issubclass(value, BaseException)
)
_SOME_ERROR = "Error"
# IPython's traceback names the line of the cell: "Cell In[5], line 3".
_LINE = re.compile(r"\bline (\d{1,6})\b")


@dataclass(frozen=True)
class Shown:
    """The notebook's file. `sealed` are the numbers (from 1) of the cells whose run is not shown as it was."""

    content: bytes
    sealed: frozenset[int] = frozenset()


def shown(
    content: bytes, settings: Settings, *, record: Iterable[Json], handed_in: bytes, always: bool = False
) -> Shown:
    """What students may see of an executed notebook, by the record of its run and with the outputs they handed in.

    `always`: hidden tests may have been in reach all the time, for all that the record says (there is none where
    nbgrader itself graded). A file that is no notebook has nothing to show.
    """
    try:
        notebook = read(content)
    except Unreadable:
        return Shown(b"")
    view = _View(settings, {row["cell"]: row for row in record}, _own_outputs(handed_in), always)
    for number, cell in enumerate(notebook.cells, 1):
        view.cell(number, cell)
    notebook.metadata.pop("widgets", None)
    return Shown(write(notebook), frozenset(view.sealed))


@dataclass
class _View:
    settings: Settings
    rows: Mapping[int, Json]
    own: dict[str, list[list[Json]]]
    always: bool
    sealed: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._hidden = Hidden(self.settings)
        sealed = [number for number, row in self.rows.items() if row.get("sealed", self.always)]
        # Cells that were not run are behind it, too: where a run ends is for its code to choose.
        self._first = min(sealed, default=math.inf) if self.rows or not self.always else 0

    def cell(self, number: int, cell: NotebookNode) -> None:
        """Makes the cell fit to be shown."""
        if cell.cell_type == "code":
            # Taken in the order of the cells, also where they are not needed: a text may be there twice.
            own = self.own[cell.source].pop(0) if self.own.get(cell.source) else []
            self._outputs(number, cell, own)
        self._hidden.clear(cell)

    def _outputs(self, number: int, cell: NotebookNode, own: list[Json]) -> None:
        if number < self._first:
            outputs = self.rows.get(number, {}).get("outputs", cell.outputs)
            cell.outputs = [nbformat.from_dict(output) for output in outputs]
        else:
            self.sealed.add(number)
            # A count is any number that code in the kernel likes, a time of its messages any text.
            cell.execution_count = None
            cell.metadata.pop("execution", None)
            cell.outputs = _verdict(cell, self._hidden.lines(cell)) if is_tests(cell) else own


def _own_outputs(handed_in: bytes) -> dict[str, list[list[Json]]]:
    """Source → the outputs of each cell with it, in order."""
    found: dict[str, list[list[Json]]] = defaultdict(list)
    try:
        cells = read(handed_in).cells
    except Unreadable:
        return found
    for cell in cells:
        if cell.cell_type == "code":
            found[cell.source].append([output for output in cell.get("outputs", []) if _is_an_output(output)])
    return found


def _is_an_output(output: Json) -> bool:
    """Whether it has what nbformat writes; anything may stand in a file that was handed in."""
    match output.get("output_type"):
        case "stream":
            return isinstance(output.get("text"), str)
        case "display_data" | "execute_result":
            return isinstance(output.get("data"), dict)
        case kind:
            return bool(kind == "error")


def _verdict(cell: NotebookNode, hidden: Mapping[int, str]) -> list[NotebookNode]:
    """What a test says after a hidden one: the teacher's words, the kind of the error, the visible line that failed."""
    words = Words(cell.source, hidden)
    said = words.printed(printed_lines(cell))
    found = [_stream("stdout", "".join(f"{line}\n" for line in said))] if said else []
    if any(map(is_warning, cell.outputs)):
        found.append(_stream("stderr", REMOVED))
    errors = [one for one in cell.outputs if one.output_type == "error"]
    return found + [_error(error, cell.source.split("\n"), hidden, words) for error in errors[:1]]


def _stream(name: str, text: str) -> NotebookNode:
    return NotebookNode(output_type="stream", name=name, text=text)


def _error(output: NotebookNode, lines: Sequence[str], hidden: Mapping[int, str], words: Words) -> NotebookNode:
    name = output.ename if output.ename in _ERRORS else _SOME_ERROR
    message = words.message(str(output.evalue))
    traceback = [f"{name}: {message}" if message else name]
    at = failing_line(output)
    line = lines[at - 1].strip() if at is not None and 0 < at <= len(lines) and at not in hidden else ""
    if line:
        traceback.append(f"----> {at} {line}")
    return NotebookNode(output_type="error", ename=name, evalue=message or line, traceback=traceback)


def failing_line(output: NotebookNode) -> int | None:
    """The line of the cell in which its error came up, as the traceback has it."""
    found = _LINE.search(plain_text("\n".join(map(str, output.traceback))))
    return int(found.group(1)) if found else None
