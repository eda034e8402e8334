"""`manage.py autograde`: a course is graded from the command line, with or without a running site."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from bench._nbgrader_course import Course as Nbgrader
from classroom.models import Course, Enrollment
from classroom.people.models import User
from classroom.places import CHECKOUT
from grading.models import Autograding, CellScore, LineItem, Submission
from tests.live import LiveSite
from tests.migrate.test_import import imported

pytestmark = pytest.mark.timeout(600)


def queued(*arguments: str) -> str:
    said = StringIO()
    call_command("autograde", "--course=course101", *arguments, stdout=said)
    return said.getvalue()


@pytest.fixture
def waiting(folder: Path, grace: User) -> Course:
    """The course without its gradebook: six submissions, none of which has a result."""
    folder.joinpath("gradebook.db").unlink()
    imported(folder, "--teacher=grace")
    return Course.objects.get(slug="course101")


@pytest.mark.django_db(transaction=True)
def test_without_wait_submissions_are_queued_once_and_it_says_who_grades_them(waiting: Course) -> None:
    said = queued()
    assert "6 submissions wait to be graded." in said
    assert "the same command with --wait" in said
    assert queued() == said
    assert Autograding.objects.count() == 6


@pytest.mark.django_db(transaction=True)
def test_what_has_a_result_is_left_and_what_failed_comes_again_if_asked_for(waiting: Course) -> None:
    Autograding.objects.update(state=Autograding.State.FINISHED, current=True, finished_at=timezone.now())
    Submission.objects.update(state=Submission.State.GRADED)
    one = Submission.objects.all()[0]
    Submission.objects.filter(pk=one.pk).update(state=Submission.State.FAILED)
    assert "0 submissions wait" in queued("--wait")
    assert "1 submissions wait" in queued("--failed")
    assert one.autogradings.get(state=Autograding.State.QUEUED)


@pytest.mark.django_db(transaction=True)
def test_strict_holds_from_now_on_and_is_said(waiting: Course) -> None:
    assert "nbgrader's own rules alone from now on: ps1" in queued("--strict", "--assignment=ps1")
    assert LineItem.objects.get().strict_nbgrader


@pytest.mark.django_db(transaction=True)
def test_an_assignment_whose_grading_is_stopped_waits_and_is_named(waiting: Course) -> None:
    LineItem.objects.update(grading_stopped_at=timezone.now())
    said = queued("--wait")
    assert "Grading of ps1 is stopped" in said
    assert "0 submissions wait" in said


@pytest.mark.django_db(transaction=True)
def test_names_that_do_not_exist_are_said(waiting: Course) -> None:
    with pytest.raises(CommandError, match="no graded assignment of that name"):
        queued("--assignment=ps7")
    with pytest.raises(CommandError, match="There is no course 'physics'"):
        call_command("autograde", "--course=physics")


@pytest.fixture
def bare(django_db_blocker) -> Iterator[LiveSite]:
    """A site's data without any of its processes, new for each try."""
    site = LiveSite(django_db_blocker)
    try:
        site.manage("migrate", "--verbosity=0")
        yield site
    finally:
        site.remove()


def run(site: LiveSite, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(command, cwd=CHECKOUT, env=site.environment, text=True, capture_output=True)


@pytest.mark.live
def test_a_course_is_graded_without_a_site_and_the_scores_are_nbgraders(
    bare: LiveSite, folder: Path, taught: Nbgrader
) -> None:
    folder.joinpath("gradebook.db").unlink()
    with bare.orm():
        User.objects.create(username="grace", email="grace@example.org")
    bare.manage("import_nbgrader", str(folder), "--course=course101", "--teacher=grace")
    done = run(bare, "autograde", "--course=course101", "--strict", "--wait")
    assert "this command starts the sandboxes itself" in done.stdout
    assert "6 of 6 graded" in done.stdout, done.stdout + done.stderr
    # finn's file is no notebook: it is named with the reason, and the exit status tells.
    assert "course101/ps1, finn: The notebook file is damaged" in done.stdout
    assert "1 of 6 submissions could not be graded to their end." in done.stderr
    assert done.returncode == 1
    with bare.orm():
        ids = dict(Enrollment.objects.values_list("user_id", "student_id"))
        ours: dict[tuple[str, str, str], object] = {}
        scores = CellScore.objects.select_related("cell__notebook", "autograding__submission")
        for row in scores.exclude(cell__kind="answer"):
            student = ids[int(row.autograding.submission.authors_key)]
            ours[student, row.cell.notebook.name, row.cell.grade_id] = (row.auto_score, row.needs_manual_grade)
    compared = 0
    for student in ("ada", "ben", "cleo", "dan", "eve"):
        for (notebook, cell, kind), row in taught.rows()[student].items():
            if kind != "grade" or (student in {"ada", "ben", "cleo"} and cell == "sum_of_squares_equation"):
                continue  # a person has marked it since, which takes nbgrader's flag away
            assert isinstance(row, tuple)
            score = None if row[0] is None else Decimal(str(row[0]))
            assert ours[student, notebook, cell] == (score, row[1]), (student, notebook, cell)
            compared += 1
    assert compared > 35
    again = run(bare, "autograde", "--course=course101", "--wait")
    assert (again.returncode, "0 submissions wait" in again.stdout) == (0, True)
