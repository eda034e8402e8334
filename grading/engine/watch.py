"""What was sent to a kernel, and whether what tests rely on in there is still what it was before the student's code.

The record is the grader's own. What the kernel answers is evidence for a person, never a proof: code in it can forge
the answer. Questions are asked beside the history, so that `In`, `Out` and the counts stay nbgrader's.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from grading.engine import equals, probe
from grading.engine.contract import Json
from grading.engine.load import NotebookNode, utils

_MOST_NAMES = 12
_NAME_CHARACTERS = 100
_KEY = "seen"
_PROBE, _EQUALS = inspect.getsource(probe), inspect.getsource(equals)
_EQUAL = "== "


class Watch:
    """One notebook's run. `record` has a row a cell that was sent; `notes` what a person should look at."""

    def __init__(self) -> None:
        self.record: list[Json] = []
        self.notes: list[Json] = []
        self._before: Mapping[str, Any] | None = None
        self._told: set[str] = set()
        self._stale = True
        #: Names that cells of the release which nobody may change give to something.
        self._given: set[str] = set()

    def wants(self, cell: NotebookNode) -> bool:
        """Whether to look before this cell is run: tests, after code that is the student's."""
        return self._stale and is_tests(cell)

    def sends(self, number: int, cell: NotebookNode, *, sealed: bool) -> None:
        """Notes that the cell with this number (from 1) is sent as it is now; it may end the run. `sealed`: `Seal`."""
        self._stale = self._stale or not is_tests(cell)
        if utils.is_locked(cell):
            self._given |= _named(cell.source)
        digest = hashlib.sha256(cell.source.encode()).hexdigest()
        grade_id = cell.metadata.get("nbgrader", {}).get("grade_id", "")
        row = {"cell": number, "grade_id": grade_id, "sha256": digest, "count": None, "sealed": sealed}
        self.record.append(row)

    def ran(self, cell: NotebookNode) -> None:
        """The cell that was sent last came to its end, as the kernel counts."""
        self.record[-1]["count"] = cell.execution_count

    def saw(self, reply: Json | None, number: int) -> None:
        """Takes the kernel's answer before cell `number` was run; the first one is what the others are held against."""
        self._stale = False
        seen = _read(reply)
        if self._before is None:
            self._before = seen or {}
        elif seen is None:
            self._tell("kernel_unanswered", [_KEY], number)
        else:
            equal = {name.removeprefix(_EQUAL): seen[name][0] for name in seen if name.startswith(_EQUAL)}
            changed = [name for name in seen if not name.startswith(_EQUAL) and self._differs(name, seen)]
            self._tell("kernel_changed", changed, number)
            self._tell("equal_to_anything", list(self._equal(equal)), number)

    def _equal(self, found: Mapping[str, str]) -> Iterator[str]:
        """What tests make for themselves is no answer."""
        for name, kind in found.items():
            if name.partition(".")[0] not in self._given:
                yield name if kind == "anything" else f"{name} ({kind})"

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
    first = f"exec({_EQUALS!r}, space), " if last else ""
    look = f"({first}exec({_PROBE!r}, space), space['look']({'space["equal_to_anything"]()' if last else '{}'}))[-1]"
    return {_KEY: f"(lambda space: {look})({{'__name__': 'probe'}})"}


def is_tests(cell: NotebookNode) -> bool:
    """A code cell of the release with points and without an answer."""
    return bool(cell.cell_type == "code" and utils.is_grade(cell) and not utils.is_solution(cell))


def odd_credit(cell: NotebookNode, *, by_number: bool | None) -> Json | None:
    """A note on a test for whose end nbgrader gives all points, though it is no number of points, or one for whose
    points nbgrader takes a number that is not the end of it; else None.

    by_number: whether the test ended with a number when the release's own solution was run; None where that is unknown.
    """
    about = {"grade_id": cell.metadata["nbgrader"]["grade_id"]}
    shown, points = ended_with(cell)
    if points is not None and points < 0:
        return {"code": "negative_credit", **about}
    if points is None or math.isnan(points):
        was_wanted = by_number if points is None else by_number is not False
        failed = any(output.output_type == "error" for output in cell.outputs)
        return {"code": "no_number", **about, "shown": shown[:_NAME_CHARACTERS]} if was_wanted and not failed else None
    results = sum(output.output_type == "execute_result" for output in cell.outputs)
    if by_number is False or results > 1:
        # Code that a test calls can show a result, too, and nbgrader takes the first.
        return {"code": "number_from_elsewhere", **about, "shown": shown[:_NAME_CHARACTERS]}
    return None


def ended_with(cell: NotebookNode) -> tuple[str, float | None]:
    """The result that nbgrader looks at, as text ("" for none), and as the number that it is."""
    shown = next((out.data.get("text/plain", "") for out in cell.outputs if out.output_type == "execute_result"), "")
    text = str(shown[0] if isinstance(shown, list) and len(shown) == 1 else shown)
    try:
        return text, float(text)
    except ValueError:
        return text, None


def by_number(notebook: NotebookNode) -> list[str]:
    """The grade_ids of the tests in an executed notebook that give points by ending with a number."""
    found = [cell for cell in notebook.cells if is_tests(cell) and ended_with(cell)[1] is not None]
    return [cell.metadata["nbgrader"]["grade_id"] for cell in found]


def _named(source: str) -> set[str]:
    """Names to which the code gives something at its top."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return set()
    found: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            stored = (one for one in ast.walk(node) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store))
            found |= {one.id for one in stored}
    return found


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
