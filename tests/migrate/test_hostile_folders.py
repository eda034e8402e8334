"""A course folder that is broken or meant badly: each bad file is named, and everything else comes in."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from classroom.migrate.names import folder_name, short_name
from classroom.models import Assignment
from classroom.people.models import User
from grading import engine
from grading.engine.instantiate import known_tests
from grading.models import Autograding, CellScore, Submission
from runtimes import storage
from tests.grading.corpus import parse, upstream
from tests.migrate.test_import import imported

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(600)]

ADA = "submitted/ada/ps1"


def files_of(student: str) -> dict[str, bytes]:
    submission = Submission.objects.get(authors__enrollments__student_id=student)
    return storage.read_snapshot(submission.snapshot)


def test_links_are_named_and_never_followed(folder: Path, grace: User, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("not theirs")
    folder.joinpath(ADA, "theirs.txt").symlink_to(secret)
    folder.joinpath(ADA, "outside").symlink_to(tmp_path)
    folder.joinpath("submitted", "mallory").symlink_to(tmp_path)
    said = imported(folder, "--teacher=grace")
    for name in (f"{ADA}/theirs.txt", f"{ADA}/outside", "submitted/mallory"):
        assert f"{name}: is a link; links are not followed" in said
    assert sorted(files_of("ada")) == ["jupyter.png", "problem1.ipynb", "problem2.ipynb"]
    assert Submission.objects.count() == 6


def test_a_student_whose_name_is_a_pattern_is_one_student(folder: Path, grace: User) -> None:
    """nbgrader looks for folders by patterns; here a name is only a name."""
    mine = folder / "submitted" / "*" / "ps1"
    mine.mkdir(parents=True)
    content = folder.joinpath(ADA, "problem1.ipynb").read_bytes().replace(b"return", b"return  ")
    mine.joinpath("problem1.ipynb").write_bytes(content)
    before = {path.name: path.read_bytes() for path in folder.joinpath(ADA).iterdir() if path.suffix == ".ipynb"}
    imported(folder, "--teacher=grace")
    assert files_of("*") == {"problem1.ipynb": content}
    assert {path: data for path, data in files_of("ada").items() if path in before} == before
    assert Submission.objects.count() == 7


def test_folders_that_the_configuration_puts_elsewhere_are_not_read(folder: Path, grace: User, tmp_path: Path) -> None:
    with folder.joinpath("nbgrader_config.py").open("a") as config:
        config.write("\nc.CourseDirectory.submitted_directory = '../elsewhere'\n")
        config.write("c.CourseDirectory.db_url = 'sqlite:////etc/passwd'\n")
    said = imported(folder, "--teacher=grace")
    assert "'../elsewhere' is not inside the course folder; submitted is read" in said
    assert "'/etc/passwd' is not inside the course folder; gradebook.db is read" in said
    assert Submission.objects.count() == 6


def test_pipes_giants_and_names_in_no_encoding_are_left_out(folder: Path, grace: User, settings) -> None:
    settings.UPLOAD_MOST_BYTES = 1024 * 1024
    os.mkfifo(folder / ADA / "pipe")
    with folder.joinpath(ADA, "giant.bin").open("wb") as giant:
        giant.truncate(1 << 40)
    Path(os.fsdecode(os.fsencode(folder / ADA) + b"/caf\xe9.txt")).write_text("latin 1")
    deep = folder / ADA / "/".join("d" * 45)
    deep.mkdir(parents=True)
    deep.joinpath("deep.txt").write_text("too deep")
    said = imported(folder, "--teacher=grace")
    assert f"{ADA}/pipe: was left out: it is neither a file nor a folder" in said
    assert f"{ADA}/giant.bin: was left out: it is larger than what one submission may be" in said
    assert f"{ADA}/caf\\udce9.txt: was left out" in said
    assert "too many folders inside each other" in said
    assert sorted(files_of("ada")) == ["jupyter.png", "problem1.ipynb", "problem2.ipynb"]


def test_more_files_than_a_submission_may_have_are_counted_not_kept(folder: Path, grace: User, settings) -> None:
    settings.UPLOAD_MOST_FILES = 5
    for number in range(20):
        folder.joinpath(ADA, f"z{number:02}.txt").write_text("x")
    said = imported(folder, "--teacher=grace")
    assert "and what follows was left out: there are more than 5 files" in said
    assert len(files_of("ada")) <= 5


def test_a_source_that_is_no_notebook_is_named_and_the_other_assignment_comes_in(folder: Path, grace: User) -> None:
    broken = folder / "source" / "ps2"
    broken.mkdir()
    broken.joinpath("broken.ipynb").write_bytes(b"{")
    handed_in = folder / "submitted" / "ada" / "ps2"
    handed_in.mkdir()
    handed_in.joinpath("broken.ipynb").write_bytes(b"{")
    said = imported(folder, "--teacher=grace")
    assert "source/ps2/broken.ipynb: The file is not a notebook: it is not valid JSON" in said
    assert "ps2: is a draft with problems, so its submissions were left out" in said
    assert "submitted/*/ps2: 1 submissions were left out" in said
    assert Assignment.objects.get(slug="ps2").state == "draft"
    assert Submission.objects.count() == 6


def _no_database(path: Path) -> None:
    path.write_bytes(os.urandom(8192))


def _torn(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + b"\xff" * 4096)


def _newer(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("update alembic_version set version_num = 'f00dfeed0123'")


def _view(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("alter table student rename to real_student")
        database.execute("create view student as select * from real_student")


def _older(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("alter table base_cell rename to solution_cell_of_old")


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (_no_database, "gradebook.db: is damaged or no SQLite database"),
        (_torn, "gradebook.db: is damaged"),
        (_newer, "gradebook.db: was written by another version of nbgrader than this site has (schema 'f00dfeed0123')"),
        (_view, "gradebook.db: has no table student"),
        (_older, "run “nbgrader db upgrade” in the course folder and import again"),
    ],
)
def test_a_gradebook_that_cannot_be_read_is_named_and_the_files_come_in(
    damage: Callable[[Path], None], sentence: str, folder: Path, grace: User
) -> None:
    damage(folder / "gradebook.db")
    said = imported(folder, "--teacher=grace")
    assert sentence in said
    assert Submission.objects.count() == 6
    assert not CellScore.objects.exists()


def test_a_score_that_is_no_number_is_named_and_the_others_come_in(folder: Path, grace: User) -> None:
    with sqlite3.connect(folder / "gradebook.db") as database:
        database.execute("update grade set manual_score = 'lots' where manual_score = 1.5")
        database.execute("update grade set auto_score = 9e999 where auto_score = 0")
    said = imported(folder, "--teacher=grace")
    assert "'lots' is no number of points" in said
    assert "'inf' is no number of points" in said
    assert Autograding.objects.filter(current=True).count() == 5


def test_autotest_lines_that_nobody_ran_yet_are_named(folder: Path, grace: User) -> None:
    source = folder / "source" / "auto"
    source.mkdir()
    source.joinpath("autotest-simple.ipynb").write_bytes(upstream("autotest-simple.ipynb"))
    said = imported(folder, "--teacher=grace")
    assert "its AUTOTEST lines have to be run first" in said
    assert Submission.objects.count() == 6


def test_tests_that_nbgrader_wrote_from_autotest_lines_stay_what_they_were() -> None:
    files = {"simple.ipynb": upstream("autotest-simple.ipynb")}
    assert engine.generate(files, engine.Settings()).pending == ("simple.ipynb",)
    wanted = [cell for cell in parse(files["simple.ipynb"]).cells if "AUTOTEST" in cell.source]
    sources = {("simple", cell.metadata["nbgrader"]["grade_id"]): "assert 'the salt' == 'in it'" for cell in wanted}
    made = engine.generate(files, engine.Settings(), known_tests(files, engine.Settings(), sources))
    assert made.publishable
    kept = made.notebooks[0].cells["source"]
    assert {kept[name]["source"] for _, name in sources} == {"assert 'the salt' == 'in it'"}


def test_queries_do_not_grow_with_the_class(folder: Path, grace: User) -> None:
    imported(folder, "--teacher=grace")
    with CaptureQueriesContext(
        connection,
    ) as few:
        imported(folder)
    for number in range(10):
        again = folder / "submitted" / f"new{number}" / "ps1"
        again.mkdir(parents=True)
        again.joinpath("problem1.ipynb").write_bytes(
            folder.joinpath(ADA, "problem1.ipynb").read_bytes() + b" " * number
        )
    with CaptureQueriesContext(connection) as many:
        imported(folder)
    # An account, an enrollment, a blob, a snapshot, a work with its files, the submission and its autograding.
    assert len(many) - len(few) <= 10 * 60


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("ps1", "ps1"),
        ("Problem Set 1", "problem-set-1"),
        ("lab.2", "lab-2"),
        ("HW_3", "HW_3"),
        ("été", "ete"),
        ("…", ""),
    ],
)
def test_names_of_assignments_come_back_as_they_were(name: str, slug: str) -> None:
    assert short_name(name) == slug
    if slug:
        assert folder_name(slug, name) == name
    assert folder_name("ps1", "Problem set 1: loops") == "ps1"
    assert folder_name("ps1", "../ps1") == "ps1"
