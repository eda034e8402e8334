"""nbgrader's preprocessors that talk to a gradebook, given one in memory instead of a database address."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Collection
from typing import Any

from grading.engine.contract import Json
from grading.engine.gradebook import Gradebook, Recorder
from grading.engine.load import (
    ClearSolutions,
    NbGraderPreprocessor,
    NotebookNode,
    OverwriteCells,
    OverwriteKernelspec,
    SaveAutoGrades,
    SaveCells,
    utils,
)
from grading.engine.watch import is_tests, odd_credit

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


def clear_solutions(notebook: NotebookNode, **options: Any) -> tuple[ClearSolutions, Json]:
    """ClearSolutions, and the language and the stub that were added to it ({} where none had to be).

    In a language for which neither nbgrader nor the course has a stub, it is the comment that begins the first
    solution, with other words: `// BEGIN SOLUTION` becomes `// YOUR CODE HERE`.
    """
    part = ClearSolutions(**options)
    language = notebook.metadata.get("kernelspec", {}).get("language")
    if language is None or language in part.code_stub:
        return part, {}
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    begin = part.begin_solution_delimeter
    comment = next((line.strip() for line in code.split("\n") if begin in line), f"# {begin}")
    stub = comment.replace(begin, "YOUR CODE HERE")
    part.code_stub = {**part.code_stub, language: stub}
    return part, {"language": language, "stub": stub}


class KeepGrades(_Places, SaveAutoGrades):
    """SaveAutoGrades over a gradebook in memory. `forgiven` hears of scores that a warning would have taken; `numbers`
    are the tests that give points by ending with a number, None where that is not known."""

    def __init__(
        self,
        gradebook: Gradebook,
        forgiven: list[Json] | None = None,
        numbers: Collection[str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.gradebook, self._forgiven, self._numbers = gradebook, forgiven, numbers
        self.odd: list[Json] = []

    def preprocess(self, nb: NotebookNode, resources: Any) -> tuple[NotebookNode, Any]:
        """Scores every cell. Raises ValueError for a partial credit above the maximum; earlier scores stay."""
        self._place(resources)
        return NbGraderPreprocessor.preprocess(self, nb, resources)  # type: ignore[no-any-return]

    def _add_score(self, cell: NotebookNode, resources: Any) -> None:
        super()._add_score(cell, resources)
        if is_tests(cell):
            wanted = None if self._numbers is None else cell.metadata["nbgrader"]["grade_id"] in self._numbers
            self.odd += filter(None, [odd_credit(cell, by_number=wanted)])
        if self._forgiven is None or cell.cell_type != "code" or not any(map(is_warning, cell.outputs)):
            return
        quiet = copy.deepcopy(cell)
        quiet.outputs = [output for output in cell.outputs if not is_warning(output)]
        grade = self.gradebook.find_grade(cell.metadata["nbgrader"]["grade_id"])
        score = utils.determine_grade(quiet, self.log)[0]
        if score != grade.auto_score:
            self._forgiven.append({"code": "warning_forgiven", "grade_id": grade.name, "score": score})
            grade.auto_score = score


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


def is_executed(cell: NotebookNode) -> bool:
    """Whether nbclient sends this cell to the kernel."""
    return bool(cell.cell_type == "code" and cell.source.strip() and not is_skipped(cell))


def is_warning(output: NotebookNode) -> bool:
    """Whether the output is text on stderr, for which nbgrader gives a test no points."""
    return bool(output.output_type == "stream" and output.name == "stderr")


def fingerprint(cell: NotebookNode) -> str:
    """Recognises a released cell: by grade_id where it has one, else by its source."""
    grade_id = cell.metadata.get("nbgrader", {}).get("grade_id")
    return f"id:{grade_id}" if grade_id else "sha256:" + hashlib.sha256(cell.source.encode()).hexdigest()
