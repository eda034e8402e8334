"""A course that was taught with nbgrader: made, graded and marked by its own command line and API, once a session."""

from __future__ import annotations

import os
import shutil
import sys
import warnings
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from django.conf import settings
from nbgrader.api import Gradebook

from bench._nbgrader_course import Course as Nbgrader
from grading.engine.gradebook_values import BookComment, BookGrade
from runtimes.sandboxes import environment
from tests.grading import corpus
from tests.grading.conftest import blobs_in, once
from tests.grading.quick_nbgrader import QuickCourse

DUE = datetime(2024, 3, 1, 17)  # noqa: DTZ001 - nbgrader's times are UTC without a zone
LATE = b"2024-03-03 09:30:00.250000 UTC\n"
IN_TIME = b"2024-02-28 12:00:00 UTC\n"

#: (assignment, student, notebook, grade_id) → what the gradebook says
Grades = dict[tuple[str, str, str, str], BookGrade]
Comments = dict[tuple[str, str, str, str], BookComment]


@pytest.fixture(scope="session")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Nbgrader:
    """Quickstart's ps1 handed in by six, one of them late and one with a file that is no notebook; graded, marked.

    NBGRADER_VERDICTS names a folder in which it is kept for others and for later (making it takes a minute).
    """
    found = environment.installed(Path(settings.ENVIRONMENTS_DIR))
    python = str(found[0].folder / "bin" / found[0].python.name) if found else sys.executable
    kept = os.environ.get("NBGRADER_VERDICTS")
    base = Path(kept or tmp_path_factory.mktemp("nbgrader")) / "taught"
    base.mkdir(exist_ok=True)
    course = QuickCourse(base / "course101", python)
    with once(course, "marked") as first:
        if first:
            shutil.rmtree(course.folder, ignore_errors=True)
            _teach(course)
    return course


def _teach(course: Nbgrader) -> None:
    course.create()
    config = course.folder / "nbgrader_config.py"
    config.write_text(config.read_text() + "\nc.LateSubmissionPlugin.penalty_method = 'zero'\n")
    course.release()
    released = course.files("release")
    work = corpus.ps1(released)
    for student, what, stamp in (
        ("ada", "s01_right", IN_TIME),
        ("ben", "s04_partly_wrong", LATE),
        ("cleo", "s05_blank", IN_TIME),
        ("dan", "s13_one_missing", LATE),
        ("eve", "s09_stderr", None),
        ("finn", "s18_not_json", IN_TIME),
    ):
        course.submit(student, {**work[what], **({"timestamp.txt": stamp} if stamp else {})})
    with Gradebook(f"sqlite:///{course.folder}/gradebook.db", course_id="course101") as book:
        book.update_or_create_assignment("ps1", duedate=DUE)
        book.update_or_create_student("ada", first_name="Ada", last_name="Lovelace", email="ada@example.org")
        book.update_or_create_student("ben", first_name="Ben", last_name="Baker", lms_user_id="lms-42")
        book.update_or_create_student("dan")
        with warnings.catch_warnings():
            # SQLAlchemy's, about nbgrader's own way to add a submission.
            warnings.simplefilter("ignore")
            book.update_or_create_submission("ps1", "dan", extension=timedelta(days=3))
    done = course.run("autograde", "ps1")
    # A kernel that a crowded machine keeps waiting costs nbgrader a whole submission: then it is made anew.
    if [student for student in ("ada", "ben", "cleo", "dan", "eve", "finn") if course.failed(student)] != ["finn"]:
        raise RuntimeError(done.stderr[-4000:])
    _mark(course.folder)


def _mark(folder: Path) -> None:
    with Gradebook(f"sqlite:///{folder}/gradebook.db", course_id="course101") as book:
        for student, manual, extra, said in (
            ("ada", 1.5, 0.25, "Well **argued**, Ada — été."),
            ("ben", 0.0, None, ""),
            ("cleo", 0.3333, 2.0, "See me."),
        ):
            grade = book.find_grade("sum_of_squares_equation", "problem1", "ps1", student)
            grade.manual_score, grade.extra_credit, grade.needs_manual_grade = manual, extra, False
            comment = book.find_comment("sum_of_squares_equation", "problem1", "ps1", student)
            comment.manual_comment = said or None
        book.find_comment("squares", "problem1", "ps1", "ada").manual_comment = "A neat list comprehension."
        book.db.commit()


@pytest.fixture
def folder(taught: Nbgrader, tmp_path: Path) -> Path:
    """A copy of that course, to be changed and broken."""
    return Path(shutil.copytree(taught.folder, tmp_path / "course101"))


@pytest.fixture(autouse=True)
def work_dir(settings, tmp_path: Path) -> None:
    """Blobs of each test's own."""
    settings.STORAGES = blobs_in(tmp_path / "work")


def book_of(folder: Path, course: str = "") -> tuple[Grades, Comments, dict[tuple[str, str], tuple[object, ...]]]:
    """Everything that nbgrader's own API says of a gradebook: grades, comments, and each submission's numbers."""
    grades: Grades = {}
    comments: Comments = {}
    totals: dict[tuple[str, str], tuple[object, ...]] = {}
    with Gradebook(f"sqlite:///{folder}/gradebook.db", course_id=course or folder.name) as book:
        for assignment in book.assignments:
            for submission in assignment.submissions:
                place = (assignment.name, submission.student.id)
                totals[place] = (
                    round(submission.score, 4),
                    submission.max_score,
                    submission.needs_manual_grade,
                    submission.total_seconds_late,
                    submission.timestamp,
                    submission.extension,
                )
                for notebook in submission.notebooks:
                    for g in notebook.grades:
                        grades[*place, notebook.name, g.name] = BookGrade(
                            g.auto_score, g.manual_score, g.extra_credit, g.needs_manual_grade
                        )
                    for c in notebook.comments:
                        comments[*place, notebook.name, c.name] = BookComment(
                            c.auto_comment or "", c.manual_comment or ""
                        )
    return grades, comments, totals
