"""Every file that nbgrader's own tests work with gets from the engine what it gets from nbgrader's command line."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import pytest

from bench._nbgrader_course import Course
from grading import engine
from grading.engine import Generated, Limits, Settings, Spec
from grading.engine.gradebook_file import gradebook_file, parse_timestamp
from grading.engine.gradebook_values import GradebookUnreadable
from tests.grading import wheel
from tests.grading.corpus import Files
from tests.grading.forked_nbgrader import ForkedCourse
from tests.grading.plain_sandbox import PlainSandboxes
from tests.grading.test_parity import comments_of, comparable_file, rows_of

# The first test that needs it waits for nbgrader's command line.
pytestmark = pytest.mark.timeout(1200)

FILES = wheel.every_file()
NOTEBOOKS = [path for path in FILES if path.endswith(".ipynb")]
#: Those that `nbgrader update` brings up to date.
OLD = ["apps/test-v0.ipynb", "apps/test-v1.ipynb", "apps/test-v2.ipynb", "ui-tests/old-schema.ipynb"]
GRADED = [path for path in NOTEBOOKS if FILES[path] not in wheel.graded_by_test_parity()]
# timeout.ipynb sleeps for five.
SECONDS = 4
SETTINGS = Settings(autotests=FILES["apps/autotests.yml"], limits=Limits(cell_seconds=SECONDS))
CONFIG = f"\nc = get_config()\nc.CourseDirectory.course_id = 'wheel'\nc.Execute.timeout = {SECONDS}\n"
COLLECT = r"c.FileNameCollectorPlugin.named_regexp = '.*_(?P<student_id>\w+)_attempt_[0-9-]+_(?P<file_id>\w+)'"
#: What nbgrader says when it makes no release, and our code for it.
NO_RELEASE = {
    "use an old version": "schema_old",
    "use an newer version": "schema_new",
    "Duplicate grade id": "duplicate_grade_id",
    "grade_id is empty": "no_grade_id",
    "does not have a grade_id": "no_grade_id",
    "does not have points": "no_points",
    "region detected in a non-": "bad_region",
    "'outputs' is a required property": "cannot_convert",
    "is not marked as a": "bad_metadata",
}
#: What nbgrader says when it gives up on a submission, and our code for it.
NO_SCORES = {
    "use an old version": "metadata_version",
    "use an newer version": "metadata_version",
    "KeyError: 'grade_id'": "cells_changed",
    "the nbgrader metadata may be corrupted": "metadata",
    "'id' is a required property": "metadata",
}


@dataclass
class Nbgraders:
    """A course in which each notebook is an assignment; `refused` is what nbgrader said instead of making a release."""

    course: ForkedCourse
    refused: dict[str, str] = field(default_factory=dict)

    def release(self, path: str, files: Mapping[str, bytes]) -> None:
        folder = self.course.folder / "source" / wheel.slug(path)
        folder.mkdir(parents=True)
        for name, data in files.items():
            folder.joinpath(name).write_bytes(data)
        done = self.course.run("generate_assignment", wheel.slug(path))
        self.refused[path] = done.stderr if done.returncode else ""


@pytest.fixture(scope="module")
def nbgraders(tmp_path_factory: pytest.TempPathFactory, kernel_python: str) -> Iterator[Nbgraders]:
    course = ForkedCourse(tmp_path_factory.mktemp("nbgrader") / "wheel", kernel_python)
    course.folder.mkdir()
    course.folder.joinpath("nbgrader_config.py").write_text(CONFIG)
    course.folder.joinpath("autotests.yml").write_bytes(FILES["apps/autotests.yml"])
    made = Nbgraders(course)
    with course.commands():
        for path in NOTEBOOKS:
            made.release(path, wheel.source_of(path, FILES))
        yield made


async def released(files: Files, plain: PlainSandboxes, settings: Settings = SETTINGS) -> Generated:
    written, problems = await engine.instantiate(files, settings, plain)
    made = engine.generate(files, settings, written)
    return replace(made, problems=(*made.problems, *problems))


def assert_same_files(ours: Mapping[str, bytes], theirs: Mapping[str, bytes]) -> None:
    assert sorted(ours) == sorted(theirs)
    for path, data in theirs.items():
        assert _unsalted(comparable_file(path, ours[path])) == _unsalted(comparable_file(path, data)), path


def _unsalted(made: object) -> object:
    """A hashed test has a salt that nbgrader draws anew each time."""
    return made if isinstance(made, bytes) else re.sub(r"\b[0-9a-f]{16,40}\b", "…", json.dumps(made, sort_keys=True))


async def assert_same_scores(
    course: ForkedCourse, assignment: str, student: str, made: Generated, plain: PlainSandboxes
) -> None:
    """Of what lies in submitted/: nbgrader's command line is asked, then the engine."""
    handed_in = course.files(f"submitted/{student}", assignment)
    done = course.run("autograde", assignment, "--student", student)
    data = {path: content for path, content in made.student_files.items() if not path.endswith(".ipynb")}
    spec = Spec({notebook.name: notebook for notebook in made.notebooks}, data, SETTINGS)
    graded = await engine.grade(spec, handed_in, plain)
    assert bool(graded.failures) == bool(done.returncode) == course.failed(student, assignment), done.stderr
    assert {failure.code for failure in graded.failures} <= set(reasons(NO_SCORES, done.stderr)), done.stderr
    theirs = course.rows(assignment).get(student, {})
    assert rows_of(graded) == {key: row for key, row in theirs.items() if key[2] == "grade"}
    comments = {key: row for key, row in theirs.items() if key[2] == "comment"}
    assert {k: row for k, row in comments_of(graded).items() if k in comments or row is not None} == comments
    assert {
        (book.name, cell.grade_id): cell.max_score
        for book in made.notebooks
        for cell in book.graded
        if cell.kind != "answer"
    } == most(course, assignment)


def reasons(words: Mapping[str, str], said: str) -> list[str]:
    return sorted({code for phrase, code in words.items() if phrase in said})


def most(course: Course, assignment: str) -> dict[tuple[str, str], float]:
    """(notebook, grade_id) → max_score in nbgrader's gradebook."""
    query = """
        select notebook.name, base_cell.name, coalesce(grade_cells.max_score, task_cells.max_score) from base_cell
        join notebook on notebook.id = base_cell.notebook_id
        join assignment on assignment.id = notebook.assignment_id
        left join grade_cells on grade_cells.id = base_cell.id left join task_cells on task_cells.id = base_cell.id
        where assignment.name = ? and base_cell.type in ('GradeCell', 'TaskCell')
    """
    with sqlite3.connect(course.folder / "gradebook.db") as database:
        return {(notebook, cell): points for notebook, cell, points in database.execute(query, (assignment,))}


def test_every_file_is_compared_or_named_with_the_reason() -> None:
    assert [path for path in FILES if path not in {*NOTEBOOKS, *wheel.USED, *wheel.NOT_COMPARED}] == []
    assert [path for path in (*wheel.USED, *wheel.NOT_COMPARED) if path not in FILES] == []
    assert {test for test in wheel.USED.values() if test not in globals()} == set()
    assert len(NOTEBOOKS) >= 67


@pytest.mark.parametrize("path", NOTEBOOKS)
async def test_both_make_the_same_release_of_it_or_refuse_it(
    path: str, nbgraders: Nbgraders, plain: PlainSandboxes
) -> None:
    ours = await released(wheel.source_of(path, FILES), plain)
    errors = {problem.code for problem in ours.problems if problem.severity == "error"}
    refused = nbgraders.refused[path]
    assert bool(errors) == bool(refused), refused
    if errors:
        assert set(reasons(NO_RELEASE, refused)) & errors, (errors, refused)
    else:
        assert_same_files(ours.student_files, nbgraders.course.files("release", wheel.slug(path)))


@pytest.mark.parametrize("path", GRADED)
async def test_both_give_it_the_same_scores_or_none(path: str, nbgraders: Nbgraders, plain: PlainSandboxes) -> None:
    release = wheel.release_of(path)
    assert not nbgraders.refused[release]
    assignment, student = wheel.slug(release), wheel.slug(path)
    nbgraders.course.submit(student, {wheel.NAME: FILES[path]}, assignment)
    made = await released(wheel.source_of(release, FILES), plain)
    await assert_same_scores(nbgraders.course, assignment, student, made, plain)


@pytest.mark.parametrize("path", OLD)
async def test_what_nbgrader_brings_up_to_date_is_released_and_scored_as_by_nbgrader(
    path: str, nbgraders: Nbgraders, plain: PlainSandboxes
) -> None:
    course, name = nbgraders.course, f"{wheel.slug(path)}_updated"
    file = course.folder / f"{name}.ipynb"
    file.write_bytes(FILES[path])
    assert course.run("update", file.name).returncode == 0
    source = {wheel.NAME: file.read_bytes()}
    nbgraders.release(name, source)
    assert nbgraders.refused[name] == ""
    made = await released(source, plain)
    assert_same_files(made.student_files, course.files("release", name))
    course.submit("updated", source, name)
    await assert_same_scores(course, name, "updated", made, plain)


async def test_the_archive_collected_by_nbgrader_is_scored_as_by_nbgrader(
    nbgraders: Nbgraders, plain: PlainSandboxes
) -> None:
    """Two students' work for quickstart's ps1, framed by the header of nbgrader's tests of headers."""
    course = nbgraders.course.beside("archive")
    course.create()
    with course.folder.joinpath("nbgrader_config.py").open("a") as config:
        config.write(f"c.Execute.timeout = {SECONDS}\n{COLLECT}\n")
    course.folder.joinpath("source", "header.ipynb").write_bytes(FILES["preprocessors/header.ipynb"])
    course.release()
    made = await released(course.files("source"), plain, replace(SETTINGS, header=FILES["preprocessors/header.ipynb"]))
    assert_same_files(made.student_files, course.files("release"))
    archive = course.folder / "downloaded" / "ps1" / "archive"
    archive.mkdir(parents=True)
    archive.joinpath("notebooks.zip").write_bytes(FILES["apps/notebooks.zip"])
    assert course.run("zip_collect", "ps1").returncode == 0
    for student in ("bitdiddle", "hacker"):
        # They are from 2016: refused by both until they are brought up to date.
        await assert_same_scores(course, "ps1", student, made, plain)
        assert course.failed(student)
        assert course.run("update", f"submitted/{student}").returncode == 0
        await assert_same_scores(course, "ps1", student, made, plain)
        assert not course.failed(student)


def test_a_timestamp_is_read_as_by_nbgrader(nbgraders: Nbgraders) -> None:
    """In the folder of a notebook that needs no kernel."""
    course, assignment = nbgraders.course, wheel.slug("ui-tests/task.ipynb")
    files = {wheel.NAME: FILES["ui-tests/task.ipynb"], "timestamp.txt": FILES["apps/timestamp.txt"]}
    course.submit("in_time", files, assignment)
    assert course.run("autograde", assignment, "--student", "in_time").returncode == 0
    with gradebook_file(course.folder / "gradebook.db") as book:
        theirs = book.submission(book.submissions(assignment)["in_time"]).timestamp
    assert isinstance(theirs, datetime)
    assert parse_timestamp(FILES["apps/timestamp.txt"].decode()) == theirs


def refusal(database: Path) -> str:
    with pytest.raises(GradebookUnreadable) as refused, gradebook_file(database):
        pass
    return str(refused.value)


def test_an_old_gradebook_is_refused_until_nbgrader_has_upgraded_it(nbgraders: Nbgraders) -> None:
    folder = nbgraders.course.folder.with_name("old")
    shutil.copytree(nbgraders.course.folder / "source" / wheel.slug("apps/test.ipynb"), folder / "source" / "ps1")
    folder.joinpath("nbgrader_config.py").write_text(CONFIG)
    database = folder / "gradebook.db"
    database.write_bytes(FILES["apps/gradebook.db"])
    assert "run “nbgrader db upgrade”" in refusal(database)
    run = nbgraders.course.run
    assert "nbgrader db upgrade" in run("generate_assignment", "ps1", cwd=folder).stderr
    # That has added today's tables to it, empty.
    assert "run “nbgrader db upgrade”" in refusal(database)
    assert run("db", "upgrade", cwd=folder).returncode == 0
    assert run("generate_assignment", "ps1", cwd=folder).returncode == 0
    with gradebook_file(database) as book:
        assert [assignment.name for assignment in book.assignments()] == ["ps1"]
        assert book.students() == []


def test_a_forked_command_does_what_a_started_one_does(nbgraders: Nbgraders) -> None:
    course, assignment = nbgraders.course, wheel.slug("preprocessors/test.ipynb")
    forked = course.files("release", assignment)
    started = Course.run(course, "generate_assignment", assignment, "--force")
    assert started.returncode == 0
    assert_same_files(course.files("release", assignment), forked)
