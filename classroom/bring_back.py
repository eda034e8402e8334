"""A backup in the place of the whole site: first the files, then the database in one step. The site stands still."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import batched
from pathlib import Path

from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.db import DatabaseError, connection
from django.db.migrations.loader import MigrationLoader

from classroom import dumps
from classroom.back_up import BATCH, FILE_LIST, FILES, FORMAT, MANIFEST, BackupError, Manifest, Say, sha256_of
from classroom.people.models import User
from runtimes import blobs, leases, sole
from runtimes.models import Lease, Ticket


@dataclass(frozen=True)
class Found:
    """A backup that can be brought back: everything of it is there and as it was."""

    folder: Path
    manifest: Manifest

    @property
    def dump(self) -> Path:
        return self.folder / dumps.FILE_NAMES[self.manifest.vendor]

    def files(self) -> Iterator[tuple[str, int, Path]]:
        """SHA-256, size in bytes and place of every file."""
        with (self.folder / FILE_LIST).open() as lines:
            for line in lines:
                sha256, size = line.split()
                yield sha256, int(size), self.folder.parent / FILES / blobs.blob_name(sha256)


def newest(folder: Path) -> Path:
    """The newest whole backup in a folder of backups. Raises BackupError where there is none."""
    found = sorted(path.parent for path in folder.glob(f"*/{MANIFEST}") if not path.parent.name.startswith("."))
    if not found:
        raise BackupError(f"There is no backup in {folder}: name the folder that `manage.py backup` was given.")
    return found[-1]


def find(folder: Path) -> Found:
    """Looks at one backup, changing nothing. Raises BackupError with what is wrong and what to do."""
    try:
        manifest = Manifest(**json.loads((folder / MANIFEST).read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise BackupError(f"{folder} is no backup: its {MANIFEST} cannot be read ({error}).") from error
    if manifest.format != FORMAT:
        raise BackupError(f"{folder} has format {manifest.format}, which this version does not know: use a newer one.")
    if manifest.vendor != connection.vendor:
        raise BackupError(f"{folder} is of {manifest.vendor}, this site uses {connection.vendor}: set DATABASE_URL.")
    known = set(MigrationLoader(None, ignore_no_migrations=True).disk_migrations)
    if newer := [f"{app}.{name}" for app, name in manifest.migrations if (app, name) not in known]:
        raise BackupError(f"{folder} was made by a newer version (it has {newer[-1]}): install that one first.")
    found = Found(folder, manifest)
    if not found.dump.is_file() or sha256_of(found.dump) != manifest.dump_sha256:
        raise BackupError(f"{found.dump} is missing or damaged: take another backup.")
    for sha256, size, path in found.files():
        if not path.is_file() or path.stat().st_size != size:
            raise BackupError(f"{path} is missing or damaged ({sha256}): take another backup.")
    return found


def bring_back(found: Found, say: Say, *, replace: bool = False) -> None:
    """The site as it was. Files are added and none is taken away; then the database is replaced in one step and brought
    to this version's tables; everyone has to sign in again. Safe to repeat.

    replace: also where the database has people already. Raises BackupError, dumps.DumpError, StorageAway."""
    if _is_used() and not replace:
        raise BackupError("This site has people and work already. To throw them away, say --replace.")
    if _runs():
        raise BackupError("The site is running. Stop every process of it first: site, runtimes, worker and beat.")
    if _sweeps():
        raise BackupError(
            "A sweep of files or a backup is running: wait until it has ended, or for five minutes if it died."
        )
    added = sum(blobs.at_once(_put, batch).count(True) for batch in batched(found.files(), BATCH))
    say(f"{found.manifest.files} files are there, {added} of them new.")
    dumps.bring_back(found.dump)
    call_command("migrate", interactive=False, verbosity=0)
    # Who signed out since would be signed in again, and a link that was used could be used again.
    Session.objects.all().delete()
    Ticket.objects.all().delete()
    # Of processes that ran then; the backup's own is among them.
    Lease.objects.all().delete()
    say(f"The database is that of {found.manifest.made_at}. Start the site; everyone signs in again.")


def _is_used() -> bool:
    try:
        return User.objects.exists()
    except DatabaseError:  # no tables yet
        return False


def _runs() -> bool:
    try:
        return sole.is_held()
    except DatabaseError:
        return False


def _sweeps() -> bool:
    """Whether files are taken away or copied now. A sweep does not know what is brought back, and would delete it."""
    try:
        return leases.is_held(leases.STORED_FILES)
    except DatabaseError:
        return False


def _put(file: tuple[str, int, Path]) -> bool:
    """Whether the file was not in storage yet."""
    sha256, _size, path = file
    if blobs.work_storage().exists(blobs.blob_name(sha256)):
        return False
    data = path.read_bytes()
    if blobs.digest(data) != sha256:
        raise BackupError(f"{path} is damaged: take another backup. Nothing of the database was changed.")
    blobs.save_bytes(sha256, data)
    return True
