"""What `manage.py prepare` makes of an empty data folder and an empty database: made once in a test run, then copied.

It takes seconds of a processor, and two dozen sites are started in a run. That a site starts from nothing is tested by
the demo (`tests.setup.test_demo`), and by making what is copied here.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

import psycopg
from psycopg import sql

from tests.settings import TEST_RUN_DIR

#: The server that the run was given. A test with one of its own starts from nothing there.
SERVER = os.environ.get("DATABASE_URL", "")
_NOTED = TEST_RUN_DIR / "prepared"


def fill(folder: Path, database: str) -> None:
    """Puts into a site's empty data folder and empty database (a name, "" for SQLite) what its first start would."""
    if os.environ.get("DATABASE_URL", "") != SERVER:
        return
    with _NOTED.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _NOTED.exists():
            _make()
        ready, its_database = _noted()
        if database:
            _copy_database(its_database, database)
    for file in ready.glob("db.sqlite3*"):
        shutil.copy2(file, folder)
    # Nobody writes into a collected file: a new one takes its place.
    shutil.copytree(ready / "static", folder / "static", copy_function=os.link)


def remove() -> None:
    """At the end of a run, by its first process."""
    if not _NOTED.exists():
        return
    folder, database = _noted()
    shutil.rmtree(folder, ignore_errors=True)
    if database:
        with psycopg.connect(SERVER, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database)))
    _NOTED.unlink()


def _make() -> None:
    from tests.live import LiveSite

    site = LiveSite(None)
    try:
        site.manage("prepare")
    except BaseException:
        site.remove()
        raise
    _NOTED.write_text(f"{site.folder}\n{site.database_name if site.database else ''}")


def _noted() -> tuple[Path, str]:
    folder, database = _NOTED.read_text().split("\n")
    return Path(folder), database


def _copy_database(source: str, target: str) -> None:
    """One at a time: PostgreSQL copies no database that anybody is connected to, as another copy is."""
    with psycopg.connect(SERVER, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(target)))
        copied = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        connection.execute(copied.format(sql.Identifier(target), sql.Identifier(source)))
