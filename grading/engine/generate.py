"""Source files to student version and spec: nbgrader's GenerateAssignment, in memory."""

from __future__ import annotations

import fnmatch
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from grading.engine.configure import RunLog, config, convert
from grading.engine.contract import CellSpec, Generated, Json, NotebookSpec, Problem, Settings
from grading.engine.examine import examine, kernel_of
from grading.engine.gradebook import Recorder
from grading.engine.layout import layout_of
from grading.engine.load import (
    CheckCellMetadata,
    ClearHiddenTests,
    ClearMarkScheme,
    ClearOutput,
    ComputeChecksums,
    IncludeHeaderFooter,
    LockCells,
    NotebookNode,
)
from grading.engine.parts import KeepCells, clear_solutions
from grading.engine.read import Unreadable, identified, read

AUTOTEST = "AUTOTEST"
# nbgrader's CourseDirectory.ignore, and what it never copies besides notebooks.
_IGNORED = (".ipynb_checkpoints", "*.pyc", "__pycache__", "feedback")


def is_notebook(path: str) -> bool:
    """Whether nbgrader takes this file for one of the assignment's notebooks: at the top, not hidden."""
    return "/" not in path and path.endswith(".ipynb") and not path.startswith(".")


def is_data(path: str) -> bool:
    """Whether nbgrader copies this file beside the notebooks."""
    names = PurePosixPath(path).parts
    patterns = (*_IGNORED, "*.ipynb")
    return not any(_globs(name, pattern) for name in names for pattern in patterns)


def _globs(name: str, pattern: str) -> bool:
    # As glob does: a leading dot is matched by a dot only.
    return fnmatch.fnmatchcase(name, pattern) and (not name.startswith(".") or pattern.startswith("."))


def generate(files: Mapping[str, bytes], settings: Settings, tests: Mapping[str, bytes] | None = None) -> Generated:
    """The student's files, the spec and every problem. Bad input is a problem, never an exception.

    `tests` holds notebooks whose `### AUTOTEST` lines have been written out (`instantiate`); without them such
    notebooks are named in `pending`.
    """
    student = {path: data for path, data in files.items() if is_data(path)}
    problems: list[Problem] = [*_left_out(files)]
    specs: list[NotebookSpec] = []
    pending: list[str] = []
    written = tests or {}
    for path in sorted(filter(is_notebook, files)):
        notebook = _read(path, files[path], settings, problems)
        if notebook is None:
            continue
        if path in written:
            notebook = read(written[path])
        elif needs_kernel(notebook):
            pending.append(path)
        made = _student_version(path, notebook, settings, problems)
        if made is not None:
            student[path], spec = made
            specs.append(spec)
    if not any(map(is_notebook, files)):
        problems.append(Problem("no_notebooks", ""))
    return Generated(student, tuple(specs), tuple(problems), tuple(pending))


def needs_kernel(notebook: NotebookNode) -> bool:
    """Whether nbgrader would run the source to write its tests."""
    return any(cell.cell_type == "code" and AUTOTEST in cell.source for cell in notebook.cells)


def _left_out(files: Mapping[str, bytes]) -> Iterator[Problem]:
    for path in sorted(files):
        if path.endswith(".ipynb") and not is_notebook(path):
            yield Problem("notebook_in_folder", path, severity="warning")


def _read(path: str, data: bytes, settings: Settings, problems: list[Problem]) -> NotebookNode | None:
    """The notebook with header and footer, or None and a problem."""
    try:
        notebook = with_frame(read(data), settings)
    except Unreadable as error:
        problems.append(Problem(error.code, path, params=error.params))
        return None
    found = examine(path, notebook, settings)
    problems.extend(found)
    return None if any(p.severity == "error" for p in found) else notebook


def with_frame(notebook: NotebookNode, settings: Settings) -> NotebookNode:
    """The notebook between the course's header and footer cells. Raises Unreadable for a bad header or footer."""
    frame = {"header": settings.header, "footer": settings.footer}
    with tempfile.TemporaryDirectory(prefix="pupitre-") as folder:
        made = config(settings)
        for name, data in frame.items():
            if data:
                _check_frame(name, data)
                path = Path(folder, f"{name}.ipynb")
                path.write_bytes(data)
                made.IncludeHeaderFooter[name] = str(path)
        try:
            framed: NotebookNode = IncludeHeaderFooter(config=made, log=RunLog().logger).preprocess(notebook, {})[0]
        except Exception as error:
            # nbgrader validates the two as it reads them, with errors of several libraries.
            raise Unreadable("bad_header", message=str(error)[:200]) from error
    return identified(framed)


def _check_frame(name: str, data: bytes) -> None:
    try:
        read(data)
    except Unreadable as error:
        raise Unreadable("bad_header", message=f"{name}.ipynb: {error.code}") from error


def _student_version(
    path: str, notebook: NotebookNode, settings: Settings, problems: list[Problem]
) -> tuple[bytes, NotebookSpec] | None:
    name = PurePosixPath(path).stem
    recorder, log = Recorder(), RunLog()
    options: Json = {"config": config(settings), "log": log.logger}
    parts = [
        LockCells(**options),
        clear_solutions(notebook, **options)[0],
        ClearOutput(**options),
        CheckCellMetadata(**options),
        ComputeChecksums(**options),
        KeepCells(recorder, **options),
        ClearHiddenTests(**options),
        ClearMarkScheme(**options),
        ComputeChecksums(**options),
        CheckCellMetadata(**options),
    ]
    try:
        text = convert(notebook, parts, {"notebook": name, "assignment": "assignment", "student": "."}, log)
    except Exception as error:  # noqa: BLE001 - whatever nbgrader cannot convert is a problem of this notebook
        problems.append(Problem("cannot_convert", path, params={"message": str(error)[:500]}))
        return None
    recorder.cells["layout"] = layout_of(read(text.encode()))
    if kernel := kernel_of(notebook, settings):
        recorder.cells["kernel"] = kernel
    graded = tuple(_cells(recorder.cells))
    if not any(cell.kind != "answer" for cell in graded):
        problems.append(Problem("nothing_graded", path, severity="warning"))
    return text.encode(), NotebookSpec(name, path, recorder.kernelspec, recorder.cells, graded)


def _cells(cells: Json) -> Iterator[CellSpec]:
    """The cells that people see in lists, in the notebook's order."""
    for position, (grade_id, source) in enumerate(cells["source"].items()):
        kind = _kind(cells, grade_id, source)
        if kind is not None:
            scored: dict[str, Any] = cells["task"].get(grade_id) or cells["grade"].get(grade_id) or {}
            yield CellSpec(grade_id, kind, source["cell_type"], float(scored.get("max_score", 0)), position)


def _kind(cells: Json, grade_id: str, source: Json) -> Literal["tests", "manual", "task", "answer"] | None:
    if grade_id in cells["task"]:
        return "task"
    if grade_id in cells["grade"]:
        written = grade_id in cells["solution"] or source["cell_type"] != "code"
        return "manual" if written else "tests"
    return "answer" if grade_id in cells["solution"] else None
