"""What is kept of a released notebook to recognise its cells again, and how one cell is read. Pure."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from grading.engine.contract import Json

#: A released notebook: every cell in order, those with a grade_id whole (`layout_of`).
Layout = Sequence[Mapping[str, Any]]

_FLAGS = ("grade", "solution", "locked", "task")
_LOCKING = ("deletable", "editable")
# Which of two cells that changed places is said to have moved: rather the tests than an answer.
_ANSWER_WEIGHT, _GRADED_WEIGHT, _PLAIN_WEIGHT = 1_000_000, 1_000, 1


def layout_of(notebook: Mapping[str, Any]) -> list[Json]:
    """The layout of a student version."""
    made = []
    for cell in notebook["cells"]:
        entry: Json = {"id": id_of(cell), "grade_id": grade_id_of(cell)}
        if entry["grade_id"]:
            metadata = {key: value for key, value in cell["metadata"].items() if key in ("nbgrader", *_LOCKING)}
            entry |= {"cell_type": cell["cell_type"], "metadata": copy.deepcopy(metadata), "source": text_of(cell)}
        made.append(entry)
    return made


def likeness(layout: Layout, notebook: Mapping[str, Any]) -> float:
    """Which part of the release's graded cells the notebook has: 1.0 for all; for files that were renamed."""
    wanted = {entry["grade_id"] for entry in layout if entry["grade_id"]}
    there = {grade_id_of(cell) for cell in notebook["cells"]}
    return len(wanted & there) / len(wanted) if wanted else 0.0


def id_of(cell: Mapping[str, Any]) -> str:
    """The cell's id (nbformat 4.5); "" where it has none."""
    name = cell.get("id")
    return name if isinstance(name, str) else ""


def nbgrader_of(cell: Mapping[str, Any]) -> Mapping[str, Any]:
    """The cell's nbgrader metadata; empty where there is none, or no mapping."""
    metadata = cell.get("metadata")
    found = metadata.get("nbgrader") if isinstance(metadata, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def grade_id_of(cell: Mapping[str, Any]) -> str:
    """The cell's grade_id; "" for one without."""
    return str(nbgrader_of(cell).get("grade_id") or "")


def is_marked(cell: Mapping[str, Any]) -> bool:
    """Whether nbgrader would treat the cell as one of its own."""
    return any(nbgrader_of(cell).get(flag) for flag in _FLAGS)


def is_open(entry: Mapping[str, Any]) -> bool:
    """Whether the student is to write in this cell."""
    return not nbgrader_of(entry).get("locked")


def kind_of(entry: Mapping[str, Any]) -> str:
    """task, answer, tests, or text for what is only to be read."""
    about = nbgrader_of(entry)
    if about.get("task"):
        return "task"
    if about.get("solution"):
        return "answer"
    return "tests" if about.get("grade") else "text"


def weight_of(entry: Mapping[str, Any]) -> int:
    """How much speaks for a cell's having stayed where it is."""
    if not entry["grade_id"]:
        return _PLAIN_WEIGHT
    return _ANSWER_WEIGHT if is_open(entry) else _GRADED_WEIGHT


def fixed_settings(cell: Mapping[str, Any]) -> tuple[Any, ...]:
    """What of the nbgrader metadata decides about grading. A flag that is not there is off."""
    about = nbgrader_of(cell)
    return tuple(about.get(key) or 0 for key in (*_FLAGS, "points", "schema_version"))


def text_of(cell: Mapping[str, Any]) -> str:
    """The cell's source as one text."""
    source = cell.get("source", "")
    return "".join(map(str, source)) if isinstance(source, list) else str(source)
