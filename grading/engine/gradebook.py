"""nbgrader's gradebook in memory: fed from a release's stored cells, read out as results. No SQL, no second truth."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

from grading.engine.contract import CellResult, Json
from grading.engine.load import MissingEntry

NO_CELLS: Json = {"grade": {}, "solution": {}, "task": {}, "source": {}}


class Recorder:
    """What `SaveCells` writes into while a release is generated. `cells` is the notebook's stored spec."""

    def __init__(self) -> None:
        self.kernelspec: Json = {}
        self.cells: Json = {kind: {} for kind in NO_CELLS}

    def find_notebook(self, name: str, assignment: str) -> Any:
        """Raises MissingEntry: every release starts from nothing."""
        raise MissingEntry(name)

    def add_notebook(self, name: str, assignment: str, **info: Any) -> None:
        """Keeps the kernelspec."""
        self.kernelspec = json.loads(info["kernelspec"])

    def _missing(self, name: str, *place: str) -> Any:
        raise MissingEntry(name)

    find_grade_cell = find_solution_cell = find_task_cell = find_source_cell = _missing

    def update_or_create_grade_cell(self, name: str, notebook: str, assignment: str, **info: Any) -> Any:
        """Keeps max_score and cell_type."""
        return self.cells["grade"].setdefault(name, info)

    def update_or_create_solution_cell(self, name: str, notebook: str, assignment: str, **info: Any) -> Any:
        """Keeps that there is one."""
        return self.cells["solution"].setdefault(name, info)

    def update_or_create_task_cell(self, name: str, notebook: str, assignment: str, **info: Any) -> Any:
        """Keeps max_score and cell_type."""
        return self.cells["task"].setdefault(name, info)

    def update_or_create_source_cell(self, name: str, notebook: str, assignment: str, **info: Any) -> Any:
        """Keeps source, checksum, locked and cell_type."""
        return self.cells["source"].setdefault(name, info)


class Gradebook:
    """What OverwriteCells and SaveAutoGrades talk to while one submitted notebook is graded."""

    def __init__(self, cells: Json, kernelspec: Json) -> None:
        self._spec = cells
        self._graded = {**cells["grade"], **cells["task"]}
        self.kernelspec = kernelspec
        # SaveAutoGrades commits after every cell.
        self.db = SimpleNamespace(commit=lambda: None)
        self.grades = {
            name: SimpleNamespace(name=name, auto_score=None, manual_score=None, needs_manual_grade=True)
            for name in self._graded
        }
        self.comments = {
            name: SimpleNamespace(name=name, auto_comment=None) for name in [*cells["solution"], *cells["task"]]
        }

    @staticmethod
    def _entry(rows: Any, name: str) -> Any:
        try:
            return rows[name]
        except KeyError:
            raise MissingEntry(name) from None

    def find_source_cell(self, name: str, *place: str) -> Any:
        """The released cell. Raises MissingEntry."""
        return SimpleNamespace(name=name, **self._entry(self._spec["source"], name))

    def find_graded_cell(self, name: str, *place: str) -> Any:
        """The released grade or task cell. Raises MissingEntry."""
        return SimpleNamespace(name=name, **self._entry(self._graded, name))

    def find_notebook(self, name: str, assignment: str) -> Any:
        """The released notebook, as `OverwriteCells.add_missing_cells` reads it."""

        def cells(kind: str) -> list[Any]:
            return [SimpleNamespace(name=key, **info) for key, info in self._spec[kind].items()]

        return SimpleNamespace(
            kernelspec=json.dumps(self.kernelspec),
            source_cells=cells("source"),
            grade_cells=cells("grade"),
            solution_cells=cells("solution"),
            task_cells=cells("task"),
        )

    def find_grade(self, name: str, *place: str) -> Any:
        """The row that `SaveAutoGrades` fills. Raises MissingEntry."""
        return self._entry(self.grades, name)

    def find_comment(self, name: str, *place: str) -> Any:
        """The row that `SaveAutoGrades` fills. Raises MissingEntry."""
        return self._entry(self.comments, name)

    def give_zero(self) -> None:
        """What nbgrader does about a notebook that was not handed in: nothing scored, nothing to look at."""
        for grade in self.grades.values():
            grade.auto_score = 0
            grade.needs_manual_grade = False

    def results(self, notebook: str, failed_tests: dict[str, str]) -> list[CellResult]:
        """One row for each cell that has a score or a comment, in the order of the release."""
        names = [name for name in self._spec["source"] if name in self.grades or name in self.comments]
        names += [name for name in [*self.grades, *self.comments] if name not in self._spec["source"]]
        return [self._result(notebook, name, failed_tests.get(name, "")) for name in dict.fromkeys(names)]

    def _result(self, notebook: str, name: str, failed_tests: str) -> CellResult:
        grade, comment = self.grades.get(name), self.comments.get(name)
        return CellResult(
            notebook=notebook,
            grade_id=name,
            graded=grade is not None,
            auto_score=None if grade is None or grade.auto_score is None else float(grade.auto_score),
            needs_manual_grade=bool(grade and grade.needs_manual_grade),
            auto_comment=comment.auto_comment if comment else None,
            failed_tests=failed_tests,
        )
