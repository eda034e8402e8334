"""The whole database as one file, as of one moment, and back: by the database's own means.

SQLite: its online backup (sqlite.org/backup.html). PostgreSQL: pg_dump on an exported snapshot, so that what is read
beside it is of the same moment (PostgreSQL's documentation, "Snapshot Synchronization Functions").
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from django.db import connection
from django.db.backends.utils import CursorWrapper

from classroom.errors import ClassroomError
from runtimes import blobs

NAMED = "SELECT sha256, size FROM runtimes_blob ORDER BY sha256"
FILE_NAMES = {"sqlite": "database.sqlite3", "postgresql": "database.dump"}


class DumpError(ClassroomError):
    """The database's own programs could not write or read a dump; the text says what they said."""


@contextmanager
def dumped(folder: Path) -> Iterator[tuple[Path, Iterator[tuple[str, int]]]]:
    """A dump in `folder`, and (SHA-256, size in bytes) of every stored file that it names, to be read in the body."""
    target = folder / FILE_NAMES[connection.vendor]
    if connection.vendor == "sqlite":
        _copy_sqlite(_sqlite_path(), target)
        with closing(sqlite3.connect(target)) as copy:
            yield target, iter(copy.execute(NAMED))
        return
    if refusal := older_clients():
        raise DumpError(refusal)
    # On a connection of its own: what the site does meanwhile, and this process too, is not of that moment.
    with closing(connection.copy()) as apart, apart.cursor() as cursor:
        cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        cursor.execute("SELECT pg_export_snapshot()")
        (snapshot,) = cursor.fetchone()
        _postgres("pg_dump", "--format=custom", "--no-owner", "--no-acl", f"--snapshot={snapshot}", f"--file={target}")
        cursor.execute(f"DECLARE named NO SCROLL CURSOR FOR {NAMED}")
        yield target, _rows(cursor)


def older_clients() -> str:
    """Why pg_dump will dump nothing: it refuses a server of a newer major version (PostgreSQL's documentation, pg_dump,
    Notes). "" where it does not, or is not here. Raises what Django does where the database does not answer."""
    if connection.vendor != "postgresql" or shutil.which("pg_dump") is None:
        return ""
    told = subprocess.run(["pg_dump", "--version"], capture_output=True, text=True, check=False).stdout
    version = re.search(r"\(PostgreSQL\) (\d+)", told)
    # 180001 is 18.1.
    server = int(getattr(connection, "pg_version")) // 10000  # noqa: B009 - PostgreSQL's backend alone has it
    if version is None or int(version[1]) >= server:
        return ""
    return (
        f"The server is PostgreSQL {server}, and the client programs here are {version[1]}'s, which cannot dump it: "
        f"install postgresql-client-{server}, or build the site's image on a base that has it."
    )


def _rows(cursor: CursorWrapper) -> Iterator[tuple[str, int]]:
    while True:
        cursor.execute("FETCH 2000 FROM named")
        found = cursor.fetchall()
        yield from found
        if not found:
            return


def bring_back(dump: Path) -> None:
    """Puts the dump in the place of the whole database, in one step: it is as it was, or all of the dump.

    The connection is closed. Raises DumpError."""
    connection.close()
    if connection.vendor == "sqlite":
        path = _sqlite_path()
        aside = path.with_name(f".{path.name}.coming")
        _copy_sqlite(dump, aside)
        if path.exists():
            _alone(path)
        aside.replace(path)
        return
    with tempfile.TemporaryDirectory(dir=dump.parent, prefix=".restore-") as folder:
        script, known = Path(folder) / "script", Path(folder) / "known"
        _run("pg_restore", "--clean", "--if-exists", "--no-owner", "--no-acl", f"--file={script}", str(dump))
        with script.open("rb") as lines, known.open("wb") as kept:
            kept.writelines(known_to_every_server(lines))
        script.unlink()
        words = ["--no-psqlrc", "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1"]
        _postgres("psql", *words, f"--output={os.devnull}", f"--file={known}")


def known_to_every_server(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Without what client programs of 17 and newer set at the beginning, and servers before refuse."""
    told = False
    for line in lines:
        if not told and line.rstrip() == b"SET transaction_timeout = 0;":
            told = True
        else:
            yield line


def _sqlite_path() -> Path:
    return Path(connection.settings_dict["NAME"])


def _alone(path: Path) -> None:
    """Brings a database's log home, which SQLite does only for the one connection there is."""
    with closing(sqlite3.connect(path, timeout=1)) as old:
        try:
            (mode,) = old.execute("PRAGMA journal_mode=DELETE").fetchone()
        except sqlite3.OperationalError as error:
            raise DumpError(f"{path} is open elsewhere ({error}): stop every process of the site first.") from error
    if mode != "delete":
        raise DumpError(f"{path} is open elsewhere: stop every process of the site first.")


def _copy_sqlite(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    with closing(sqlite3.connect(source)) as origin, closing(sqlite3.connect(target)) as copy:
        origin.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")  # one file, and no log beside it
    blobs.sync(target)


def _postgres(program: str, *arguments: str) -> None:
    """Runs pg_dump or psql on the site's database. The password goes by the environment, as for psql."""
    # psql's own words: how to sign in, and last the database's name.
    (_psql, *sign_in, name), environment = connection.client.settings_to_cmd_args_env(connection.settings_dict, [])
    _run(program, *sign_in, f"--dbname={name}", *arguments, **(environment or {}))


def _run(program: str, *arguments: str, **environment: str) -> None:
    if shutil.which(program) is None:
        raise DumpError(f"{program} is not installed: install PostgreSQL's client programs (postgresql-client).")
    done = subprocess.run(
        [program, *arguments], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise DumpError(f"{program} failed: {done.stderr.strip()[-2000:]}")
