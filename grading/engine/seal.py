"""From which moment on a hidden test was in reach of the submission's code, and what had been shown until then.

A cell's source is in the kernel as soon as it is sent: in its history, in frames, in files of a traceback. From then on
code in there can write it, in whatever code of its own, into every output, also into those of earlier cells (a display
that is updated), and into files that the next notebook finds. What was shown before that moment is kept here, outside.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

from grading.engine.contract import Json, Settings
from grading.engine.hidden import Hidden, plain_text, quotes, telling
from grading.engine.load import NotebookNode
from grading.engine.watch import is_tests


class Seal:
    """One run of one notebook. `broken`: a hidden test is in reach; may be so from the start."""

    def __init__(self, settings: Settings, *, broken: bool = False) -> None:
        self._hidden = Hidden(settings)
        self.broken = broken
        self._then: dict[int, list[Json]] | None = None
        self._telling: set[str] = set()

    def before(self, cell: NotebookNode, cells: Sequence[NotebookNode]) -> None:
        """To be called before `cell`, one of `cells`, is sent."""
        if not self._hidden.is_in(cell):
            return
        if not self.broken:
            self._then = {n: copy.deepcopy(one.get("outputs", [])) for n, one in enumerate(cells, 1)}
        self.broken = True
        self._telling |= telling(self._hidden.lines(cell).values())

    def after(self, cells: Sequence[NotebookNode], record: Sequence[Json]) -> list[Json]:
        """Completes the record of what was sent with outputs that changed later; returns notes for those who mark."""
        notes: list[Json] = []
        for row in record:
            number = row["cell"]
            cell = cells[number - 1]
            if self._then is not None and not row["sealed"] and cell.outputs != self._then[number]:
                row["outputs"] = self._then[number]
                notes.append({"code": "output_changed_later", "cell": number})
            if not is_tests(cell) and any(quotes(plain_text(output), self._telling) for output in cell.outputs):
                notes.append({"code": "hidden_test_quoted", "cell": number})
        return notes
