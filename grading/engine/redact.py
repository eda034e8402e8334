"""A graded notebook as a student may see it: without the code of hidden tests, also where an output quotes it."""

from __future__ import annotations

import re

from grading.engine.configure import RunLog, config
from grading.engine.contract import Settings
from grading.engine.load import ClearHiddenTests, NotebookNode
from grading.engine.read import Unreadable, read, write
from grading.engine.restore import failed_tests
from grading.engine.watch import is_tests

REMOVED = "[…]"
#: A test says so to the student: printed, or as the message of an assertion, also by a hidden test.
SAYS = "FEEDBACK:"
_MOST_REASONS, _REASON_CHARACTERS = 10, 500
# A shorter line (`else:`, `x = 1`) is in many an innocent output.
_TELLING_CHARACTERS = 12
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
# IPython's traceback names the line of the cell: "Cell In[5], line 3".
_LINE = re.compile(r"\bline (\d+)")


def redact(content: bytes, settings: Settings) -> bytes:
    """The notebook without hidden regions.

    A cell with hidden tests keeps one line of an error: its message if a visible line raised it, else its name alone (a
    message may quote the expected value). What a test says with `SAYS` is let through. Outputs of later cells that
    quote a hidden line are removed. Code that encodes what it read cannot be recognised: a test is known to the process
    that runs it. A file that is no notebook has nothing to show.
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
            _shorten(cell, lines, hidden)
            _clear(cell, clear)
        elif hidden and cell.cell_type == "code":
            cell.outputs = [_quoting(output, hidden) for output in cell.outputs]
    return write(notebook)


def messages(content: bytes) -> dict[str, str]:
    """Why tests of a graded notebook failed, by grade_id; of a redacted one, as much as a student may know."""
    try:
        found = failed_tests(read(content))
    except Unreadable:
        return {}
    return {grade_id: text.replace(f"{SAYS} ", "").replace(SAYS, "") for grade_id, text in found.items()}


def reasons(content: bytes) -> dict[str, list[str]]:
    """What tests with points printed for the student, by grade_id: why there is not full credit, say."""
    try:
        notebook = read(content)
    except Unreadable:
        return {}
    found = {cell.metadata["nbgrader"]["grade_id"]: _said(cell) for cell in notebook.cells if is_tests(cell)}
    return {grade_id: lines for grade_id, lines in found.items() if lines}


def _said(cell: NotebookNode) -> list[str]:
    printed = [str(one.text) for one in cell.outputs if one.output_type == "stream" and one.name == "stdout"]
    lines = [line.strip() for text in printed for line in text.splitlines()]
    said = [line.removeprefix(SAYS).strip() for line in lines if line.startswith(SAYS)]
    return [line[:_REASON_CHARACTERS] for line in said if line][:_MOST_REASONS]


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


def _shorten(cell: NotebookNode, hidden: dict[int, str], telling: set[str]) -> None:
    if cell.cell_type != "code":
        return
    said = [line for line in _said(cell) if not _quotes(line, telling)]
    text = "".join(f"{SAYS} {line}\n" for line in said)
    kept = [NotebookNode(output_type="stream", name="stdout", text=text)] if text else []
    for output in cell.outputs:
        if output.output_type == "error":
            line = _failing_line(output)
            meant = str(output.evalue).startswith(SAYS) and not _quotes(str(output.evalue), telling)
            seen = meant or (line is not None and line not in hidden)
            output.traceback = [f"{output.ename}: {output.evalue}" if seen and output.evalue else str(output.ename)]
            output.evalue = output.evalue if seen else ""
            kept.append(output)
    cell.outputs = kept


def _failing_line(output: NotebookNode) -> int | None:
    found = _LINE.search(_ANSI.sub("", "\n".join(map(str, output.traceback))))
    return int(found.group(1)) if found else None


def _quoting(output: NotebookNode, hidden: set[str]) -> NotebookNode:
    text = _ANSI.sub("", str(output))
    if not _quotes(text, hidden):
        return output
    return NotebookNode(output_type="stream", name="stdout", text=REMOVED)


def _quotes(text: str, hidden: set[str]) -> bool:
    return any(line in text or repr(line)[1:-1] in text for line in hidden)
