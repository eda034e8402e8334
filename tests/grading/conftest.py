"""What tests of grading share: nbgrader's own verdict on a corpus of submissions, made once a session."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from django.conf import settings

from bench._nbgrader_course import CELL_SECONDS, Course, Rows
from bench._nbgrader_course import kernel_python as sandboxes_python
from grading import engine
from grading.engine import Limits, Settings, Spec
from tests.grading import corpus
from tests.grading.plain_sandbox import PlainSandboxes
from tests.grading.quick_nbgrader import QuickCourse

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
    return sandboxes_python()


@contextmanager
def once(course: Course, step: str) -> Iterator[bool]:
    """Whether the step is still to be done: it counts as done when the body ends well. Others wait meanwhile."""
    with course.folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = course.folder.with_suffix(f".{step}")
        yield not done.exists()
        done.touch()


@pytest.fixture(scope="session")
def course(tmp_path_factory: pytest.TempPathFactory, kernel_python: str) -> Course:
    """`nbgrader quickstart`, with the corpus's assignments beside its ps1, released by `nbgrader generate_assignment`.

    NBGRADER_VERDICTS names a folder in which nbgrader's runs, which take minutes, are kept for others and for later.
    """
    kept = os.environ.get("NBGRADER_VERDICTS")
    made = QuickCourse(Path(kept or tmp_path_factory.mktemp("nbgrader")) / "course", kernel_python)
    with once(made, "released") as first:
        if first:
            shutil.rmtree(made.folder, ignore_errors=True)
            _release(made)
    return made


def _release(made: Course) -> None:
    made.create()
    made.folder.joinpath("autotests.yml").write_bytes(corpus.upstream("autotests.yml"))
    made.folder.joinpath("source", "footer.ipynb").write_bytes(corpus.FOOTER)
    with made.folder.joinpath("nbgrader_config.py").open("a") as config:
        config.write('c.IncludeHeaderFooter.footer = "source/footer.ipynb"\n')
    for assignment, source in corpus.SOURCES.items():
        folder = made.folder / "source" / assignment
        folder.mkdir()
        for name, data in source().items():
            folder.joinpath(name).write_bytes(data)
    for assignment in corpus.STUDENTS:
        made.release(assignment)


@pytest.fixture(scope="session")
def verdicts(course: Course) -> Verdicts:
    """Everything handed in and graded by nbgrader's command line; those that stop its run in runs of their own."""
    submitted = {
        (assignment, student): files
        for assignment, make in corpus.SUBMITTED.items()
        for student, files in make(course.files("release", assignment)).items()
    }
    stopping = corpus.stopping(course.files("release", "ps1"))
    with once(course, "graded") as first:
        if first:
            _autograde(course, submitted, stopping)
    submitted |= {("ps1", student): files for student, files in stopping.items()}
    rows = {(a, student): found for a in corpus.SUBMITTED for student, found in course.rows(a).items()}
    failed = frozenset((a, student) for a, student in submitted if course.failed(student, a))
    return Verdicts(course, submitted, rows, failed)


def _autograde(
    course: Course,
    submitted: Mapping[tuple[str, str], Mapping[str, bytes]],
    stopping: Mapping[str, Mapping[str, bytes]],
) -> None:
    for (assignment, student), files in submitted.items():
        course.submit(student, dict(files), assignment)
    for assignment in corpus.SUBMITTED:
        course.run("autograde", assignment)
    for student, files in stopping.items():
        course.submit(student, dict(files), "ps1")
        assert course.run("autograde", "ps1", "--student", student).returncode


@pytest.fixture(scope="session")
def specs(course: Course, kernel_python: str) -> dict[str, Spec]:
    """What our engine makes of the same sources, `### AUTOTEST` lines written out."""
    plain = PlainSandboxes(kernel_python)
    return {assignment: asyncio.run(_spec_with_tests(course, assignment, plain)) for assignment in corpus.STUDENTS}


def course_files(course: Course) -> dict[str, bytes]:
    """What nbgrader finds in the course's folder besides assignments."""
    source = course.folder / "source"
    return {
        "header.ipynb": source.joinpath("header.ipynb").read_bytes(),
        "footer.ipynb": source.joinpath("footer.ipynb").read_bytes(),
        "autotests.yml": course.folder.joinpath("autotests.yml").read_bytes(),
    }


def settings_of(course: Course, **changes: object) -> Settings:
    files = course_files(course)
    return Settings(
        header=files["header.ipynb"],
        footer=files["footer.ipynb"],
        autotests=files["autotests.yml"],
        **{"limits": LIMITS, **changes},
    )


async def _spec_with_tests(course: Course, assignment: str, plain: PlainSandboxes) -> Spec:
    written, problems = await engine.instantiate(course.files("source", assignment), settings_of(course), plain)
    assert not problems
    return spec_of(course, assignment, written)


def spec_of(course: Course, assignment: str, tests: Mapping[str, bytes] | None = None) -> Spec:
    files = course.files("source", assignment)
    settings = settings_of(course)
    generated = engine.generate(files, settings, tests)
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
