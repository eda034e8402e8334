"""A release as its students have it: the same grading without the hidden tests."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from grading.engine.contract import Json, NotebookSpec, Spec
from grading.engine.layout import Layout, layout_of, nbgrader_of
from grading.engine.read import Unreadable, read

_NO_MODULE = re.compile(r"No module named '([\w.]+)'")
# pip's own words where a package can neither be found nor fetched.
_NO_PACKAGE = re.compile(r"No matching distribution found for ([A-Za-z0-9][\w.-]*)")


def visible(spec: Spec, student_files: Mapping[str, bytes]) -> Spec:
    """The spec with every released cell as in the student version. Raises Unreadable where there is none."""
    notebooks = {}
    for name, notebook in spec.notebooks.items():
        layout = layout_of(read(student_files.get(notebook.path, b"")))
        notebooks[name] = replace(notebook, cells=_as_given_out(notebook, layout))
    return replace(spec, notebooks=notebooks)


def _as_given_out(notebook: NotebookSpec, layout: Layout) -> Json:
    source = dict(notebook.cells["source"])
    given = {entry["grade_id"]: entry for entry in layout if entry["grade_id"]}
    for grade_id, known in notebook.cells["source"].items():
        # A cell that the student version lacks must not be put back with its tests.
        entry = given.get(grade_id)
        if entry is None:
            raise Unreadable("not_a_notebook")
        checksum = nbgrader_of(entry).get("checksum", "")
        source[grade_id] = {**known, "source": entry["source"], "checksum": checksum}
    return {**notebook.cells, "source": source, "layout": list(layout)}


def lacking(content: bytes, own: Iterable[str]) -> list[str]:
    """Modules and packages that an executed notebook asked for in vain; `own` are the files beside it."""
    try:
        notebook = read(content)
    except Unreadable:
        return []
    texts = [_text(output) for cell in notebook.cells for output in cell.get("outputs", ())]
    modules = {name.split(".")[0] for text in texts for name in _NO_MODULE.findall(text)}
    mine = {path.split("/")[0].removesuffix(".py") for path in own}
    packages = {name.rstrip(".") for text in texts for name in _NO_PACKAGE.findall(text)}
    return sorted((modules - mine) | packages, key=str.lower)


def _text(output: Json) -> str:
    if output.get("output_type") == "error":
        return str(output.get("evalue", "")) if output.get("ename") == "ModuleNotFoundError" else ""
    return str(output.get("text", "")) if output.get("output_type") == "stream" else ""
