"""The engine's scores are nbgrader's scores: cell by cell, flag by flag, comment by comment, failure by failure."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from bench._nbgrader_course import Course, Rows
from grading import engine
from grading.engine import Graded
from grading.explain import NOTES, explain
from tests.grading import corpus
from tests.grading.conftest import LIMITS, Verdicts, settings_of, spec_of
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
    exceptions = corpus.EXCEPTIONS.get((assignment, student), {})
    assert rows_of(graded) == grades | {key: ours for key, (_nbgraders, ours) in exceptions.items()}
    assert {key: grades[key] for key in exceptions} == {key: row for key, (row, _ours) in exceptions.items()}
    comments = {key: row for key, row in theirs.items() if key[2] == "comment"}
    ours = {key: row for key, row in comments_of(graded).items() if key in comments or row is not None}
    assert ours == comments


async def test_limits_are_ours_in_strict_mode_too_and_nbgrader_has_none(
    verdicts: Verdicts, specs, plain: PlainSandboxes
) -> None:
    spec = replace(specs["ps1"], settings=replace(specs["ps1"].settings, limits=replace(LIMITS, output_bytes=200)))
    graded = await engine.grade(spec, verdicts.submitted["ps1", "s17_extra_cells"], plain)
    assert [(failure.notebook, failure.code) for failure in graded.failures] == [("problem1", "too_much_output")]
    assert verdicts.rows["ps1", "s17_extra_cells"]["problem1", "correct_squares", "grade"] == (1, False)


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


TESTS_OF_PS1 = {"correct_squares", "squares_invalid_input", "correct_sum_of_squares", "sum_of_squares_uses_squares"}
PS1 = corpus.STUDENTS["ps1"].split()
ESSAYS_OF_PS1 = {"part-a", "part-b"}
ALL_OF_PS1 = TESTS_OF_PS1 | ESSAYS_OF_PS1 | {"sum_of_squares_equation", "sum_of_squares_application"}
#: In the default mode: student → (the cells with another score or flag than nbgrader's, the note that says why). Of the
#: cells that nbgrader scores, none loses anything; everybody who is not named here has nbgrader's scores.
KINDER = {
    "s09_stderr": (TESTS_OF_PS1 - {"sum_of_squares_uses_squares"}, "warning_forgiven"),
    "s10_deleted_test": ({"correct_squares"}, "missing_cell"),
    # nbgrader refuses these, and leaves every cell without a score.
    "s11_duplicate": (ALL_OF_PS1, "copied_cell"),
    "s12_only_renamed": (TESTS_OF_PS1 | ESSAYS_OF_PS1, "renamed_notebook"),
    "s19_flag_removed": (ALL_OF_PS1, "settings_changed"),
    "s20_unknown_id": (ALL_OF_PS1, "foreign_cell"),
    "s24_old_schema": (ALL_OF_PS1, "settings_changed"),
    # What ran before the kernel ended has its scores, and the other notebook; here those are answers left as they were.
    "s21_dead_kernel": (ESSAYS_OF_PS1 | {"sum_of_squares_equation"}, "scored_in_part"),
}


# What is not nbgrader's score in strict mode either is no kindness (`corpus.EXCEPTIONS`).
@pytest.mark.parametrize("student", [one for one in PS1 if ("ps1", one) not in corpus.EXCEPTIONS])
async def test_the_default_mode_differs_from_nbgrader_where_the_report_says_so_and_nowhere_else(
    student: str, verdicts: Verdicts, specs, plain: PlainSandboxes
) -> None:
    default = replace(specs["ps1"].settings, heal=True, salvage=True, warnings_cost=False)
    spec = replace(specs["ps1"], settings=default)
    graded = await engine.grade(spec, verdicts.submitted["ps1", student], plain)
    ours = rows_of(graded)
    theirs = {key: row for key, row in verdicts.rows["ps1", student].items() if key[2] == "grade"}
    expected, why = KINDER.get(student, (set(), ""))
    different = {key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)}
    assert {grade_id for _notebook, grade_id, _kind in different} == expected
    for key in different:
        # A score where nbgrader has none, or more points; never fewer, and nobody has to look who had not to before.
        assert (ours[key][0] or 0) >= (theirs[key][0] or 0)
        assert not ours[key][1]
    said = [explain(NOTES, note) for book in graded.notebooks for note in book.notes if note["code"] == why]
    assert all("nbgrader" in sentence for sentence in said)
    assert bool(said) == bool(expected)
    if why == "warning_forgiven":
        assert {grade_id for grade_id in expected if any(f"“{grade_id}”" in sentence for sentence in said)} == expected
