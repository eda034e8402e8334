"""Plain values to a gradebook.db that nbgrader's command line and formgrader open, by nbgrader's own classes."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from grading.engine.contract import NotebookSpec
from grading.engine.gradebook_file import revisions
from grading.engine.gradebook_values import BookAssignment, BookStudent, BookSubmission, Place
from grading.engine.load import api


@contextmanager
def new_gradebook(path: Path, course_id: str) -> Iterator[NewGradebook]:
    """A gradebook in a file that does not exist yet, with the installed nbgrader's schema."""
    with closing(sqlite3.connect(path)) as database, database:
        # nbgrader would start the alembic command for this.
        database.execute("create table alembic_version (version_num varchar(32) not null)")
        database.execute("insert into alembic_version values (?)", (revisions()[-1],))
    with api.Gradebook(f"sqlite:///{path}", course_id=course_id) as book:
        made = NewGradebook(book, course_id)
        yield made
        book.db.commit()


class NewGradebook:
    """Students first, then assignment by assignment its submissions."""

    def __init__(self, book: Any, course_id: str) -> None:
        self._db, self._course = book.db, course_id
        self._notebooks: dict[str, str] = {}
        self._cells: dict[Place, str] = {}
        self._graded: dict[Place, bool] = {}
        self._commented: set[Place] = set()
        self._assignment = ""

    def add_students(self, students: Iterable[BookStudent]) -> None:
        """Everyone who may have a submission."""
        for student in students:
            self._db.add(
                api.Student(
                    id=student.id, first_name=student.first_name or None, last_name=student.last_name or None,
                    email=student.email or None, lms_user_id=student.lms_user_id or None,
                )
            )  # fmt: skip
        self._db.commit()

    def add_assignment(self, assignment: BookAssignment) -> None:
        """What nbgrader's generate_assignment would have stored; `add_submission` then belongs to it."""
        row = api.Assignment(name=assignment.name, duedate=_naive(assignment.due_at), course_id=self._course)
        self._db.add(row)
        # nbgrader's class gives itself its id when it is written, whatever it is told.
        self._db.flush()
        self._assignment = row.id
        self._notebooks, self._cells, self._graded, self._commented = {}, {}, {}, set()
        for spec in assignment.notebooks:
            self._add_notebook(spec)
        self._db.commit()

    def _add_notebook(self, spec: NotebookSpec) -> None:
        kernelspec = json.dumps(spec.kernelspec)
        row = api.Notebook(id=api.new_uuid(), name=spec.name, assignment_id=self._assignment, kernelspec=kernelspec)
        self._db.add(row)
        self._notebooks[spec.name] = row.id
        kinds = (("grade", api.GradeCell), ("solution", api.SolutionCell), ("task", api.TaskCell))
        for kind, made in kinds:
            for name, info in spec.cells.get(kind, {}).items():
                cell = made(id=api.new_uuid(), name=name, notebook_id=row.id, **info)
                self._db.add(cell)
                self._keep(kind, (spec.name, name), cell.id)
        for name, info in spec.cells.get("source", {}).items():
            self._db.add(api.SourceCell(name=name, notebook_id=row.id, **info))
        self._db.flush()

    def _keep(self, kind: str, place: Place, cell: str) -> None:
        """A cell that is graded and written is two rows of the same name: grades go to one, comments to the other."""
        if kind != "solution":
            self._cells[place] = cell
            self._graded[place] = True
        if kind != "grade":
            self._commented.add(place)
            self._cells[place[0], f"\0{place[1]}"] = cell

    def add_submission(self, submission: BookSubmission) -> None:
        """One student's submission to the assignment that was added last. Cells it does not name are not graded."""
        row = api.SubmittedAssignment(
            id=api.new_uuid(), assignment_id=self._assignment, student_id=submission.student,
            timestamp=_naive(submission.timestamp), extension=submission.extension,
        )  # fmt: skip
        self._db.add(row)
        self._db.flush()
        books = {name: self._submitted(row.id, name, submission) for name in self._notebooks}
        self._db.flush()
        for place in self._graded:
            grade = submission.grades.get(place)
            made = api.Grade(cell_id=self._cells[place], notebook_id=books[place[0]])
            if grade is not None:
                made.auto_score, made.manual_score = grade.auto_score, grade.manual_score
                made.extra_credit, made.needs_manual_grade = grade.extra_credit, grade.needs_manual_grade
            self._db.add(made)
        for place in self._commented:
            said = submission.comments.get(place)
            made = api.Comment(cell_id=self._cells[place[0], f"\0{place[1]}"], notebook_id=books[place[0]])
            if said is not None:
                made.auto_comment, made.manual_comment = said.auto_comment or None, said.manual_comment or None
            self._db.add(made)
        self._db.commit()
        # Rows that are written are not needed any more: memory stays that of one submission.
        self._db.expunge_all()

    def _submitted(self, submission: str, name: str, values: BookSubmission) -> str:
        made = api.SubmittedNotebook(id=api.new_uuid(), assignment_id=submission, notebook_id=self._notebooks[name])
        made.late_submission_penalty = values.late_penalties.get(name)
        self._db.add(made)
        identity: str = made.id
        return identity


def _naive(moment: datetime | None) -> datetime | None:
    """nbgrader's times are UTC without a zone."""
    return None if moment is None else moment.astimezone(UTC).replace(tzinfo=None)
