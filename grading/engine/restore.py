"""The first half of grading: a submitted notebook made fit to run, as nbgrader does, and hardened."""

from __future__ import annotations

from dataclasses import dataclass, field

from grading.engine.configure import RunLog, config, converted
from grading.engine.contract import Json, NotebookSpec, Spec
from grading.engine.gradebook import Gradebook
from grading.engine.layout import Layout
from grading.engine.load import (
    CheckCellMetadata,
    ClearOutput,
    DeduplicateIds,
    MetadataError,
    MissingEntry,
    NotebookNode,
    SchemaTooNewError,
    SchemaTooOldError,
    nbformat,
    utils,
)
from grading.engine.parts import SKIP_TAG, RestoreCells, RestoreKernelspec, fingerprint, is_warning
from grading.engine.read import Unreadable, read
from grading.engine.reconcile import reconcile

# nbformat's own cell metadata. Whatever else a notebook carries is no part of handed-in work and could steer a tool.
_KNOWN_METADATA = frozenset(
    {"nbgrader", "deletable", "editable", "collapsed", "scrolled", "autoscroll", "format", "name", "jupyter", "tags"}
)


# What nbgrader's steps and an exporter read of a notebook's own.
_KNOWN_OF_NOTEBOOKS = frozenset({"kernelspec", "language_info"})


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
    #: What was sent to the kernel, a row a cell.
    record: list[Json] = field(default_factory=list)
    #: How many cells had been executed when it was stopped.
    ran: int = 0


def restore(data: bytes, spec: NotebookSpec, gradebook: Gradebook, whole: Spec, log: RunLog) -> Restored:
    """The notebook with the release's tests, points and kernelspec put back. Raises Refused."""
    settings = whole.settings
    options: Json = {"config": config(settings), "log": log.logger}
    restored = Restored(_submitted(data))
    if settings.heal:
        _mend(restored, spec, whole.written_for.get(spec.name))
    names = {"notebook": spec.name, "assignment": "assignment", "student": "student"}
    parts = [
        ClearOutput(**options),
        DeduplicateIds(**options),
        RestoreKernelspec(gradebook, **options),
        RestoreCells(gradebook, **options),
        CheckCellMetadata(**options),
    ]
    try:
        restored.notebook = converted(restored.notebook, parts, names, log)
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


def _mend(restored: Restored, spec: NotebookSpec, given: Layout | None) -> None:
    """Against the release, before nbgrader sees it. Each finding is a note: nbgrader would have scored otherwise.

    `given` is what the student had, where a newer version grades it.
    """
    layout = spec.cells.get("layout", ())
    try:
        mended = reconcile(layout if given is None else given, restored.notebook)
        restored.notebook = nbformat.from_dict(mended.notebook)
        if given is not None:
            restored.notebook = nbformat.from_dict(reconcile(layout, restored.notebook, keep=False).notebook)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise Refused("broken_notebook", detail=_detail(error)) from error
    restored.notes.extend(finding.as_json() for finding in mended.findings)


def _detail(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:500]


def _harden(restored: Restored, spec: NotebookSpec) -> None:
    """Removes what could steer execution. A tag that the released cell carries stays: honest work scores as ever."""
    for key in set(restored.notebook.metadata) - _KNOWN_OF_NOTEBOOKS:
        del restored.notebook.metadata[key]
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


def has_code(notebook: NotebookNode) -> bool:
    """Whether anything would be sent to a kernel."""
    return any(
        cell.cell_type == "code" and cell.source.strip() and SKIP_TAG not in cell.metadata.get("tags", [])
        for cell in notebook.cells
    )


def failed_tests(notebook: NotebookNode, *, warnings_cost: bool = True) -> dict[str, str]:
    """For each scored code cell that failed: the error, or else the first warning text, that took its points."""
    found: dict[str, str] = {}
    for cell in notebook.cells:
        if not utils.is_grade(cell) or cell.cell_type != "code" or utils.is_solution(cell):
            continue
        errors = [_error(output) for output in cell.outputs if output.output_type == "error"]
        warnings = [str(output.text) for output in cell.outputs if is_warning(output)] if warnings_cost else []
        message = next(filter(None, [*errors, *warnings]), "")
        if message:
            found[cell.metadata["nbgrader"]["grade_id"]] = message[:2000]
    return found


def _error(output: NotebookNode) -> str:
    # Either may be missing: bash's kernel has no name for an error, only a number.
    return ": ".join(filter(None, (str(output.ename), str(output.evalue))))
