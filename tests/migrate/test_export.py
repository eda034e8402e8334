"""`manage.py export_nbgrader`: nbgrader's own API, command line and formgrader find the same numbers again."""

from __future__ import annotations

import csv
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from bench._nbgrader_course import Course as Nbgrader
from classroom.models import Course, Enrollment
from classroom.people.models import User
from deploy.local.services import free_port
from grading import review
from grading.models import LineItem, Submission
from tests.grading.quick_nbgrader import QuickCourse
from tests.migrate.conftest import book_of
from tests.migrate.test_import import imported, rows_here
from tests.world import build

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(600)]


def exported(folder: Path, course: str = "course101") -> str:
    said = StringIO()
    call_command("export_nbgrader", str(folder), f"--course={course}", stdout=said)
    return said.getvalue()


@pytest.fixture
def back(folder: Path, tmp_path: Path, grace: User, taught: Nbgrader) -> Nbgrader:
    """The course of nbgrader's, imported and exported again."""
    imported(folder, "--teacher=grace")
    there = tmp_path / "back" / "course101"
    exported(there)
    course = QuickCourse(there, sys.executable)
    # The kernels that graded it before.
    spec = Path("kernels", "python3", "kernel.json")
    course.folder.parent.joinpath("course101.home", spec).write_bytes(
        taught.folder.parent.joinpath("course101.home", spec).read_bytes()
    )
    return course


def csv_of(course: Nbgrader, to: Path) -> dict[str, dict[str, str]]:
    done = course.run("export", "--to", str(to))
    assert done.returncode == 0, done.stderr
    with to.open(newline="") as stream:
        return {row["student_id"]: row for row in csv.DictReader(stream)}


def test_nbgraders_api_finds_every_score_and_comment_again(taught: Nbgrader, back: Nbgrader) -> None:
    theirs, ours = book_of(taught.folder), book_of(back.folder)
    for before, after in zip(theirs[:2], ours[:2], strict=True):
        assert before.keys() == after.keys()
        # What nbgrader could not grade to its end waits to be graded.
        assert {k: v for k, v in before.items() if k[1] != "finn"} == {k: v for k, v in after.items() if k[1] != "finn"}
    for place, (score, most, manual, late, timestamp, extension) in theirs[2].items():
        if place[1] == "finn":
            continue
        assert ours[2][place][:4] == (score, most, manual, late), place
        assert ours[2][place][5] == extension, place
        # Eve's had no timestamp, which nbgrader takes as in time.
        assert place[1] == "eve" or ours[2][place][4] == timestamp


def test_nbgrader_export_writes_the_same_table(taught: Nbgrader, back: Nbgrader, tmp_path: Path) -> None:
    before, after = csv_of(taught, tmp_path / "before.csv"), csv_of(back, tmp_path / "after.csv")
    assert before.keys() == after.keys()
    same = ("first_name", "last_name", "email", "raw_score", "late_submission_penalty", "score", "max_score", "duedate")
    for student in before.keys() - {"finn"}:
        assert {name: after[student][name] for name in same} == {name: before[student][name] for name in same}, student
    assert after["ben"]["score"] == "0.0"


def test_files_and_configuration_are_where_nbgrader_looks_for_them(taught: Nbgrader, back: Nbgrader) -> None:
    for kind in ("source", "submitted/ada", "submitted/finn", "autograded/ada"):
        before, after = taught.files(kind), back.files(kind)
        assert {path for path in before if path != "timestamp.txt"} == after.keys() - {"timestamp.txt"}, kind
        for path in before.keys() - {"timestamp.txt"}:
            assert after[path] == before[path], f"{kind}/{path}"
    assert not back.folder.joinpath("autograded", "finn").exists()
    assert "penalty_method = 'zero'" in back.folder.joinpath("nbgrader_config.py").read_text()


def test_nbgrader_grades_and_gives_feedback_in_the_exported_folder(taught: Nbgrader, back: Nbgrader) -> None:
    done = back.run("generate_feedback", "ps1", "--student=ada")
    assert done.returncode == 0, done.stderr
    page = back.folder.joinpath("feedback", "ada", "ps1", "problem1.html").read_text()
    assert "Well <strong>argued</strong>" in page or "Well **argued**" in page
    done = back.run("autograde", "ps1", "--student=dan", "--force")
    assert done.returncode == 0, done.stderr
    before, after = taught.rows()["dan"], back.rows()["dan"]
    assert {k: v for k, v in before.items() if k[2] == "grade"} == {k: v for k, v in after.items() if k[2] == "grade"}


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=60).close()
    except ConnectionRefusedError:
        return False
    return True


@contextmanager
def formgrader(folder: Path) -> Iterator[str]:
    """A Jupyter server with nbgrader's formgrader over this course, on loopback; its address."""
    port = free_port()
    command = [
        sys.executable, "-m", "jupyter_server", "--ServerApp.token=", "--ServerApp.password=", "--allow-root",
        "--no-browser", f"--ServerApp.port={port}", "--ServerApp.ip=127.0.0.1", "--ServerApp.port_retries=0",
        "--ServerApp.jpserver_extensions={'nbgrader.server_extensions.formgrader': True}",
    ]  # fmt: skip
    home = str(folder.parent / "home")
    away = {"HOME": home, "JUPYTER_CONFIG_DIR": f"{home}/config", "JUPYTER_DATA_DIR": f"{home}/data"}
    process = subprocess.Popen(
        command, cwd=folder, env={**os.environ, **away, "JUPYTER_RUNTIME_DIR": f"{home}/run"},
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        said = []
        for line in process.stderr:
            said.append(line)
            if "is running at" in line:
                break
        # It says so before it listens.
        while process.poll() is None and not _listens(port):
            time.sleep(0.1)
        assert process.poll() is None, "".join(said)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.communicate()


def test_formgrader_opens_the_exported_course(back: Nbgrader) -> None:
    with formgrader(back.folder) as address:

        def page(path: str) -> str:
            with urllib.request.urlopen(f"{address}/formgrader/{path}", timeout=60) as answer:
                assert answer.status == 200
                return answer.read().decode()

        assert "formgrader" in page("manage_assignments").lower()
        listed = json.loads(page("api/assignments"))
        assert [(one["name"], one["num_submissions"], one["max_score"]) for one in listed] == [("ps1", 6, 13.0)]
        students = {one["student"]: one for one in json.loads(page("api/submissions/ps1"))}
        assert (students["ada"]["autograded"], students["finn"]["autograded"]) == (True, False)
        marked = json.loads(page("api/submitted_notebooks/ps1/problem1"))
        assert {one["student"] for one in marked} >= {"ada", "ben", "cleo"}
        one = next(one for one in marked if one["student"] == "ada")
        assert "sum_of_squares" in page(f"submissions/{one['id']}")
        grades = {g["name"]: g for g in json.loads(page(f"api/grades?submission_id={one['id']}"))}
        mark = grades["sum_of_squares_equation"]
        assert (mark["manual_score"], mark["extra_credit"]) == (1.5, 0.25)


def test_exported_and_imported_again_it_is_the_same_course(back: Nbgrader) -> None:
    before = rows_here()
    imported(back.folder, "--teacher=grace", course="again")
    Submission.objects.filter(line_item__label="course101/ps1").update(
        line_item=LineItem.objects.create(label="elsewhere/elsewhere", profile=LineItem.objects.all()[0].profile)
    )
    again = rows_here()
    for one, other in zip(before, again, strict=True):
        mine = {place: row for place, row in other.items() if place[0] == "ps1" and place[1] != "finn"}
        assert mine == {place: row for place, row in one.items() if place[1] != "finn"}


def test_a_course_of_the_sites_own_goes_to_nbgrader(course: Course, tmp_path: Path) -> None:
    world = build(course)
    LineItem.objects.filter(pk=world.assignment.line_item_id).update(late_policy="per_day")
    folder = tmp_path / "out" / "data"
    said = exported(folder, "data")
    assert "has a late policy that nbgrader has not" in said
    assert "ps2: is not published, so it was left out" in said
    grades, comments, totals = book_of(folder)
    ada = world.ada_submission
    assert totals["ps1", "ada"][0] == float(review.total_of(ada).raw) == 4.5
    why = grades["ps1", "ada", "squares", "why"]
    assert (why.manual_score, why.extra_credit, why.needs_manual_grade) == (2.0, 0.5, False)
    assert comments["ps1", "ada", "squares", "why"].manual_comment == "Say **why** it holds for zero, too."
    assert grades["ps1", "ben", "squares", "why"].needs_manual_grade
    assert Decimal(str(grades["ps1", "ben", "squares", "test_square"].auto_score)) == 2


@pytest.mark.parametrize("name", ["*", "ad?", "[ab]*", "a/da"])
def test_a_name_that_is_a_pattern_is_no_folders(name: str, course: Course, tmp_path: Path) -> None:
    """With nbgrader, `submitted/*/ps1` would be the work of everybody."""
    build(course)
    mine = Enrollment.objects.get(course=course, user__username="ada")
    Enrollment.objects.filter(pk=mine.pk).update(student_id=name)
    said = exported(tmp_path / "out", "data")
    assert f"ada: is called person-{mine.user_id} there" in said
    submitted = tmp_path / "out" / "submitted"
    assert sorted(path.name for path in submitted.iterdir()) == sorted(["ben", f"person-{mine.user_id}"])


def test_nothing_is_written_over(course: Course, tmp_path: Path) -> None:
    tmp_path.joinpath("mine").mkdir()
    tmp_path.joinpath("mine", "thesis.txt").write_text("years")
    with pytest.raises(CommandError, match="is not empty: name a new folder"):
        exported(tmp_path / "mine", "data")
    assert [path.name for path in tmp_path.joinpath("mine").iterdir()] == ["thesis.txt"]
