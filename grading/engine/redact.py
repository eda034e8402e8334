"""A graded notebook as a student may see it: without the code of hidden tests, also where an output quotes it."""

from __future__ import annotations

import re

from grading.engine.configure import RunLog, config
from grading.engine.contract import Settings
from grading.engine.load import ClearHiddenTests, NotebookNode
from grading.engine.read import Unreadable, read, write
from grading.engine.restore import failed_tests

REMOVED = "[…]"
# A shorter line (`else:`, `x = 1`) is in many an innocent output.
_TELLING_CHARACTERS = 12
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
# IPython's traceback names the line of the cell: "Cell In[5], line 3".
_LINE = re.compile(r"\bline (\d+)")


def redact(content: bytes, settings: Settings) -> bytes:
    """The notebook without hidden regions.

    A cell with hidden tests keeps one line of an error: its message if a visible line raised it, else its name alone (a
    message may quote the expected value). Outputs of later cells that quote a hidden line are removed. Code that
    encodes what it read cannot be recognised: a test is known to the process that runs it. A file that is no notebook
    has nothing to show.
    """
    try:
        notebook = read(content)
    except Unreadable:
        return b""
    clear = ClearHiddenTests(config=config(settings), log=RunLog().logger)
    clear.enforce_metadata = False
    hidden: set[str] = set()
    for cell in notebook.cells:
        lines = _hidden_lines(cell, clear)
        if lines:
            hidden |= {text for text in lines.values() if len(text) >= _TELLING_CHARACTERS}
            _shorten(cell, lines)
            _clear(cell, clear)
        elif hidden and cell.cell_type == "code":
            cell.outputs = [_quoting(output, hidden) for output in cell.outputs]
    return write(notebook)


def messages(content: bytes) -> dict[str, str]:
    """Why tests of a graded notebook failed, by grade_id; of a redacted one, as much as a student may know."""
    try:
        return failed_tests(read(content))
    except Unreadable:
        return {}


def _hidden_lines(cell: NotebookNode, clear: ClearHiddenTests) -> dict[int, str]:
    """Line number → text of every hidden line, the markers' included."""
    found: dict[int, str] = {}
    inside = False
    for number, line in enumerate(cell.source.split("\n"), 1):
        begins, ends = clear.begin_test_delimeter in line, clear.end_test_delimeter in line
        if begins or ends or inside:
            found[number] = line.strip()
        inside = begins or (inside and not ends)
    return found


def _clear(cell: NotebookNode, clear: ClearHiddenTests) -> None:
    try:
        clear._remove_hidden_test_region(cell)
    except RuntimeError:
        # Markers that do not pair: better nothing than a test.
        cell.source = REMOVED


def _shorten(cell: NotebookNode, hidden: dict[int, str]) -> None:
    if cell.cell_type != "code":
        return
    kept = []
    for output in cell.outputs:
        if output.output_type == "error":
            line = _failing_line(output)
            seen = line is not None and line not in hidden
            output.traceback = [f"{output.ename}: {output.evalue}" if seen and output.evalue else str(output.ename)]
            output.evalue = output.evalue if seen else ""
            kept.append(output)
    cell.outputs = kept


def _failing_line(output: NotebookNode) -> int | None:
    found = _LINE.search(_ANSI.sub("", "\n".join(map(str, output.traceback))))
    return int(found.group(1)) if found else None


def _quoting(output: NotebookNode, hidden: set[str]) -> NotebookNode:
    text = _ANSI.sub("", str(output))
    if not any(line in text or repr(line)[1:-1] in text for line in hidden):
        return output
    return NotebookNode(output_type="stream", name="stdout", text=REMOVED)
