"""Single entries of folders, by descriptor: no link is followed."""

from __future__ import annotations

import errno
import os
import secrets
from contextlib import suppress

from .archive import ArchiveRefused, check_path

TEMPORARY = ".pupitre-"
NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
# Modified, changed, size, inode.
Mark = tuple[int, int, int, int]


def open_folder(name: str, parent: int, flags: int, *, make: bool) -> int:
    """A descriptor of one folder in another. make: it is made, in the place of what is no folder. Raises OSError."""
    try:
        return os.open(name, flags, dir_fd=parent)
    except OSError as error:
        if not make or error.errno not in NOT_THERE:
            raise
        if error.errno != errno.ENOENT:
            os.unlink(name, dir_fd=parent)
    os.mkdir(name, 0o755, dir_fd=parent)
    return os.open(name, flags, dir_fd=parent)


def check_free(name: str, folder: int) -> None:
    """Raises FileExistsError if there is something of that name."""
    with suppress(FileNotFoundError):
        os.stat(name, dir_fd=folder, follow_symlinks=False)
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)


def remove_folder(name: str, parent: int, *, only_known: bool) -> None:
    """Removes an empty folder, unless a volume is mounted there. only_known: one that is not empty stays.
    Raises OSError."""
    if os.stat(name, dir_fd=parent, follow_symlinks=False).st_dev != os.fstat(parent).st_dev:
        return
    try:
        os.rmdir(name, dir_fd=parent)
    except OSError as error:
        if not (only_known and error.errno == errno.ENOTEMPTY):
            raise


def replace(folder: int, name: str, data: bytes, *, executable: bool) -> Mark:
    """Makes `data` the content of a file, whole or not at all. Raises ArchiveRefused over a folder, or OSError."""
    temporary = f"{TEMPORARY}{secrets.token_hex(8)}"
    mode = 0o755 if executable else 0o644
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode, dir_fd=folder)
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
    return mark(os.stat(name, dir_fd=folder, follow_symlinks=False))


def mark(seen: os.stat_result) -> Mark:
    """What tells a file that was changed from one that was not."""
    return seen.st_mtime_ns, seen.st_ctime_ns, seen.st_size, seen.st_ino


def kind(entry: os.DirEntry[str]) -> str:
    """file, folder, link or device."""
    if entry.is_symlink():
        return "link"
    if entry.is_dir(follow_symlinks=False):
        return "folder"
    return "file" if entry.is_file(follow_symlinks=False) else "device"


def storable(path: str) -> bool:
    """The other side takes files of this name."""
    try:
        return bool(check_path(path))
    except ArchiveRefused:
        return False
