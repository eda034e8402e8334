"""The runtime's home folder: files written into it, and what changed since the site had it. Follows no link."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from .archive import check_path
from .entries import (
    NOT_THERE,
    TEMPORARY,
    Mark,
    check_free,
    kind,
    mark,
    open_folder,
    remove_folder,
    replace,
    storable,
)
from .wire import fitting

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
MAX_FOLDERS = 20_000


@dataclass
class Changes:
    """What `Home.changes` found; `token` acknowledges it."""

    files: list[tuple[str, bytes]] = field(default_factory=list)
    executable: set[str] = field(default_factory=set)
    deleted: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    token: str = ""
    more: bool = False
    complete: bool = True

    def tell_deleted(self, paths: list[str]) -> None:
        """Names what is gone, as far as one answer goes. The rest comes first the next time, before what may be where
        it was."""
        self.deleted = fitting(paths)
        if len(self.deleted) < len(paths):
            self.files, self.more = [], True


@dataclass(frozen=True)
class Bounds:
    """How much one pull may carry. room: what the other side can take of files that it has not got; None for any."""

    max_files: int
    max_bytes: int
    max_file_bytes: int
    room: int | None = None

    def refusal(self, size: int, *, is_known: bool) -> str:
        """Why a file of so many bytes is not carried, as a word for programs; "" if it is."""
        if size > self.max_file_bytes:
            return "too-large"
        return "no-room" if self.room is not None and not is_known and size > self.room else ""


class Home:
    """One folder and what the other side is known to have of it."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._known: dict[str, Mark] = {}
        self._offered: dict[str, tuple[dict[str, Mark], list[str]]] = {}
        # What the other side did not take in this round of pulls.
        self._left: set[str] = set()

    def write(self, files: Mapping[str, bytes], executable: Collection[str] = frozenset()) -> None:
        """Writes each file whole or not at all; `executable` may be run. Raises ArchiveRefused for an unsafe path,
        OSError without room."""
        for path in files:
            check_path(path)
        for path, data in files.items():
            *folders, name = path.split("/")
            folder = self._enter(folders)
            try:
                self._known[path] = replace(folder, name, data, executable=path in executable)
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
                failed = error if error.errno not in NOT_THERE else failed
            self._forget(path)
        if failed is not None:
            raise failed

    def rename(self, old: str, new: str) -> None:
        """Moves a file, or a folder with all in it: whoever works there is there still, under the new name.

        Raises ArchiveRefused for an unsafe path, OSError where there is nothing to move or something in the way."""
        *folders, name = check_path(old).split("/")
        *above, target = check_path(new).split("/")
        source = self._enter(folders, make=False)
        try:
            before = os.stat(name, dir_fd=source, follow_symlinks=False)
            folder = self._enter(above)
            try:
                check_free(target, folder)
                os.rename(name, target, src_dir_fd=source, dst_dir_fd=folder)
                self._follow(old, new, mark(before), mark(os.stat(target, dir_fd=folder, follow_symlinks=False)))
            finally:
                os.close(folder)
        finally:
            os.close(source)

    def _follow(self, old: str, new: str, before: Mark, after: Mark) -> None:
        """What was known below `old` is known below `new`; renaming changed the mark of `old` itself."""
        known = {path: one for path, one in self._known.items() if path == old or path.startswith(old + "/")}
        self._forget(old)
        for path, one in known.items():
            self._known[new + path[len(old) :]] = after if path == old and one == before else one

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
            remove_folder(name, parent, only_known=only_known)
        finally:
            os.close(parent)

    def _unlink(self, name: str, folder: int, path: str, *, only_known: bool) -> None:
        """Removes one entry; a folder is empty by now, unless something in it stays."""
        seen = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if stat.S_ISDIR(seen.st_mode):
            remove_folder(name, folder, only_known=only_known)
        elif not only_known or self._known.get(path) == mark(seen):
            os.unlink(name, dir_fd=folder)

    def _forget(self, path: str) -> None:
        """Nothing that was known or offered below `path` counts: not as gone, nor once it is acknowledged."""
        for marks in (self._known, *(marks for marks, _deleted in self._offered.values())):
            for one in [one for one in marks if one == path or one.startswith(path + "/")]:
                del marks[one]

    def changes(self, bounds: Bounds, *, again: bool) -> Changes:
        """New, changed and deleted files since what was acknowledged last. again: a new round, in which what the
        other side did not take in the last one is told again."""
        found = Changes(token=secrets.token_hex(8))
        self._left = set() if again else self._left
        marks: dict[str, Mark] = {}
        present = set()
        room = bounds.max_bytes
        for path, seen in self._walk(found):
            present.add(path)
            if self._known.get(path) == mark(seen) or path in self._left:
                continue
            if why := bounds.refusal(seen.st_size, is_known=path in self._known):
                found.skipped[path] = why
            elif len(found.files) >= bounds.max_files or seen.st_size > room:
                found.more = True
            else:
                room -= self._take(path, bounds.max_file_bytes, found, marks)
        if found.complete:
            # A folder that could not be read must not look like one that was emptied.
            found.tell_deleted(sorted(set(self._known) - present - set(found.skipped)))
            marks = {path: marks[path] for path, _data in found.files}
        self._offered = {found.token: (marks, found.deleted)}
        return found

    def acknowledge(self, token: str, without: Iterable[str]) -> None:
        """The other side has what was found under `token`, but for the paths in `without`."""
        marks, deleted = self._offered.pop(token, ({}, []))
        for path in without:
            marks.pop(path, None)
            self._left.add(path)
        self._known.update(marks)
        for path in deleted:
            self._known.pop(path, None)

    def _take(self, path: str, max_bytes: int, found: Changes, marks: dict[str, Mark]) -> int:
        """Reads one file into `found` and returns its size."""
        try:
            data, seen = self._read(path, max_bytes)
        except OSError as error:
            found.skipped[path] = "gone" if error.errno in NOT_THERE else "unreadable"
            return 0
        if data is None:
            found.skipped[path] = "changing"
            return 0
        found.files.append((path, data))
        if seen.st_mode & stat.S_IXUSR:
            found.executable.add(path)
        marks[path] = mark(seen)
        return len(data)

    def _read(self, path: str, max_bytes: int) -> tuple[bytes | None, os.stat_result]:
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
            return (data if data is not None and len(data) == seen.st_size else None), seen

    def _walk(self, found: Changes) -> Iterator[tuple[str, os.stat_result]]:
        """Every plain file with a usable name; links and the like go to `found.skipped`."""
        waiting = [""]
        visited = 0
        while waiting:
            folder = waiting.pop()
            visited += 1
            if visited > MAX_FOLDERS:
                found.skipped[folder] = "too-many-folders"
                found.complete = False
                return
            for entry in self._entries(folder, found):
                path = f"{folder}/{entry.name}" if folder else entry.name
                what = kind(entry)
                if what == "folder":
                    if entry.name not in SKIPPED_FOLDERS:
                        waiting.append(path)
                elif what != "file" or not storable(path):
                    found.skipped[path.encode("utf-8", "replace").decode()] = "not-a-file"
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
                below = open_folder(name, here, flags, make=make)
            finally:
                os.close(here)
            here = below
        return here
