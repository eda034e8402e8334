"""The only importer of nbgrader: source files to a student version and a spec, a submission to scores. No database."""

from grading.engine.contract import (
    Borrow,
    CellResult,
    CellSpec,
    EngineError,
    ExitReason,
    Failure,
    FilesRefused,
    Generated,
    Graded,
    Limits,
    NoKernel,
    NotebookResult,
    NotebookSpec,
    Problem,
    Sandbox,
    SandboxLost,
    Settings,
    Spec,
)
from grading.engine.copies import Copy, answers, compared
from grading.engine.examine import readable
from grading.engine.generate import generate, is_notebook
from grading.engine.grade import grade
from grading.engine.hidden import has_hidden_tests
from grading.engine.instantiate import instantiate
from grading.engine.layout import layout_of, likeness
from grading.engine.load import ENGINE_VERSION
from grading.engine.read import Unreadable, read
from grading.engine.reconcile import Finding, Reconciled, reconcile
from grading.engine.redact import messages, reasons, redact
from grading.engine.renamed import doubles, likest, renamed, strangers
from grading.engine.shown import Shown, shown
from grading.engine.visible import lacking, visible
from grading.engine.watch import by_number

__all__ = [
    "ENGINE_VERSION",
    "Borrow",
    "CellResult",
    "CellSpec",
    "Copy",
    "EngineError",
    "ExitReason",
    "Failure",
    "FilesRefused",
    "Finding",
    "Generated",
    "Graded",
    "Limits",
    "NoKernel",
    "NotebookResult",
    "NotebookSpec",
    "Problem",
    "Reconciled",
    "Sandbox",
    "SandboxLost",
    "Settings",
    "Shown",
    "Spec",
    "Unreadable",
    "answers",
    "by_number",
    "compared",
    "doubles",
    "generate",
    "grade",
    "has_hidden_tests",
    "instantiate",
    "is_notebook",
    "lacking",
    "layout_of",
    "likeness",
    "likest",
    "messages",
    "read",
    "readable",
    "reasons",
    "reconcile",
    "redact",
    "renamed",
    "shown",
    "strangers",
    "visible",
]
