"""`manage.py up` and the demo course: real processes, a real sandbox, nbgrader's own problem set."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from classroom.demo.people import CAST
from classroom.demo.quickstart import problem_set
from classroom.models import Assignment, Enrollment
from classroom.people.models import User
from classroom.places import CHECKOUT
from grading.models import Release, ReleaseCheck
from runtimes.storage import read_snapshot
from tests.live import LiveSite

pytestmark = [pytest.mark.live, pytest.mark.sandbox, pytest.mark.timeout(600)]


def belonging_to(folder: Path) -> set[int]:
    """Living processes that were started with this data folder, or whose command line names it."""
    mark = str(folder).encode()
    found = set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        try:
            about = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if mark in about and state != "Z":
            found.add(int(entry.name))
    return found


@pytest.fixture
def site(django_db_setup, django_db_blocker):
    with LiveSite(django_db_blocker) as site:
        yield site


@pytest.fixture(scope="module")
def demo(live: LiveSite) -> LiveSite:
    """A running site with the demo course loaded, twice: the second time changes nothing."""
    live.first = live.manage("demo")  # type: ignore[attr-defined]
    live.second = live.manage("demo")  # type: ignore[attr-defined]
    return live


def test_the_demo_prints_its_accounts_and_their_password(demo: LiveSite):
    for person in CAST:
        assert f"  {person.username}" in demo.first  # type: ignore[attr-defined]
    password = (demo.folder / "secrets" / "demo").read_text()[:12]
    assert f"password {password}" in demo.first  # type: ignore[attr-defined]
    assert "The demo course is ready." in demo.first  # type: ignore[attr-defined]
    with demo.orm():
        assert User.objects.get(username="grace").check_password(password)
        assert User.objects.get(username="grace").has_perm("classroom.add_course")


def test_the_demo_has_one_teacher_two_tas_and_five_students(demo: LiveSite):
    with demo.orm():
        roles = sorted(Enrollment.objects.values_list("role", flat=True))
    assert roles == ["student"] * 5 + ["ta"] * 2 + ["teacher"]


def test_the_problem_set_is_nbgraders_own_and_its_solution_got_full_marks(demo: LiveSite):
    with demo.orm():
        assignment = Assignment.objects.select_related("release__source").get(slug="ps1")
        release = assignment.release
        assert release is not None
        assert release.state == Release.State.PUBLISHED
        assert ReleaseCheck.objects.get(release=release).state == ReleaseCheck.State.PASSED
        source = read_snapshot(release.source)
    assert source == problem_set()
    assert {"problem1.ipynb", "problem2.ipynb", "jupyter.png"} <= source.keys()


def test_the_tutorial_is_open_and_not_graded(demo: LiveSite):
    with demo.orm():
        tutorial = Assignment.objects.select_related("line_item").get(slug="arrays-and-plots")
        assert tutorial.state == Assignment.State.OPEN
        assert not tutorial.line_item.graded


def test_loading_the_demo_again_changes_nothing(demo: LiveSite):
    assert "Making nbgrader's quickstart" in demo.first  # type: ignore[attr-defined]
    assert "Making nbgrader's quickstart" not in demo.second  # type: ignore[attr-defined]
    with demo.orm():
        assert Assignment.objects.count() == 2
        assert Release.objects.count() == 2


def test_the_first_page_answers(demo: LiveSite):
    with urllib.request.urlopen(f"{demo.url}/accounts/login/", timeout=60) as answer:
        assert answer.status == 200


def test_a_second_start_on_the_same_data_is_refused(live: LiveSite):
    done = subprocess.run(
        [sys.executable, "manage.py", "up"],
        cwd=CHECKOUT,
        env=live.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "already runs as process" in done.stderr
    assert "Traceback" not in done.stderr


def test_every_process_that_is_killed_runs_again_and_the_site_answers_all_the_time(live: LiveSite):
    for name in ("site", "worker", "beat", "runtimes"):
        live.kill(name)
        with urllib.request.urlopen(f"{live.url}/accounts/login/", timeout=120) as answer:
            assert answer.status == 200


@pytest.mark.kill
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_stopping_leaves_no_process_behind(site: LiveSite, how: signal.Signals):
    assert len(belonging_to(site.folder)) >= 5
    site.stop(how)
    assert belonging_to(site.folder) == set()


@pytest.mark.kill
def test_kill_minus_nine_of_the_supervisor_leaves_no_process_behind(site: LiveSite):
    assert len(belonging_to(site.folder)) >= 5
    site.stop(signal.SIGKILL)
    site.until(lambda: not belonging_to(site.folder), "everything has ended", seconds=60)


def test_what_people_wrote_is_closed_to_other_users(live: LiveSite):
    for name in ("db.sqlite3", "work", "secrets", "logs", "mail", "drive", "broker"):
        path = live.folder / name
        assert not path.exists() or path.stat().st_mode & 0o077 == 0, name
