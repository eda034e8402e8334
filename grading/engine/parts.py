"""nbgrader's preprocessors that talk to a gradebook, given one in memory instead of a database address."""

from __future__ import annotations

import hashlib
from typing import Any

from grading.engine.contract import Json
from grading.engine.gradebook import Gradebook, Recorder
from grading.engine.load import (
    NbGraderPreprocessor,
    NotebookNode,
    OverwriteCells,
    OverwriteKernelspec,
    SaveAutoGrades,
    SaveCells,
)

SKIP_TAG = "skip-execution"  # nbclient's default `skip_cells_with_tag`


class _Places:
    """Sets what nbgrader's own `preprocess` reads from `resources` before it opens its database."""

    gradebook: Any

    def _place(self, resources: Any) -> None:
        self.notebook_id = resources["nbgrader"]["notebook"]
        self.assignment_id = resources["nbgrader"]["assignment"]
        self.student_id = resources["nbgrader"]["student"]


class RestoreCells(_Places, OverwriteCells):
    """OverwriteCells over a gradebook in memory."""

    def __init__(self, gradebook: Gradebook, **options: Any) -> None:
        super().__init__(**options)
        self.gradebook = gradebook

    def preprocess(self, nb: NotebookNode, resources: Any) -> tuple[NotebookNode, Any]:
        """Restores what the release fixed. Raises RuntimeError or MissingEntry where that is impossible."""
        self._place(resources)
        nb, resources = NbGraderPreprocessor.preprocess(self, nb, resources)
        if self.add_missing_cells:
            nb, resources = self.add_missing_grade_cells(nb, resources)
            nb, resources = self.add_missing_task_cells(nb, resources)
        return nb, resources


class RestoreKernelspec(OverwriteKernelspec):
    """OverwriteKernelspec over a gradebook in memory."""

    def __init__(self, gradebook: Gradebook, **options: Any) -> None:
        super().__init__(**options)
        self.gradebook = gradebook

    def preprocess(self, nb: NotebookNode, resources: Any) -> tuple[NotebookNode, Any]:
        """Puts the released kernelspec back, if the release has one."""
        if self.gradebook.kernelspec:
            nb.metadata["kernelspec"] = self.gradebook.kernelspec
        return nb, resources


class KeepGrades(_Places, SaveAutoGrades):
    """SaveAutoGrades over a gradebook in memory."""

    def __init__(self, gradebook: Gradebook, **options: Any) -> None:
        super().__init__(**options)
        self.gradebook = gradebook

    def preprocess(self, nb: NotebookNode, resources: Any) -> tuple[NotebookNode, Any]:
        """Scores every cell. Raises ValueError for a partial credit above the maximum; earlier scores stay."""
        self._place(resources)
        return NbGraderPreprocessor.preprocess(self, nb, resources)  # type: ignore[no-any-return]


class KeepCells(_Places, SaveCells):
    """SaveCells into a recorder; also notes which released cells are not to be executed."""

    def __init__(self, recorder: Recorder, **options: Any) -> None:
        super().__init__(**options)
        self.gradebook = recorder

    def preprocess(self, nb: NotebookNode, resources: Any) -> tuple[NotebookNode, Any]:
        """Fills the recorder. Raises ValueError for a notebook without a name."""
        self._place(resources)
        self.new_grade_cells: Json = {}
        self.new_solution_cells: Json = {}
        self.new_task_cells: Json = {}
        self.new_source_cells: Json = {}
        nb, resources = NbGraderPreprocessor.preprocess(self, nb, resources)
        self._create_notebook(nb)
        self.gradebook.cells["skipped"] = [fingerprint(cell) for cell in nb.cells if is_skipped(cell)]
        return nb, resources


def is_skipped(cell: NotebookNode) -> bool:
    """Whether nbclient would not execute this code cell."""
    return cell.cell_type == "code" and SKIP_TAG in cell.metadata.get("tags", [])


def fingerprint(cell: NotebookNode) -> str:
    """Recognises a released cell: by grade_id where it has one, else by its source."""
    grade_id = cell.metadata.get("nbgrader", {}).get("grade_id")
    return f"id:{grade_id}" if grade_id else "sha256:" + hashlib.sha256(cell.source.encode()).hexdigest()
