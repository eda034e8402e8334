"""Pure: the points of cells changed in a teacher's source notebooks, and nothing else in them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal

from grading.models import CellKey


def with_points(files: Mapping[str, bytes], points: Mapping[CellKey, Decimal]) -> dict[str, bytes]:
    """The notebooks in which a cell gets other points than it has; `points` by notebook and grade_id.

    A cell of which `points` says nothing, or that carries none, stays as it is (nbgrader: metadata.nbgrader.points).
    """
    changed: dict[str, bytes] = {}
    for path, data in files.items():
        wanted = {grade_id: value for (name, grade_id), value in points.items() if f"{name}.ipynb" == path}
        if wanted:
            notebook = json.loads(data)
            if sum(_set(cell, wanted) for cell in notebook.get("cells", [])):
                # As nbformat writes it.
                text = json.dumps(notebook, ensure_ascii=False, indent=1, sort_keys=True)
                changed[path] = f"{text}\n".encode()
    return changed


def _set(cell: Mapping[str, object], wanted: Mapping[str, Decimal]) -> bool:
    metadata = cell.get("metadata")
    about = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    if not isinstance(about, dict) or not (about.get("grade") or about.get("task")):
        return False
    value = wanted.get(str(about.get("grade_id")))
    if value is None or Decimal(str(about.get("points", 0))) == value:
        return False
    about["points"] = int(value) if value == value.to_integral_value() else float(value)
    return True
