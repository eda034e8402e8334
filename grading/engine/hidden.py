"""Which lines of a released cell are not for students: hidden tests, and the mark schemes of tasks."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable

from grading.engine.configure import RunLog, config
from grading.engine.contract import Settings
from grading.engine.load import ClearHiddenTests, ClearMarkScheme, NotebookNode, utils
from grading.engine.read import Unreadable, read, write

REMOVED = "[…]"
# A shorter line (`else:`, `x = 1`) is in many an innocent output.
_TELLING_CHARACTERS = 12
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


class Hidden:
    """The markers of one assignment, and what lies between them."""

    def __init__(self, settings: Settings) -> None:
        options = {"config": config(settings), "log": RunLog().logger}
        self._tests, self._schemes = ClearHiddenTests(**options), ClearMarkScheme(**options)
        self._tests.enforce_metadata = self._schemes.enforce_metadata = False
        # A release with such an attachment was refused; here nothing is given out any more.
        self._schemes.check_attachment_leakage = False

    def is_in(self, cell: NotebookNode) -> bool:
        """Whether the cell has a hidden test."""
        return self._tests.begin_test_delimeter in cell.source

    def lines(self, cell: NotebookNode) -> dict[int, str]:
        """Line number → text of every line of a hidden test, the markers' included."""
        found: dict[int, str] = {}
        inside = False
        for number, line in enumerate(cell.source.split("\n"), 1):
            begins, ends = self._tests.begin_test_delimeter in line, self._tests.end_test_delimeter in line
            if begins or ends or inside:
                found[number] = line.strip()
            inside = begins or (inside and not ends)
        return found

    def clear(self, cell: NotebookNode) -> None:
        """Takes hidden tests out of the cell, and out of a task its mark scheme."""
        try:
            self._tests._remove_hidden_test_region(cell)
            if utils.is_task(cell):
                self._schemes._remove_mark_scheme_region(cell)
        except RuntimeError:
            # Markers that do not pair: better nothing than a test.
            cell.source = REMOVED

    def without(self, notebook: NotebookNode) -> bytes:
        """The notebook as a file for the sandbox, where code of the student can read it."""
        made = copy.deepcopy(notebook)
        for cell in made.cells:
            self.clear(cell)
        made.metadata.pop("celltoolbar", None)
        return write(made)


def has_hidden_tests(content: bytes, settings: Settings) -> bool:
    """Whether a cell of this notebook has a hidden test; a file that is no notebook has none."""
    try:
        cells = read(content).cells
    except Unreadable:
        return False
    return any(map(Hidden(settings).is_in, cells))


def telling(lines: Iterable[str]) -> set[str]:
    """Those of the lines by which an output that quotes them is recognised."""
    return {line for line in lines if len(line) >= _TELLING_CHARACTERS}


def printed_lines(cell: NotebookNode) -> list[str]:
    """What the cell wrote to stdout, line by line."""
    texts = [str(one.text) for one in cell.outputs if one.output_type == "stream" and one.name == "stdout"]
    return [line for text in texts for line in text.splitlines()]


def plain_text(output: object) -> str:
    """Everything that an output holds, as one text without colours."""
    return _ANSI.sub("", str(output))


def quotes(text: str, lines: Iterable[str]) -> bool:
    """Whether the text has one of the lines in it, as it is or as Python shows a string."""
    return any(line in text or repr(line)[1:-1] in text for line in lines)
