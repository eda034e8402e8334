"""The site's own processes, started by `manage.py up` as on a laptop, with a database and a port of their own."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

import psycopg
from django.conf import settings
from django.db import connections
from django.test import override_settings
from psycopg import sql

from classroom import work_storage
from classroom.places import CHECKOUT
from deploy.local.services import free_port
from tests import prepared

PATIENCE_SECONDS = 120


class LiveSite:
    """A running site. `url` is its address; `orm()` is its database; `kill("worker")` is `kill -9` of a process.

    Use the module-scoped fixture `live`, or `with LiveSite(django_db_blocker) as site:` for one of a test's own.
    """

    def __init__(self, blocker: Any, **variables: str) -> None:
        self._blocker = blocker
        self.folder = Path(tempfile.mkdtemp(prefix="pl-", dir="/tmp"))
        self.folder.chmod(0o755)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.database = _own_database(self.folder)
        # As a person's terminal has it: no one there asks Python to write each line at once.
        self.environment = {name: text for name, text in os.environ.items() if name != "PYTHONUNBUFFERED"} | {
            "DJANGO_SETTINGS_MODULE": "classroom.settings",
            "DATA_DIR": str(self.folder),
            "PORT": str(self.port),
            "DATABASE_URL": self.database,
            "LOG_LEVEL": "INFO",
            **variables,
        }
        self._supervisor: subprocess.Popen[str] | None = None
        self._lines: list[str] = []

    def __enter__(self) -> Self:
        try:
            prepared.fill(self.folder, self.database_name if self.database else "")
            self.start()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.remove()

    # --- processes

    def start(self) -> None:
        """Start all processes and wait until the site answers."""
        command = [sys.executable, "manage.py", "up"]
        self._supervisor = subprocess.Popen(
            command, cwd=CHECKOUT, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip
        up = threading.Event()
        self._reader = threading.Thread(target=self._read, args=(self._supervisor, up), daemon=True)
        self._reader.start()
        up.wait(PATIENCE_SECONDS)
        if "Pupitre is up" not in self.output:
            self.stop()
            raise AssertionError(f"The site did not come up:\n{self.output}\n{self.logs()}")

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Send `how` to the supervisor and wait until it has ended everything."""
        if self._supervisor is None:
            return
        self._supervisor.send_signal(how)
        try:
            self._supervisor.wait(PATIENCE_SECONDS)
        finally:
            self._reader.join(PATIENCE_SECONDS)
            if self._supervisor.stdout is not None:
                self._supervisor.stdout.close()
            self._supervisor = None

    def pid(self, name: str) -> int:
        """The process id of site, runtimes, worker or beat, once it runs."""
        path = self.folder / "pids" / f"{name}.pid"
        self.until(lambda: path.exists() and path.read_text() != "", f"{name} runs")
        return int(path.read_text())

    def kill(self, name: str, how: signal.Signals = signal.SIGKILL) -> None:
        """`kill -9` of one process, or what it is asked to go by; returns when the supervisor has started another."""
        before = self.pid(name)
        os.kill(before, how)
        self.until(lambda: self._pid_now(name) not in {None, before}, f"{name} runs again")

    def logs(self) -> str:
        """The end of every process's log, for a failing test's message."""
        return "\n".join(
            f"--- {path.name}\n{path.read_text(errors='replace')[-3000:]}"
            for path in sorted((self.folder / "logs").glob("*.log"))
        )

    @property
    def output(self) -> str:
        """What `manage.py up` printed so far."""
        return "".join(self._lines)

    def _pid_now(self, name: str) -> int | None:
        try:
            return int((self.folder / "pids" / f"{name}.pid").read_text())
        except (FileNotFoundError, ValueError):
            return None

    def _read(self, process: subprocess.Popen[str], up: threading.Event) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self._lines.append(line)
            if "Pupitre is up" in line:
                up.set()
        up.set()

    def until(self, holds: Callable[[], object], what: str, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until `holds()`; AssertionError with the logs if it does not within `seconds`."""
        tick = threading.Event()
        for _ in range(int(seconds / 0.05)):
            if holds():
                return
            tick.wait(0.05)
        raise AssertionError(f"Not within {seconds} s: {what}\n{self.logs()}")

    # --- database

    def manage(self, *arguments: str, stderr: int | None = None) -> str:
        """What a management command prints, run on this site's data. Raises CalledProcessError where it fails."""
        return subprocess.run(
            [sys.executable, "manage.py", *arguments], cwd=CHECKOUT, env=self.environment, check=True, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr,
        ).stdout  # fmt: skip

    @contextmanager
    def orm(self) -> Iterator[None]:
        """Inside, models and blobs are this site's (without a transaction around the test). In one thread at a time:
        the database's name and the settings are the whole process's."""
        connection = connections["default"]
        before = connection.settings_dict["NAME"]
        work = work_storage.backend(self.environment.get("WORK_STORAGE", ""), self.folder / "work")
        storages = {**settings.STORAGES, "work": work}
        with self._blocker.unblock(), override_settings(STORAGES=storages, RUN_DIR=self.folder / "run"):
            connection.close()
            connection.settings_dict["NAME"] = self.database_name
            try:
                yield
            finally:
                connection.close()
                connection.settings_dict["NAME"] = before

    @property
    def database_name(self) -> str:
        """The database's name on its server; the file, where it is SQLite's."""
        return urlsplit(self.database).path.strip("/") if self.database else str(self.folder / "db.sqlite3")

    def remove(self) -> None:
        """Remove the data folder and the database. The processes must have ended."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.database:
            name = sql.Identifier(self.database_name)
            with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
                connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))


def _own_database(folder: Path) -> str:
    """A new database on the test run's PostgreSQL; "" for SQLite, which has one in each data folder anyway."""
    server = os.environ.get("DATABASE_URL", "")
    if not server:
        return ""
    name = f"live_{folder.name.replace('-', '_').lower()}_{secrets.token_hex(3)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
