"""What was sent to a kernel, and whether what tests rely on in there is still what it was before the student's code.

The record is the grader's own. What the kernel answers is evidence for a person, never a proof: code in it can forge
the answer. Questions are asked beside the history, so that `In`, `Out` and the counts stay nbgrader's.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
from collections.abc import Mapping
from typing import Any

from grading.engine import probe
from grading.engine.contract import Json
from grading.engine.load import NotebookNode, utils

_MOST_NAMES = 12
_NAME_CHARACTERS = 100
_KEY = "seen"
_SOURCE = inspect.getsource(probe)


class Watch:
    """One notebook's run. `record` has a row a cell that was sent; `notes` what a person should look at."""

    def __init__(self) -> None:
        self.record: list[Json] = []
        self.notes: list[Json] = []
        self._before: Mapping[str, Any] | None = None
        self._told: set[str] = set()
        self._stale = True

    def wants(self, cell: NotebookNode) -> bool:
        """Whether to look before this cell is run: tests, after code that is the student's."""
        return self._stale and is_tests(cell)

    def sent(self, number: int, cell: NotebookNode) -> None:
        """Notes that the cell with this number (from 1) was sent as it is now."""
        self._stale = self._stale or not is_tests(cell)
        digest = hashlib.sha256(cell.source.encode()).hexdigest()
        grade_id = cell.metadata.get("nbgrader", {}).get("grade_id", "")
        self.record.append({"cell": number, "grade_id": grade_id, "sha256": digest, "count": cell.execution_count})

    def saw(self, reply: Json | None, number: int) -> None:
        """Takes the kernel's answer before cell `number` was run; the first one is what the others are held against."""
        self._stale = False
        seen = _read(reply)
        if self._before is None:
            self._before = seen or {}
        elif seen is None:
            self._tell("kernel_unanswered", [_KEY], number)
        else:
            self._tell(
                "kernel_changed", [n for n in seen if not n.startswith("class ") and self._differs(n, seen)], number
            )
            self._tell("equal_to_anything", [n.removeprefix("class ") for n in seen if n.startswith("class ")], number)

    def _differs(self, name: str, seen: Mapping[str, Any]) -> bool:
        before = (self._before or {}).get(name)
        # What came with a library that was imported meanwhile is the library's, unless the notebook put it there.
        return bool(seen[name][0] != before[0] if before is not None else seen[name][1] == "__main__")

    def _tell(self, code: str, names: list[str], number: int) -> None:
        fresh = [name[:_NAME_CHARACTERS] for name in names if f"{code} {name}" not in self._told]
        self._told |= {f"{code} {name}" for name in names}
        if fresh:
            more = ["…"] if len(fresh) > _MOST_NAMES else []
            self.notes.append({"code": code, "cell": number, "names": sorted(fresh)[:_MOST_NAMES] + more})


def question(*, last: bool) -> dict[str, str]:
    """The user expression to ask the kernel for (Jupyter messaging 5.4, execute_request)."""
    ask = f"(lambda space: (exec({_SOURCE!r}, space), space['look']({last}))[1])({{'__name__': 'probe'}})"
    return {_KEY: ask}


def is_tests(cell: NotebookNode) -> bool:
    """A code cell of the release with points and without an answer."""
    return bool(cell.cell_type == "code" and utils.is_grade(cell) and not utils.is_solution(cell))


def odd_credit(cell: NotebookNode) -> bool:
    """Whether a test gave a negative number of points, for which nbgrader gives all."""
    for output in cell.outputs:
        if output.output_type == "execute_result":
            try:
                return float(output.data.get("text/plain", "")) < 0
            except (TypeError, ValueError):
                return False
    return False


def _read(reply: Json | None) -> Mapping[str, Any] | None:
    """name → [identity, whose], or None for anything that is no answer."""
    try:
        text = (reply or {})["content"]["user_expressions"][_KEY]["data"]["text/plain"]
        found = json.loads(ast.literal_eval(text))
        if all(isinstance(value, list) and len(value) == 2 for value in found.values()):
            return {str(name): value for name, value in found.items()}
    except (AttributeError, KeyError, MemoryError, RecursionError, SyntaxError, TypeError, ValueError):
        pass
    return None
