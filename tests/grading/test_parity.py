"""The engine's scores are nbgrader's scores: cell by cell, flag by flag, comment by comment, failure by failure."""

from __future__ import annotations

import json

import pytest

from bench._nbgrader_course import Course, Rows
from grading import engine
from grading.engine import Graded
from tests.grading import corpus
from tests.grading.conftest import Verdicts, settings_of, spec_of
from tests.grading.plain_sandbox import PlainSandboxes

# The first test waits for nbgrader's command line.
pytestmark = pytest.mark.timeout(1200)


def rows_of(graded: Graded) -> Rows:
    """Our results in the shape of nbgrader's gradebook."""
    rows: Rows = {}
    for cell in graded.cells:
        if cell.graded:
            rows[cell.notebook, cell.grade_id, "grade"] = (cell.auto_score, cell.needs_manual_grade)
    return rows


def comments_of(graded: Graded) -> Rows:
    return {(c.notebook, c.grade_id, "comment"): c.auto_comment for c in graded.cells}


def comparable(rows: Rows, graded: Graded) -> Rows:
    """nbgrader stops at the first notebook that fails; ours grades the later ones, which it knows nothing of."""
    failed = {failure.notebook for failure in graded.failures if failure.notebook}
    names = [book.name for book in graded.notebooks]
    last = min((names.index(name) for name in failed), default=len(names))
    return {key: row for key, row in rows.items() if names.index(key[0]) <= last}


def test_the_corpus_is_what_this_file_names(verdicts: Verdicts) -> None:
    assert sorted(verdicts.submitted) == sorted(corpus.EVERYBODY)
    assert len(verdicts.rows) >= 14


@pytest.mark.parametrize(("assignment", "student"), corpus.EVERYBODY)
async def test_scores_flags_and_comments_equal_nbgraders(
    assignment: str, student: str, verdicts: Verdicts, specs, plain: PlainSandboxes
) -> None:
    graded = await engine.grade(specs[assignment], verdicts.submitted[assignment, student], plain)
    theirs = verdicts.rows[assignment, student]
    assert bool(graded.failures) == ((assignment, student) in verdicts.failed), graded.failures
    grades = {key: row for key, row in theirs.items() if key[2] == "grade"}
    assert comparable(rows_of(graded), graded) == comparable(grades, graded)
    comments = {key: row for key, row in theirs.items() if key[2] == "comment"}
    ours = {key: row for key, row in comments_of(graded).items() if key in comments or row is not None}
    assert comparable(ours, graded) == comparable(comments, graded)


# The hashed tests of ps4 hold a salt that nbgrader draws anew each time.
@pytest.mark.parametrize("assignment", ["ps1", "ps2", "ps3", "ps5", "ps6"])
def test_the_students_version_is_nbgraders(assignment: str, course: Course) -> None:
    ours = engine.generate(course.files("source", assignment), settings_of(course)).student_files
    theirs = course.files("release", assignment)
    assert sorted(ours) == sorted(theirs)
    for path, data in theirs.items():
        assert comparable_file(path, ours[path]) == comparable_file(path, data), path


def comparable_file(path: str, data: bytes) -> object:
    """nbformat gives cells random ids; everything else must be the same."""
    if not path.endswith(".ipynb"):
        return data
    notebook = json.loads(data)
    for cell in notebook["cells"]:
        cell.pop("id", None)
    return notebook


def test_the_same_source_gives_the_same_student_version_twice(course: Course) -> None:
    files = course.files("source", "ps1")
    assert engine.generate(files, settings_of(course)) == engine.generate(files, settings_of(course))


async def test_healing_grades_what_nbgrader_refuses(verdicts: Verdicts, course: Course, plain: PlainSandboxes) -> None:
    strict = spec_of(course, "ps1")
    spec = engine.Spec(strict.notebooks, strict.files, settings_of(course, heal=True))
    copied = await engine.grade(spec, verdicts.submitted["ps1", "s11_duplicate"], plain)
    assert not copied.failures
    assert copied.notebooks[0].notes
    # The copy comes last, so it is the one that nbgrader's own rule keeps; the tests are the same.
    scores = {cell.grade_id: cell.auto_score for cell in copied.cells if cell.graded}
    assert (scores["correct_squares"], scores["squares_invalid_input"]) == (1, 1)
