"""A graded notebook with all that was printed, for teachers who trust their students not to look for hidden tests.

Their code is not in it, nor an output that quotes it word for word. Code that encodes what it read is not recognised:
see `shown.py`, which is what students see where the teacher says nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping

from grading.engine.contract import Settings
from grading.engine.hidden import REMOVED, Hidden, plain_text, printed_lines, quotes, telling
from grading.engine.load import NotebookNode
from grading.engine.read import Unreadable, read, write
from grading.engine.restore import failed_tests
from grading.engine.shown import failing_line
from grading.engine.watch import is_tests
from grading.engine.words import SAYS

_MOST_REASONS, _REASON_CHARACTERS = 10, 500


def redact(content: bytes, settings: Settings) -> bytes:
    """The notebook without hidden regions.

    A cell with hidden tests keeps one line of an error: its message if a visible line raised it, else its name alone (a
    message may quote the expected value). What a test says with `SAYS` is let through. Outputs of any cell that quote
    a hidden line are removed. A file that is no notebook has nothing to show.
    """
    try:
        notebook = read(content)
    except Unreadable:
        return b""
    hidden = Hidden(settings)
    lines = {number: hidden.lines(cell) for number, cell in enumerate(notebook.cells)}
    secret = telling(text for found in lines.values() for text in found.values())
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "code" and lines[number]:
            _shorten(cell, lines[number], secret)
        elif cell.cell_type == "code" and secret:
            cell.outputs = [_quoting(output, secret) for output in cell.outputs]
        hidden.clear(cell)
    return write(notebook)


def messages(content: bytes) -> dict[str, str]:
    """Why tests of a graded notebook failed, by grade_id; of what a student may see, as much as they may know."""
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
    lines = [line.strip() for line in printed_lines(cell)]
    said = [line.removeprefix(SAYS).strip() for line in lines if line.startswith(SAYS)]
    return [line[:_REASON_CHARACTERS] for line in said if line][:_MOST_REASONS]


def _shorten(cell: NotebookNode, hidden: Mapping[int, str], secret: set[str]) -> None:
    said = [line for line in _said(cell) if not quotes(line, secret)]
    text = "".join(f"{SAYS} {line}\n" for line in said)
    kept = [NotebookNode(output_type="stream", name="stdout", text=text)] if text else []
    for output in cell.outputs:
        if output.output_type == "error":
            line = failing_line(output)
            meant = str(output.evalue).startswith(SAYS) and not quotes(str(output.evalue), secret)
            seen = meant or (line is not None and line not in hidden)
            output.traceback = [f"{output.ename}: {output.evalue}" if seen and output.evalue else str(output.ename)]
            output.evalue = output.evalue if seen else ""
            kept.append(output)
    cell.outputs = kept


def _quoting(output: NotebookNode, secret: set[str]) -> NotebookNode:
    if not quotes(plain_text(output), secret):
        return output
    return NotebookNode(output_type="stream", name="stdout", text=REMOVED)
