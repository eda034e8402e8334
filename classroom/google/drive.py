"""Copies of students' files in Drive. Storage is the truth; a copy is made after it, and never the other way round.

`DriveBackend` is what the rest relies on; `FolderDrive` is the embedded one, a folder that may be anything a machine
can mount. What somebody changed in Drive by hand is never overwritten: both are kept.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import unicodedata
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from django.conf import settings
from django.utils.module_loading import import_string

from classroom.errors import DriveError, DriveUnavailable

# A name's most bytes on the file systems in use (NAME_MAX of Linux).
_NAME_BYTES = 255
# Of any system that a folder may be mounted from.
_SEPARATORS = frozenset('/\\:*?"<>|')


@dataclass(frozen=True)
class Placed:
    """Where a copy is (`target` says it to the backend next time) and what it holds (SHA-256, hexadecimal).

    `kept` is the target of a file changed by hand that was left beside the copy, "" for none.
    """

    target: str
    sha256: str
    kept: str = ""


class DriveBackend(ABC):
    """One person's place for copies. Methods may be repeated: the same content twice is one file, once."""

    @abstractmethod
    def place(self, *, folders: tuple[str, ...], name: str, data: bytes, target: str, sha256: str) -> Placed:
        """Makes `data` the one copy of a file. `target` and `sha256` are of the last `Placed`, "" for the first time.

        Where the file at `target` no longer holds `sha256`, somebody changed it: it is kept beside the new copy.
        Raises DriveUnavailable (try again later) or DriveError.
        """


def backend() -> DriveBackend:
    """The backend of `settings.DRIVE_BACKEND`."""
    made: DriveBackend = import_string(settings.DRIVE_BACKEND)()
    return made


class FolderDrive(DriveBackend):
    """`DRIVE_DIR`/<course>/<assignment>/<person>/<file>. Replaced in one step: a reader sees old or new, whole."""

    def __init__(self, root: Path | None = None) -> None:
        self._root = root or Path(settings.DRIVE_DIR)

    def place(self, *, folders: tuple[str, ...], name: str, data: bytes, target: str, sha256: str) -> Placed:
        """See `DriveBackend`. A file that is already there and is not ours is kept, too."""
        new = hashlib.sha256(data).hexdigest()
        path = self._root.joinpath(*map(_segment, folders), *map(_segment, PurePosixPath(name).parts))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            there = _sha256(path)
            kept = ""
            if there is not None and there not in (new, sha256):
                kept = self._told(_aside(path, there))
            if there != new:
                _replace(path, data)
            self._move_from(target, path, sha256)
        except (FileNotFoundError, PermissionError, OSError) as error:
            raise DriveUnavailable(f"{type(error).__name__}: {error.strerror}") from error
        return Placed(self._told(path), new, kept)

    def _told(self, path: Path) -> str:
        return path.relative_to(self._root).as_posix()

    def _move_from(self, target: str, path: Path, sha256: str) -> None:
        """After a rename of course, assignment or person there is one copy: the old one goes unless it was changed."""
        if not target:
            return
        old = (self._root / target).resolve()
        if old == path.resolve() or not old.is_relative_to(self._root.resolve()):
            return
        if _sha256(old) == sha256:
            old.unlink(missing_ok=True)


def _segment(name: str) -> str:
    """A name of one folder or file: no separator, control character or dot at the start, not too long."""
    plain = unicodedata.normalize("NFC", name)
    plain = "".join("_" if char in _SEPARATORS or unicodedata.category(char)[0] == "C" else char for char in plain)
    plain = plain.strip().lstrip(".") or "_"
    while len(plain.encode()) > _NAME_BYTES - 40:
        stem, dot, ending = plain.rpartition(".")
        plain = f"{stem[:-1]}{dot}{ending}" if len(stem) > 1 else plain[:-1]
    return plain


def _sha256(path: Path) -> str | None:
    """What the file holds; None where there is none. Raises DriveError for what is no file."""
    if path.is_symlink() or path.is_dir():
        raise DriveError(f"{path.name} is no file")
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except FileNotFoundError:
        return None


def _aside(path: Path, sha256: str) -> Path:
    """Keeps a changed file under a name of its own: the same change twice is kept once."""
    other = path.with_name(f"{path.stem} (changed in Drive {sha256[:8]}){path.suffix}")
    return path.replace(other)


def _replace(path: Path, data: bytes) -> None:
    new = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with new.open("xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
