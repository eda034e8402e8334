"""What a gradebook.db holds, as plain values: read by `gradebook_file`, written by `gradebook_write`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from grading.engine.contract import EngineError, NotebookSpec

#: (notebook, grade_id)
Place = tuple[str, str]


class GradebookUnreadable(EngineError):
    """The file is no gradebook that this version can read. `str()` says why and what to do."""


@dataclass(frozen=True)
class BookStudent:
    """nbgrader's Student. `id` is what the folders in submitted/ are called."""

    id: str
    first_name: str = ""
    last_name: str = ""
    email: str = ""
    lms_user_id: str = ""


@dataclass(frozen=True)
class BookAssignment:
    """nbgrader's Assignment with what its release fixed. `due_at` is aware; the file has UTC without a zone."""

    name: str
    due_at: datetime | None = None
    notebooks: tuple[NotebookSpec, ...] = ()


@dataclass(frozen=True)
class BookGrade:
    """nbgrader's Grade. None: not given."""

    auto_score: float | None = None
    manual_score: float | None = None
    extra_credit: float | None = None
    needs_manual_grade: bool = False


@dataclass(frozen=True)
class BookComment:
    """nbgrader's Comment."""

    auto_comment: str = ""
    manual_comment: str = ""


@dataclass(frozen=True)
class BookSubmission:
    """nbgrader's SubmittedAssignment with everything below it; one a student and assignment.

    `late_penalties` are by notebook. `odd` names values that are none (text as a score, infinity), which are left out.
    """

    student: str
    timestamp: datetime | None = None
    extension: timedelta | None = None
    grades: Mapping[Place, BookGrade] = field(default_factory=dict)
    comments: Mapping[Place, BookComment] = field(default_factory=dict)
    late_penalties: Mapping[str, float] = field(default_factory=dict)
    odd: tuple[str, ...] = ()

    @property
    def marked(self) -> bool:
        """Whether anybody, machine or person, has given it a score."""
        return any(grade.auto_score is not None or grade.manual_score is not None for grade in self.grades.values())
