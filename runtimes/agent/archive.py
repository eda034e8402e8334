"""Files as one tar in memory: how they travel between the site and a runtime, checked in both directions."""

from __future__ import annotations

import io
import stat
import tarfile
from collections.abc import Collection, Iterable, Mapping

MAX_FILES = 20_000
MAX_PATH_BYTES = 1000


class ArchiveRefused(ValueError):
    """An unsafe path, a link, or more than the limits allow."""


class Unpacked(dict[str, bytes]):
    """Path → content. `executable`: which of them may be run; nothing else is taken of what a tar says of its files."""

    def __init__(self) -> None:
        super().__init__()
        self.executable: set[str] = set()


def check_path(path: str) -> str:
    """`path` itself if it is relative, plain and below the folder it will be written to. Raises ArchiveRefused."""
    parts = path.split("/")
    unsafe = not path or path.startswith("/") or "\0" in path or any(part in ("", ".", "..") for part in parts)
    try:
        too_long = len(path.encode("utf-8")) > MAX_PATH_BYTES
    except UnicodeEncodeError as error:
        raise ArchiveRefused(f"not a Unicode path: {path!r}") from error
    if unsafe or too_long:
        raise ArchiveRefused(f"unsafe path: {path[:100]!r}")
    return path


def pack_files(
    files: Mapping[str, bytes] | Iterable[tuple[str, bytes]], executable: Collection[str] = frozenset()
) -> bytes:
    """A tar of plain files, of which some may be run. Raises ArchiveRefused for an unsafe path."""
    buffer = io.BytesIO()
    pairs = files.items() if isinstance(files, Mapping) else files
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, data in pairs:
            entry = tarfile.TarInfo(check_path(path))
            entry.size = len(data)
            entry.mode = 0o700 if path in executable else 0o600
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def unpack_files(payload: bytes, *, max_files: int = MAX_FILES, max_bytes: int | None = None) -> Unpacked:
    """The files of a tar. Raises ArchiveRefused for anything but plain files with safe paths within the limits.

    A tar entry cannot be larger than the archive that holds it (sparse entries are refused), so nothing expands."""
    files = Unpacked()
    total = 0
    try:
        with tarfile.open(fileobj=io.BytesIO(payload), mode="r:") as archive:
            for entry in archive:
                if entry.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or entry.issparse():
                    raise ArchiveRefused(f"not a plain file: {entry.name[:100]!r}")
                total += entry.size
                if len(files) >= max_files or (max_bytes is not None and total > max_bytes):
                    raise ArchiveRefused("more files or bytes than were asked for")
                content = archive.extractfile(entry)
                data = content.read() if content else b""
                if len(data) != entry.size:
                    raise ArchiveRefused(f"cut short: {entry.name[:100]!r}")
                files[check_path(entry.name)] = data
                if entry.mode & stat.S_IXUSR:
                    files.executable.add(entry.name)
    except tarfile.TarError as error:
        raise ArchiveRefused(f"not a tar: {error}") from error
    return files
