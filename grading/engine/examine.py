"""What a teacher should know about a source notebook before it is published, cell by cell."""

from __future__ import annotations

import copy
from collections.abc import Iterator

from grading.engine.configure import RunLog, config
from grading.engine.contract import Problem, Settings
from grading.engine.load import (
    SCHEMA_VERSION,
    ClearHiddenTests,
    ClearMarkScheme,
    MetadataError,
    MetadataValidator,
    NotebookNode,
    utils,
)
from grading.engine.parts import clear_solutions
from grading.engine.read import Unreadable, read

_PYTHON = "python"
_PYTHONS = frozenset({_PYTHON, "ipython"})


def examine(path: str, notebook: NotebookNode, settings: Settings) -> list[Problem]:
    """Every problem that can be seen without running anything. Never raises."""
    found = [*_kernel(path, notebook, settings), *_duplicates(path, notebook)]
    if not notebook.cells:
        found.append(Problem("no_cells", path, severity="warning"))
    for number, cell in enumerate(notebook.cells, 1):
        found.extend(_cell(path, number, cell))
    if not any(p.severity == "error" for p in found):
        found.extend(_regions(path, notebook, settings))
    return found


def _kernel(path: str, notebook: NotebookNode, settings: Settings) -> Iterator[Problem]:
    kernelspec = notebook.metadata.get("kernelspec")
    if not isinstance(kernelspec, dict) or not kernelspec.get("name"):
        yield Problem("no_kernelspec", path, severity="warning")
        return
    kernel = kernel_of(notebook, settings)
    about = {"kernel": str(kernelspec["name"])}
    if kernel is None:
        yield Problem("unknown_kernel", path, params={**about, "kernels": ["python3", *settings.kernels]})
    elif kernel:
        yield Problem("other_kernel", path, severity="warning", params=about)


def kernel_of(notebook: NotebookNode, settings: Settings) -> str | None:
    """The kernelspec that runs this notebook: "" is Python's, which also stands for every Python that has another name
    elsewhere; None where the environment has none."""
    kernelspec = notebook.metadata.get("kernelspec")
    named = kernelspec if isinstance(kernelspec, dict) else {}
    if (name := named.get("name")) in settings.kernels:
        return str(name)
    language = notebook.metadata.get("language_info", {}).get("name") or named.get("language") or _PYTHON
    return "" if str(language).lower() in _PYTHONS else None


def _marked(cell: NotebookNode) -> bool:
    return bool(utils.is_grade(cell) or utils.is_solution(cell) or utils.is_locked(cell) or utils.is_task(cell))


def _duplicates(path: str, notebook: NotebookNode) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for number, cell in enumerate(notebook.cells, 1):
        grade_id = cell.metadata.get("nbgrader", {}).get("grade_id") if _marked(cell) else None
        if not grade_id:
            continue
        if grade_id in first:
            yield Problem("duplicate_grade_id", path, number, grade_id, params={"first": first[grade_id]})
        first.setdefault(grade_id, number)


def _cell(path: str, number: int, cell: NotebookNode) -> Iterator[Problem]:
    meta = cell.metadata.get("nbgrader")
    if meta is None:
        return
    grade_id = str(meta.get("grade_id", ""))
    version = meta.get("schema_version", 0)
    if version != SCHEMA_VERSION:
        code = "schema_new" if isinstance(version, int) and version > SCHEMA_VERSION else "schema_old"
        yield Problem(code, path, number, grade_id, params={"version": version, "wanted": SCHEMA_VERSION})
    elif _marked(cell) and not grade_id:
        yield Problem("no_grade_id", path, number)
    elif (meta.get("grade") or meta.get("task")) and not isinstance(meta.get("points"), int | float):
        yield Problem("no_points", path, number, grade_id)
    else:
        try:
            MetadataValidator().validate_cell(cell)
        except (MetadataError, KeyError, TypeError) as error:
            yield Problem("bad_metadata", path, number, grade_id, params={"message": _first_line(error)})


def _regions(path: str, notebook: NotebookNode, settings: Settings) -> Iterator[Problem]:
    """Runs nbgrader's own clearing steps on copies of single cells, to know which cell an error belongs to."""
    options = {"config": config(settings), "log": RunLog().logger}
    language = notebook.metadata.get("kernelspec", {}).get("language", _PYTHON)
    solutions, added = clear_solutions(notebook, **options)
    if added:
        yield Problem("stub_written", path, severity="warning", params=added)
    for part in (solutions, ClearHiddenTests(**options), ClearMarkScheme(**options)):
        for number, cell in enumerate(notebook.cells, 1):
            try:
                part.preprocess_cell(copy.deepcopy(cell), {"language": language}, number - 1)
            except (RuntimeError, KeyError) as error:
                grade_id = str(cell.metadata.get("nbgrader", {}).get("grade_id", ""))
                yield Problem("bad_region", path, number, grade_id, params={"message": _first_line(error)})


def _first_line(error: BaseException) -> str:
    text = getattr(error, "message", None) or str(error)
    lines = [line.strip() for line in str(text).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def readable(path: str, data: bytes) -> list[Problem]:
    """The one problem that a notebook has which is given out as it is: that it is none."""
    try:
        read(data)
    except Unreadable as error:
        return [Problem(error.code, path, params=error.params)]
    return []
