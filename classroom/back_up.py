"""The whole site into a folder: the database as of one moment, and every stored file that it names.

`FOLDER/files/` holds the files of all backups there, each once, under the names that storage gives them;
`FOLDER/<moment>/` holds one backup's dump, the list of its files and what is said of it. A second backup copies only
what is new.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import batched
from pathlib import Path

from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone

from classroom import dumps
from classroom.errors import ClassroomError
from runtimes import blobs, leases

FORMAT = 1
MANIFEST, FILE_LIST, FILES = "manifest.json", "files.txt", "files"
#: How long a backup waits for a sweep to end, in seconds.
SWEEP_PATIENCE = 600.0
_CHUNK = 1 << 20
#: So many files are asked for before the next are.
BATCH = 500
SYNCS = 16

Say = Callable[[str], None]


class BackupError(ClassroomError):
    """Nothing could be backed up or brought back; the text says why and what to do."""


@dataclass(frozen=True)
class Manifest:
    """What is said of one backup. `files` and `file_bytes` count what its database names."""

    format: int
    made_at: str
    vendor: str
    dump_sha256: str
    migrations: list[list[str]]
    files: int
    file_bytes: int


def back_up(folder: Path, say: Say) -> Path:
    """A new backup in `folder`, whole once its name stands there. Safe while the site runs, and to repeat.

    Raises BackupError, dumps.DumpError, StorageAway, leases.Held (a sweep does not end)."""
    now = timezone.now()
    name = now.strftime("%Y-%m-%dT%H-%M-%SZ")
    files, target, part = folder / FILES, folder / name, folder / f".{name}.part"
    if target.exists():
        raise BackupError(f"{target} is there already. Wait a second.")
    files.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(mode=0o700)
    with leases.hold(leases.STORED_FILES, wait_seconds=SWEEP_PATIENCE) as renew, dumps.dumped(part) as (dump, named):
        say("The database is written; now the files.")
        count, size = _copy_files(named, files, part / FILE_LIST, renew)
        manifest = Manifest(
            format=FORMAT,
            made_at=now.isoformat(),
            vendor=connection.vendor,
            dump_sha256=sha256_of(dump),
            migrations=applied(),
            files=count,
            file_bytes=size,
        )
    (part / MANIFEST).write_text(json.dumps(asdict(manifest), indent=1) + "\n")
    blobs.sync(part / MANIFEST)
    part.rename(target)
    blobs.sync(folder)
    say(f"{target}: {count} files, {size / 2**20:.1f} MiB of them in all.")
    return target


def applied() -> list[list[str]]:
    """The migrations that this database has, as (app, name)."""
    return sorted([app, name] for app, name in MigrationRecorder(connection).applied_migrations())


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _copy_files(
    named: Iterable[tuple[str, int]], files: Path, listed: Path, renew: Callable[[], None]
) -> tuple[int, int]:
    """Copies what is not there yet, and writes the list. How many files, and how many bytes."""
    count = total = 0
    copied: list[Path] = []
    with listed.open("w") as stream:
        for batch in batched(named, BATCH):
            renew()
            stream.writelines(f"{sha256} {size}\n" for sha256, size in batch)
            lacking = [sha256 for sha256, size in batch if not _has(files / blobs.blob_name(sha256), size)]
            copied += blobs.at_once(lambda sha256: _copy(sha256, files / blobs.blob_name(sha256)), lacking)
            count, total = count + len(batch), total + sum(size for _sha256, size in batch)
    # On disk before the backup has its name; many at once, since a disk writes them together.
    with ThreadPoolExecutor(SYNCS) as pool:
        list(pool.map(blobs.sync, [listed, *copied]))
    return count, total


def _has(target: Path, size: int) -> bool:
    return target.is_file() and target.stat().st_size == size


def _copy(sha256: str, target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    aside, digest = target.with_name(f".{sha256}.part"), hashlib.sha256()
    try:
        with blobs.open_blob(sha256) as source, aside.open("wb") as copy:
            for chunk in source.chunks(_CHUNK):
                digest.update(chunk)
                copy.write(chunk)
    except FileNotFoundError as error:
        aside.unlink(missing_ok=True)
        raise BackupError(f"Storage has lost the file {sha256}: bring it back from an older backup first.") from error
    if digest.hexdigest() != sha256:
        aside.unlink()
        raise BackupError(f"The stored file {sha256} has other content: bring it back from an older backup first.")
    aside.replace(target)
    return target
