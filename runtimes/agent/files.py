"""The runtime's home folder: files written into it, and what changed since the site had it. Follows no link."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from .archive import ArchiveRefused, check_path

# Caches and front-end litter: they can be made again and are nobody's work.
SKIPPED_FOLDERS = frozenset(
    {
        "__pycache__",
        ".cache",
        ".ipynb_checkpoints",
        ".ipython",
        ".jupyter",
        ".matplotlib",
        ".mypy_cache",
        ".npm",
        ".pytest_cache",
        ".ruff_cache",
        ".virtual_documents",
    }
)
TEMPORARY = ".pupitre-"
MAX_FOLDERS = 20_000
_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
Mark = tuple[int, int, int, int]


@dataclass
class Changes:
    """What `Home.changes` found; `token` acknowledges it."""

    files: list[tuple[str, bytes]] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    token: str = ""
    more: bool = False
    complete: bool = True


@dataclass(frozen=True)
class Bounds:
    """How much one pull may carry."""

    max_files: int
    max_bytes: int
    max_file_bytes: int


class Home:
    """One folder and what the other side is known to have of it."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._known: dict[str, Mark] = {}
        self._offered: dict[str, tuple[dict[str, Mark], list[str]]] = {}

    def write(self, files: Mapping[str, bytes]) -> None:
        """Writes each file whole or not at all. Raises ArchiveRefused for an unsafe path, OSError without room."""
        for path in files:
            check_path(path)
        for path, data in files.items():
            *folders, name = path.split("/")
            folder = self._enter(folders)
            try:
                self._known[path] = _replace(folder, name, data)
            finally:
                os.close(folder)

    def remove(self, paths: Iterable[str], *, only_known: bool) -> None:
        """Takes away files, links, and folders with all in them; what is not there is fine. `changes` forgets them.

        only_known: what the other side has not got as it is here stays. Raises ArchiveRefused for an unsafe path,
        OSError, at the end, for what could not be removed."""
        wanted = [check_path(path) for path in paths]
        failed: OSError | None = None
        for path in wanted:
            try:
                self._remove(path, only_known=only_known)
            except OSError as error:
                failed = error if error.errno not in _NOT_THERE else failed
            self._forget(path)
        if failed is not None:
            raise failed

    def _remove(self, path: str, *, only_known: bool) -> None:
        *folders, name = path.split("/")
        parent = self._enter(folders, make=False)
        try:
            if not stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                self._unlink(name, parent, path, only_known=only_known)
                return
            above = path[: -len(name)]
            for folder, below, names, here in os.fwalk(name, topdown=False, dir_fd=parent):
                for one in (*below, *names):
                    self._unlink(one, here, f"{above}{folder}/{one}", only_known=only_known)
            _remove_folder(name, parent, only_known=only_known)
        finally:
            os.close(parent)

    def _unlink(self, name: str, folder: int, path: str, *, only_known: bool) -> None:
        """Removes one entry; a folder is empty by now, unless something in it stays."""
        seen = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if stat.S_ISDIR(seen.st_mode):
            _remove_folder(name, folder, only_known=only_known)
        elif not only_known or self._known.get(path) == _mark(seen):
            os.unlink(name, dir_fd=folder)

    def _forget(self, path: str) -> None:
        """Nothing that was known or offered below `path` counts: not as gone, nor once it is acknowledged."""
        for marks in (self._known, *(marks for marks, _deleted in self._offered.values())):
            for one in [one for one in marks if one == path or one.startswith(path + "/")]:
                del marks[one]

    def changes(self, bounds: Bounds) -> Changes:
        """New, changed and deleted files since what was acknowledged last."""
        found = Changes(token=secrets.token_hex(8))
        marks: dict[str, Mark] = {}
        present = set()
        room = bounds.max_bytes
        for path, seen in self._walk(found):
            present.add(path)
            if self._known.get(path) == _mark(seen):
                continue
            if seen.st_size > bounds.max_file_bytes:
                found.skipped[path] = "too large"
            elif len(found.files) >= bounds.max_files or seen.st_size > room:
                found.more = True
            else:
                room -= self._take(path, bounds.max_file_bytes, found, marks)
        if found.complete:
            # A folder that could not be read must not look like one that was emptied.
            found.deleted = sorted(set(self._known) - present - set(found.skipped))
        self._offered = {found.token: (marks, found.deleted)}
        return found

    def acknowledge(self, token: str) -> None:
        """The other side has what was found under `token`."""
        marks, deleted = self._offered.pop(token, ({}, []))
        self._known.update(marks)
        for path in deleted:
            self._known.pop(path, None)

    def _take(self, path: str, max_bytes: int, found: Changes, marks: dict[str, Mark]) -> int:
        """Reads one file into `found` and returns its size."""
        try:
            data, mark = self._read(path, max_bytes)
        except OSError as error:
            found.skipped[path] = os.strerror(error.errno or 0)
            return 0
        if data is None:
            found.skipped[path] = "changed while it was read"
            return 0
        found.files.append((path, data))
        marks[path] = mark
        return len(data)

    def _read(self, path: str, max_bytes: int) -> tuple[bytes | None, Mark]:
        *folders, name = path.split("/")
        folder = self._enter(folders, make=False)
        try:
            # Without O_NONBLOCK, a pipe that took the file's place would hold us for ever.
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        finally:
            os.close(folder)
        with os.fdopen(descriptor, "rb") as handle:
            seen = os.fstat(descriptor)
            data = handle.read(max_bytes + 1) if stat.S_ISREG(seen.st_mode) else None
            return (data if data is not None and len(data) == seen.st_size else None), _mark(seen)

    def _walk(self, found: Changes) -> Iterator[tuple[str, os.stat_result]]:
        """Every plain file with a usable name; links and the like go to `found.skipped`."""
        waiting = [""]
        visited = 0
        while waiting:
            folder = waiting.pop()
            visited += 1
            if visited > MAX_FOLDERS:
                found.skipped[folder] = "too many folders"
                found.complete = False
                return
            for entry in self._entries(folder, found):
                path = f"{folder}/{entry.name}" if folder else entry.name
                kind = _kind(entry)
                if kind == "folder":
                    if entry.name not in SKIPPED_FOLDERS:
                        waiting.append(path)
                elif kind != "file" or not _storable(path):
                    found.skipped[path.encode("utf-8", "replace").decode()] = "a link, device or unusable name"
                elif not entry.name.startswith(TEMPORARY):
                    with suppress(FileNotFoundError):
                        yield path, entry.stat(follow_symlinks=False)

    def _entries(self, folder: str, found: Changes) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(f"{self._root}/{folder}") as entries:
                return sorted(entries, key=lambda entry: entry.name)
        except OSError:
            found.complete = False
            return []

    def _enter(self, folders: list[str], *, make: bool = True) -> int:
        """A descriptor of a folder below home; what stands in the way of a pushed folder is removed."""
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        here = os.open(self._root, flags)
        for name in folders:
            try:
                below = _open_folder(name, here, flags, make=make)
            finally:
                os.close(here)
            here = below
        return here


def _open_folder(name: str, parent: int, flags: int, *, make: bool) -> int:
    try:
        return os.open(name, flags, dir_fd=parent)
    except OSError as error:
        if not make or error.errno not in _NOT_THERE:
            raise
        if error.errno != errno.ENOENT:
            os.unlink(name, dir_fd=parent)
    os.mkdir(name, 0o755, dir_fd=parent)
    return os.open(name, flags, dir_fd=parent)


def _remove_folder(name: str, parent: int, *, only_known: bool) -> None:
    try:
        os.rmdir(name, dir_fd=parent)
    except OSError as error:
        if not (only_known and error.errno == errno.ENOTEMPTY):
            raise


def _replace(folder: int, name: str, data: bytes) -> Mark:
    temporary = f"{TEMPORARY}{secrets.token_hex(8)}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644, dir_fd=folder)
    try:
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(data)
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError as error:
        with suppress(OSError):
            os.unlink(temporary, dir_fd=folder)
        if error.errno == errno.EISDIR:
            raise ArchiveRefused(f"{name!r} is a folder there") from error
        raise
    return _mark(os.stat(name, dir_fd=folder, follow_symlinks=False))


def _mark(seen: os.stat_result) -> Mark:
    return seen.st_mtime_ns, seen.st_ctime_ns, seen.st_size, seen.st_ino


def _kind(entry: os.DirEntry[str]) -> str:
    if entry.is_symlink():
        return "link"
    if entry.is_dir(follow_symlinks=False):
        return "folder"
    return "file" if entry.is_file(follow_symlinks=False) else "device"


def _storable(path: str) -> bool:
    try:
        return bool(check_path(path))
    except ArchiveRefused:
        return False
