"""A broker or a database is killed, or away, while submissions are graded: nothing is lost or doubled."""

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

from classroom.lifeline import dies_with_parent
from deploy.local.services import free_port, services
from grading.models import Autograding
from runtimes import sole
from tests.grading.live_clicks import RIGHT, SLOW, Student, score_of, student
from tests.grading.live_steps import children_that, lease_ends, rows_and_files, until_graded
from tests.live import LiveSite

pytestmark = [pytest.mark.live, pytest.mark.sandbox, pytest.mark.timeout(1800)]

#: No other test may wait for just this.
WAITED_FOR = "sleep 4.3218"

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
        server, runtimes = Server(site, database), site.pid("runtimes")
        lapses = sole.TERM.total_seconds() / sole.RENEW_SECONDS
        ada = student(site)
        ada.answer(f"{RIGHT}import subprocess\nsubprocess.run({WAITED_FOR.split()!r})")
        assert ada.press("before") == 302
        site.until(lambda: list(children_that(WAITED_FOR)), "the kernel waits for its own child")
        connections["default"].close()
        try:
            server.stop()
            # What is found out meanwhile has nobody to keep it, and is held.
            logs = site.folder / "logs"
            waits, misses = "the database is not there", "the lease could not be renewed"
            site.until(lambda: waits in (logs / "worker.log").read_text(), "the result waits for the database")
            # Longer than the lease of the process that owns the sandboxes: nobody else can have taken it.
            site.until(lambda: (logs / "runtimes.log").read_text().count(misses) > lapses, "its lease has run out")
            server.start()
            site.until(lambda: ada.press("after") == 302, "the site answers again")
            assert ada.press("after") == 302
            graded_once(site, ada, 2)
            assert site.pid("runtimes") == runtimes
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
