"""Whatever ends while submissions are graded (a worker's child, database, broker): nothing is lost or doubled."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from django.conf import settings
from django.db import connections
from django.utils import timezone

from classroom.lifeline import dies_with_parent
from deploy.local.services import free_port, services
from grading import states
from grading.models import Autograding, CellScore, Submission
from runtimes import storage
from tests.grading import corpus
from tests.grading.course_of_one import SOURCE
from tests.grading.live_clicks import RIGHT, SLOW, Student, score_of, student
from tests.grading.live_steps import LONG_AGO, hand_in, line_item, published, rows_and_files, until_graded
from tests.live import LiveSite

pytestmark = [pytest.mark.live, pytest.mark.sandbox, pytest.mark.timeout(1800)]

SLEEPS = "answer = 42\nimport time\nfor _ in range(100):\n    time.sleep(0.1)"


#: It takes as long on the second kernel, where nobody kills anything.
WAITED_FOR = "sleep 4.3219"
WAITS = f"import subprocess\nsubprocess.run({WAITED_FOR.split()!r})\nanswer = 42"


@pytest.fixture
def site(live: LiveSite) -> Iterator[LiveSite]:
    with rows_and_files(live):
        yield live


def kill_children(site: LiveSite) -> None:
    """`kill -9` of every process that the worker has forked to grade in."""
    # A pool forks from several threads.
    for children in Path(f"/proc/{site.pid('worker')}/task").glob("*/children"):
        for child in children.read_text().split():
            os.kill(int(child), signal.SIGKILL)


def lease_ends(rows) -> None:
    """Nobody renews it any more; waiting for its end would only take time."""
    rows.update(lease_until=timezone.now() - LONG_AGO)


def test_a_submission_that_ends_its_worker_every_time_is_set_aside_and_keeps_nobody_waiting(site: LiveSite) -> None:
    made = published(site, line_item("poison"), SOURCE)
    released = {"p.ipynb": corpus.dump(corpus.parse(SOURCE["p.ipynb"]))}
    poison = hand_in(made, "poison", corpus.answered(released, {"answer": SLEEPS}))
    runs = Autograding.objects.filter(submission=poison)
    for attempt in range(1, states.MOST_TRIES + 1):
        running = runs.filter(state=Autograding.State.RUNNING, tries=attempt)
        site.until(running.exists, f"try {attempt} has begun")
        kill_children(site)
        lease_ends(running)
        # Put back by the sweep: what lost its message is found once it has waited for long.
        site.until(lambda held=running: not held.exists(), f"try {attempt} is over")
        runs.filter(state=Autograding.State.QUEUED).update(queued_at=timezone.now() - LONG_AGO)
    honest = hand_in(made, "honest", corpus.answered(released, {"answer": "answer = 42"}))
    until_graded(site, [poison, honest])
    parked = runs.get()
    assert (parked.state, parked.tries, poison.state) == ("parked", states.MOST_TRIES, Submission.State.FAILED)
    assert parked.log.count("the worker that graded it ended") == states.MOST_TRIES
    assert (honest.autogradings.get().state, honest.autogradings.get().tries) == ("finished", 1)


def test_what_a_killed_child_of_the_worker_held_is_graded_once(site: LiveSite) -> None:
    made = published(site, line_item("child"), SOURCE)
    released = {"p.ipynb": corpus.dump(corpus.parse(SOURCE["p.ipynb"]))}
    submission = hand_in(made, "child", corpus.answered(released, {"answer": SLEEPS}))
    running = Autograding.objects.filter(submission=submission, state=Autograding.State.RUNNING)
    site.until(running.exists, "grading has begun")
    kill_children(site)
    lease_ends(running)
    until_graded(site, [submission])
    done = submission.autogradings.get()
    assert (done.state, done.tries, done.current, done.failures) == ("finished", 2, True, [])
    assert CellScore.objects.filter(autograding=done).count() == 3


def test_a_kernel_that_is_killed_from_outside_is_replaced_once_and_everything_is_scored(site: LiveSite) -> None:
    made = published(site, line_item("kernel"), SOURCE)
    released = storage.read_snapshot(made.student)
    submission = hand_in(made, "kernel", corpus.answered(released, {"answer": WAITS}))
    site.until(lambda: list(children_that(WAITED_FOR)), "the kernel waits for its own child")
    for _child, kernel in children_that(WAITED_FOR):
        os.kill(kernel, signal.SIGKILL)
    until_graded(site, [submission])
    done = submission.autogradings.get()
    assert (done.state, done.tries, done.failures) == ("finished", 1, [])
    assert [note["code"] for note in done.notes] == ["kernel_replaced"]
    assert score_of(submission) == 3


def children_that(command: str) -> Iterator[tuple[int, int]]:
    """(process, parent) of those that run this command line, wherever they are."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if folder.joinpath("cmdline").read_bytes().replace(b"\0", b" ").decode().strip() == command:
                yield int(folder.name), int(folder.joinpath("stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue


# --- the broker


class Redis:
    """A Redis of one's own that keeps nothing: started, killed, started again empty."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.port = folder, free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        binary = shutil.which("redis-server") or "redis-server"
        options = f"--port {self.port} --bind 127.0.0.1 --save  --appendonly no --dir {self._folder}".split(" ")
        self._process = subprocess.Popen([binary, *options], stdout=subprocess.DEVNULL)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@contextmanager
def site_with_redis(blocker, folder: Path) -> Iterator[tuple[LiveSite, Redis]]:
    redis = Redis(folder)
    redis.start()
    try:
        with LiveSite(blocker, REDIS_URL=redis.url) as made, rows_and_files(made):
            yield made, redis
    finally:
        redis.kill()


def graded_once(site: LiveSite, someone: Student, count: int) -> None:
    """Everything that was clicked is one submission each, graded once, with its score."""
    submissions = someone.submissions()
    assert [one.attempt for one in submissions] == list(range(1, count + 1))
    until_graded(site, submissions)
    assert [(one.autogradings.get().state, score_of(one)) for one in submissions] == [("finished", 2)] * count


def test_a_killed_and_emptied_redis_loses_and_doubles_nothing(django_db_blocker, tmp_path: Path) -> None:
    with site_with_redis(django_db_blocker, tmp_path) as (site, redis):
        ada = student(site)
        ada.answer(SLOW)
        assert ada.press("before") == 302
        running = Autograding.objects.filter(state=Autograding.State.RUNNING)
        site.until(running.exists, "grading has begun")
        redis.kill()
        # Nothing can be told to a worker now; the receipt says what is true all the same.
        ada.answer(RIGHT)
        assert ada.press("while it is down") == 302
        assert ada.press("while it is down") == 302
        redis.start()
        assert ada.press("after") == 302
        graded_once(site, ada, 3)
        ada.close()


# --- the database


@contextmanager
def site_with_postgres(blocker, monkeypatch) -> Iterator[tuple[LiveSite, str]]:
    """A site on a PostgreSQL of its own, which the rows in the test are read from, too."""
    with services() as variables, monkeypatch.context() as patched:
        url = urlsplit(variables["DATABASE_URL"])
        patched.setenv("DATABASE_URL", variables["DATABASE_URL"])
        connection = connections["default"]
        connection.close()
        for name, value in {"HOST": url.hostname, "PORT": str(url.port), "PASSWORD": url.password}.items():
            patched.setitem(connection.settings_dict, name, value)
        patched.setitem(connection.settings_dict, "USER", url.username)
        with LiveSite(blocker, REDIS_URL=variables["REDIS_URL"]) as made, rows_and_files(made):
            yield made, variables["DATABASE_URL"]
            made.database = ""  # it goes with its server
        connection.close()


def crash(database: str) -> None:
    """`kill -9` of one process of the server: it ends every connection, recovers, and is there again."""
    with psycopg.connect(database, autocommit=True) as connection:
        row = connection.execute("select pg_backend_pid()").fetchone()
        assert row is not None
        os.kill(row[0], signal.SIGKILL)


class Server:
    """The PostgreSQL behind this address, to be stopped and started again as it was (`postmaster.opts`)."""

    def __init__(self, site: LiveSite, database: str) -> None:
        self._site, self._database = site, database
        with psycopg.connect(database) as connection:
            row = connection.execute("show data_directory").fetchone()
        assert row is not None
        self._data = Path(row[0])
        self._process: subprocess.Popen[bytes] | None = None

    def stop(self) -> None:
        """A fast shutdown; returns when connections are refused."""
        os.kill(int(self._data.joinpath("postmaster.pid").read_text().split()[0]), signal.SIGINT)
        self._site.until(lambda: not self._answers(), "PostgreSQL refuses connections")

    def start(self) -> None:
        """Returns when it answers."""
        owner = self._data.stat()
        as_owner: dict[str, Any] = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": ()}
        self._process = subprocess.Popen(
            shlex.split(self._data.joinpath("postmaster.opts").read_text()),
            cwd=self._data, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=dies_with_parent(signal.SIGINT),  # noqa: PLW1509 - as the run's own services
            **(as_owner if os.geteuid() == 0 else {}),
        )  # fmt: skip
        self._site.until(self._answers, "PostgreSQL answers")

    def end(self) -> None:
        """What was started here is gone."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(60)

    def _answers(self) -> bool:
        try:
            psycopg.connect(self._database, connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True


@pytest.mark.skipif("postgresql" not in settings.DATABASES["default"]["ENGINE"], reason="SQLite has no server")
def test_a_postgres_that_is_away_for_seconds_loses_and_doubles_nothing(django_db_blocker, monkeypatch) -> None:
    with site_with_postgres(django_db_blocker, monkeypatch) as (site, database):
        server = Server(site, database)
        ada = student(site)
        ada.answer(f"{RIGHT}import subprocess\nsubprocess.run({WAITED_FOR.split()!r})")
        assert ada.press("before") == 302
        site.until(lambda: list(children_that(WAITED_FOR)), "the kernel waits for its own child")
        connections["default"].close()
        try:
            server.stop()
            # What is found out meanwhile has nobody to keep it, and is held.
            log = site.folder / "logs" / "worker.log"
            site.until(lambda: "the database is not there" in log.read_text(), "the result waits for the database")
            server.start()
            site.until(lambda: ada.press("after") == 302, "the site answers again")
            assert ada.press("after") == 302
            graded_once(site, ada, 2)
        finally:
            ada.close()
            site.stop()
            connections["default"].close()
            server.end()


@pytest.mark.skipif("postgresql" not in settings.DATABASES["default"]["ENGINE"], reason="SQLite has no server")
def test_a_crashed_postgres_loses_and_doubles_nothing(django_db_blocker, monkeypatch) -> None:
    with site_with_postgres(django_db_blocker, monkeypatch) as (site, database):
        ada = student(site)
        ada.answer(SLOW)
        assert ada.press("before") == 302
        running = Autograding.objects.filter(state=Autograding.State.RUNNING)
        site.until(running.exists, "grading has begun")
        crash(database)
        connections["default"].close()
        # A person whose click met the crash clicks again: the key makes it one.
        site.until(lambda: ada.press("after") == 302, "the site answers again")
        assert ada.press("after") == 302
        connections["default"].close()
        site.until(lambda: not running.exists() or lease_ends(running), "what was running came to an end")
        graded_once(site, ada, 2)
        ada.close()
