"""The first half of grading: a submitted notebook made fit to run, as nbgrader does, and hardened."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

from grading.engine.configure import RunLog, config, convert
from grading.engine.contract import Json, NotebookSpec, Settings
from grading.engine.gradebook import Gradebook
from grading.engine.load import (
    CheckCellMetadata,
    ClearHiddenTests,
    ClearOutput,
    DeduplicateIds,
    MetadataError,
    MissingEntry,
    NotebookNode,
    SchemaTooNewError,
    SchemaTooOldError,
    utils,
)
from grading.engine.parts import SKIP_TAG, RestoreCells, RestoreKernelspec, fingerprint
from grading.engine.read import Unreadable, read, write

# nbformat's own cell metadata. Whatever else a notebook carries is no part of handed-in work and could steer a tool.
_KNOWN_METADATA = frozenset(
    {"nbgrader", "deletable", "editable", "collapsed", "scrolled", "autoscroll", "format", "name", "jupyter", "tags"}
)


class Refused(Exception):
    """nbgrader would not grade this notebook. `code` is a key of `grading.explain`."""

    def __init__(self, code: str, detail: str = "", **params: object) -> None:
        super().__init__(code)
        self.code, self.detail, self.params = code, detail, params


@dataclass
class Restored:
    """A notebook that may be executed, with what was changed in it."""

    notebook: NotebookNode
    notes: list[Json] = field(default_factory=list)


def restore(data: bytes, spec: NotebookSpec, gradebook: Gradebook, settings: Settings, log: RunLog) -> Restored:
    """The notebook with the release's tests, points and kernelspec put back. Raises Refused."""
    options: Json = {"config": config(settings), "log": log.logger}
    restored = Restored(_submitted(data))
    names = {"notebook": spec.name, "assignment": "assignment", "student": "student"}
    parts = [
        ClearOutput(**options),
        DeduplicateIds(**options),
        *([_Heal(restored.notes)] if settings.heal else []),
        RestoreKernelspec(gradebook, **options),
        RestoreCells(gradebook, **options),
        CheckCellMetadata(**options),
    ]
    try:
        text = convert(restored.notebook, parts, names, log)
        restored.notebook = read(text.encode())
    except (SchemaTooOldError, SchemaTooNewError) as error:
        raise Refused("metadata_version", detail=str(error)) from error
    except (MissingEntry, RuntimeError, KeyError) as error:
        raise Refused("cells_changed", detail=_detail(error)) from error
    except MetadataError as error:
        raise Refused("metadata", detail=_detail(error)) from error
    except Exception as error:
        # Anything else that nbgrader chokes on is a property of this notebook: it fails alone.
        raise Refused("broken_notebook", detail=_detail(error)) from error
    _harden(restored, spec)
    return restored


def _submitted(data: bytes) -> NotebookNode:
    try:
        return read(data)
    except Unreadable as error:
        raise Refused(error.code, **dict(error.params)) from error


def _detail(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:500]


class _Heal:
    """Makes a plain cell of every copy that DeduplicateIds stripped; nbgrader refuses such a notebook."""

    enabled = True

    def __init__(self, notes: list[Json]) -> None:
        self._notes = notes

    def __call__(self, nb: NotebookNode, resources: Json) -> tuple[NotebookNode, Json]:
        for number, cell in enumerate(nb.cells, 1):
            if cell.metadata.get("nbgrader") == {}:
                del cell.metadata["nbgrader"]
                self._notes.append({"code": "copy_ignored", "cell": number})
        return nb, resources


def _harden(restored: Restored, spec: NotebookSpec) -> None:
    """Removes what could steer execution. A tag that the released cell carries stays: honest work scores as ever."""
    skipped = set(spec.cells.get("skipped", ()))
    for number, cell in enumerate(restored.notebook.cells, 1):
        kept = [SKIP_TAG] if fingerprint(cell) in skipped else []
        removed = sorted(set(map(str, cell.metadata.get("tags", []))) - set(kept))
        if SKIP_TAG in removed:
            restored.notes.append({"code": "skip_tag_removed", "cell": number})
        for key in set(cell.metadata) - _KNOWN_METADATA:
            del cell.metadata[key]
        cell.metadata.pop("tags", None)
        if kept:
            cell.metadata["tags"] = kept


def without_hidden_tests(notebook: NotebookNode, settings: Settings) -> bytes | None:
    """The notebook as a file for the sandbox, where code of the student can read it. None if it cannot be made."""
    clear = ClearHiddenTests(config=config(settings), log=RunLog().logger)
    clear.enforce_metadata = False
    try:
        return write(clear.preprocess(copy.deepcopy(notebook), {})[0])
    except RuntimeError:
        return None


def has_code(notebook: NotebookNode) -> bool:
    """Whether anything would be sent to a kernel."""
    return any(
        cell.cell_type == "code" and cell.source.strip() and SKIP_TAG not in cell.metadata.get("tags", [])
        for cell in notebook.cells
    )


def failed_tests(notebook: NotebookNode) -> dict[str, str]:
    """For each scored code cell that failed: the first error or warning text that took its points."""
    found: dict[str, str] = {}
    for cell in notebook.cells:
        if not utils.is_grade(cell) or cell.cell_type != "code" or utils.is_solution(cell):
            continue
        message = next(filter(None, map(_message, cell.outputs)), "")
        if message:
            found[cell.metadata["nbgrader"]["grade_id"]] = message[:2000]
    return found


def _message(output: NotebookNode) -> str:
    if output.output_type == "error":
        return f"{output.ename}: {output.evalue}" if output.evalue else str(output.ename)
    if output.output_type == "stream" and output.name == "stderr":
        return str(output.text)
    return ""
