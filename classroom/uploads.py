"""What a teacher uploads (notebooks, data files, a zip) → files by safe path, or one clear sentence why not.

Nothing that an archive says about itself is believed: entries are counted, sizes are counted while expanding, links,
devices and paths that lead out are refused, and nothing touches the disk.
"""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from typing import IO, Any

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from classroom.errors import ClassroomError
from runtimes.errors import UnsafePath
from runtimes.paths import is_system, safe_path

_CHUNK = 64 * 1024
# PKWARE APPNOTE 4.3.16: the end of central directory record, and its comment of at most 65,535 bytes.
_END, _END_SIZE, _MOST_COMMENT = b"PK\x05\x06", 22, 65535
_ZIP64_LOCATOR, _ZIP64_LOCATOR_SIZE = b"PK\x06\x07", 20
# 46 bytes, a name and extra fields; an honest directory of 2,000 entries is far below.
_MOST_DIRECTORY_BYTES_AN_ENTRY = 1200
_JUNK = {"__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini", ".git"}


class UploadRefused(ClassroomError):
    """These files cannot be taken. Nothing was kept."""

    user_message = gettext_lazy("These files cannot be used. Nothing was kept.")


def _refuse(sentence: str) -> UploadRefused:
    return UploadRefused(sentence, user_message=sentence)


def files_of(uploads: Iterable[UploadedFile[Any]]) -> dict[str, bytes]:
    """The files by path. Zips are expanded; a single folder around everything is taken away. Raises UploadRefused."""
    files: dict[str, bytes] = {}
    budget = _Budget()
    for upload in uploads:
        name = upload.name or ""
        if name.lower().endswith(".zip"):
            entries: Iterable[tuple[str, bytes]] = _without_top_folder(_once(_expand(upload, budget)))
        else:
            entries = [(name.replace("\\", "/").rsplit("/", 1)[-1], budget.read(upload))]
        for path, data in entries:
            _add(files, path, data)
    if not files:
        raise _refuse(_("There are no files in this upload."))
    return files


class _Budget:
    """Counts entries and bytes over a whole upload."""

    def __init__(self) -> None:
        self._bytes = int(settings.UPLOAD_MOST_BYTES)
        self._files = int(settings.UPLOAD_MOST_FILES)

    def entry(self) -> None:
        """One more file. Raises UploadRefused when there are too many."""
        self._files -= 1
        if self._files < 0:
            raise _refuse(
                _("There are more than %(most)d files in this upload. Leave out what the assignment does not need.")
                % {"most": settings.UPLOAD_MOST_FILES}
            )

    def read(self, stream: IO[Any] | UploadedFile[Any]) -> bytes:
        """All of `stream`, counted as it comes. Raises UploadRefused when it is too much."""
        self.entry()
        parts: list[bytes] = []
        while chunk := stream.read(_CHUNK):
            self._bytes -= len(chunk)
            if self._bytes < 0:
                raise _refuse(
                    _("These files are larger than %(most)d MB when unpacked. Make the data files smaller.")
                    % {"most": settings.UPLOAD_MOST_BYTES // (1024 * 1024)}
                )
            parts.append(chunk)
        return b"".join(parts)


def _add(files: dict[str, bytes], path: str, data: bytes) -> None:
    try:
        safe_path(path)
    except UnsafePath as error:
        raise _refuse(
            _("The name “%(path)s” cannot be used: it leads out of the folder or has forbidden characters.")
            % {"path": path[:100]}
        ) from error
    if path in files:
        raise _refuse(_("There are two files called “%(path)s”.") % {"path": path[:100]})
    clash = next((other for other in files if other.startswith(path + "/") or path.startswith(other + "/")), None)
    if clash is not None:
        raise _refuse(_("“%(path)s” is a file and a folder at once.") % {"path": min(path, clash, key=len)[:100]})
    files[path] = data


def _expand(upload: UploadedFile[Any], budget: _Budget) -> Iterator[tuple[str, bytes]]:
    _look_at_directory(upload)
    try:
        with zipfile.ZipFile(upload) as archive:
            for entry in archive.infolist():
                if _wanted(entry):
                    with archive.open(entry) as stream:
                        yield entry.filename, budget.read(stream)
    except (zipfile.BadZipFile, zlib.error, EOFError, struct.error, UnicodeDecodeError, OSError) as error:
        raise _refuse(_("The zip file is damaged. Make it again and upload it once more.")) from error
    except RuntimeError as error:
        raise _refuse(
            _("The zip file is encrypted, or packed in a way that is not supported. Make a plain zip file.")
        ) from error


def _look_at_directory(upload: UploadedFile[Any]) -> None:
    """Refuses an archive whose directory alone would fill the memory: zipfile reads it before anyone can count."""
    size = upload.size or 0
    upload.seek(max(0, size - _END_SIZE - _MOST_COMMENT - _ZIP64_LOCATOR_SIZE))
    tail = upload.read()
    upload.seek(0)
    end = tail.rfind(_END)
    if end < 0 or len(tail) - end < _END_SIZE:
        raise _refuse(_("This is not a zip file, or only a part of one. Make it again and upload it once more."))
    entries, directory_bytes = struct.unpack("<HI", tail[end + 10 : end + 16])
    zip64 = tail[max(0, end - _ZIP64_LOCATOR_SIZE) : end].startswith(_ZIP64_LOCATOR)
    most = int(settings.UPLOAD_MOST_FILES)
    if zip64 or entries > most or directory_bytes > most * _MOST_DIRECTORY_BYTES_AN_ENTRY:
        raise _refuse(
            _("There are more than %(most)d files in this upload. Leave out what the assignment does not need.")
            % {"most": most}
        )


def _wanted(entry: zipfile.ZipInfo) -> bool:
    """False for folders and what systems leave behind. Raises UploadRefused for a link or a device."""
    mode = entry.external_attr >> 16
    if stat.S_IFMT(mode) not in {0, stat.S_IFREG, stat.S_IFDIR}:
        raise _refuse(
            _("“%(path)s” is a link or a special file. Put the file itself into the zip.")
            % {"path": entry.filename[:100]}
        )
    if entry.flag_bits & 0x1:
        raise RuntimeError("encrypted")
    parts = entry.filename.split("/")
    return not (entry.is_dir() or not _JUNK.isdisjoint(parts) or is_system(entry.filename))


def _once(entries: Iterable[tuple[str, bytes]]) -> dict[str, bytes]:
    """By path. Raises UploadRefused where an archive holds a name twice: readers disagree on what that means."""
    files: dict[str, bytes] = {}
    for path, data in entries:
        if path in files:
            raise _refuse(_("There are two files called “%(path)s”.") % {"path": path[:100]})
        files[path] = data
    return files


def _without_top_folder(files: dict[str, bytes]) -> list[tuple[str, bytes]]:
    """The entries, out of the one folder that holds them all (as many as there are around each other)."""
    while files:
        tops = {path.partition("/")[0] for path in files}
        if len(tops) != 1 or any("/" not in path for path in files) or tops & {"..", ".", ""}:
            break
        files = {path.partition("/")[2]: data for path, data in files.items()}
    return list(files.items())
