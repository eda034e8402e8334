"""What tests of grading share: nbgrader's own verdict on a corpus of submissions, made once a session."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from django.conf import settings

from bench._nbgrader_course import CELL_SECONDS, Course, Rows
from grading import engine
from grading.engine import Limits, Settings, Spec
from runtimes.sandboxes import environment
from tests.grading import corpus
from tests.grading.plain_sandbox import PlainSandboxes

LIMITS = Limits(cell_seconds=CELL_SECONDS)


@dataclass(frozen=True)
class Verdicts:
    """Submissions, and what `nbgrader autograde` made of them. Keys are (assignment, student)."""

    course: Course
    submitted: Mapping[tuple[str, str], Mapping[str, bytes]]
    rows: Mapping[tuple[str, str], Rows] = field(default_factory=dict)
    failed: frozenset[tuple[str, str]] = frozenset()


@pytest.fixture(scope="session")
def kernel_python() -> str:
    """The interpreter of the sandboxes' environment: which Python and which libraries run decides scores."""
    found = environment.installed(Path(settings.ENVIRONMENTS_DIR))
    return str(found[0].folder / "bin" / found[0].python.name) if found else sys.executable


@pytest.fixture(scope="session")
def course(tmp_path_factory: pytest.TempPathFactory, kernel_python: str) -> Course:
    """`nbgrader quickstart`, with two assignments of ours beside its ps1, released by `nbgrader generate_assignment`.

    NBGRADER_VERDICTS names a folder in which nbgrader's runs are kept for the next session (they take minutes).
    """
    kept = os.environ.get("NBGRADER_VERDICTS")
    made = Course(Path(kept or tmp_path_factory.mktemp("nbgrader")) / "course", kernel_python)
    if made.folder.exists():
        return made
    made.create()
    for assignment, files in {"ps2": corpus.ps2_source(), "ps3": corpus.ps3_source()}.items():
        folder = made.folder / "source" / assignment
        folder.mkdir()
        for name, data in files.items():
            folder.joinpath(name).write_bytes(data)
    for assignment in ("ps1", "ps2", "ps3"):
        made.release(assignment)
    return made


@pytest.fixture(scope="session")
def verdicts(course: Course) -> Verdicts:
    """Everything handed in and graded by nbgrader's command line; those that stop its run in runs of their own."""
    makers = {"ps1": corpus.ps1, "ps2": corpus.ps2, "ps3": corpus.ps3}
    submitted = {
        (assignment, student): files
        for assignment, make in makers.items()
        for student, files in make(course.files("release", assignment)).items()
    }
    for (assignment, student), files in submitted.items():
        course.submit(student, files, assignment)
    stopping = corpus.stopping(course.files("release", "ps1"))
    graded_before = course.folder.joinpath("autograded").exists()
    if not graded_before:
        for assignment in makers:
            course.run("autograde", assignment)
    for student, files in stopping.items():
        submitted["ps1", student] = files
        if not graded_before:
            course.submit(student, files, "ps1")
            assert course.run("autograde", "ps1", "--student", student).returncode
    rows = {(a, student): found for a in makers for student, found in course.rows(a).items()}
    failed = frozenset((a, student) for a, student in submitted if course.failed(student, a))
    return Verdicts(course, submitted, rows, failed)


@pytest.fixture(scope="session")
def specs(course: Course) -> dict[str, Spec]:
    """What our engine makes of the same sources."""
    return {assignment: spec_of(course, assignment) for assignment in ("ps1", "ps2", "ps3")}


def settings_of(course: Course, **changes: object) -> Settings:
    header = course.folder.joinpath("source", "header.ipynb").read_bytes()
    return Settings(header=header, **{"limits": LIMITS, **changes})


def spec_of(course: Course, assignment: str) -> Spec:
    files = course.files("source", assignment)
    settings = settings_of(course)
    generated = engine.generate(files, settings)
    assert generated.publishable, generated.problems
    data = {path: content for path, content in files.items() if not path.endswith(".ipynb")}
    return Spec({notebook.name: notebook for notebook in generated.notebooks}, data, settings)


@pytest.fixture
def plain(kernel_python: str) -> PlainSandboxes:
    return PlainSandboxes(kernel_python)


def blobs_in(folder: Path) -> dict[str, object]:
    """STORAGES with the bytes of work in this folder."""
    backend = {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": folder}}
    return {**settings.STORAGES, "work": backend}


@pytest.fixture
def work_dir(settings, tmp_path: Path) -> Iterator[Path]:
    """A folder of this test's own for blobs."""
    folder = tmp_path / "work"
    settings.STORAGES = blobs_in(folder)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
