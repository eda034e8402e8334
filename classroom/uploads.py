"""Files that people bring: notebooks, data, or one zip. Everything is counted while it is read; links are refused."""

from __future__ import annotations

import io
import stat
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.utils.translation import gettext_lazy as _

from classroom.errors import BadUpload
from runtimes.errors import UnsafePath
from runtimes.storage import safe_path

CHUNK = 1 << 16
# What other systems add to zips, and what Jupyter keeps beside notebooks.
NOISE = frozenset({"__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini", ".ipynb_checkpoints", "__pycache__", ".git"})


def read_uploads(uploads: Iterable[UploadedFile]) -> dict[str, bytes]:
    """Path → content of everything that was brought; a zip is taken apart, and a folder around all of it dropped.

    Raises BadUpload: too many files (`UPLOAD_MOST_FILES`) or bytes (`UPLOAD_MOST_BYTES`), a damaged zip, a link, a
    name that no file may have, or two files of one name.
    """
    found: dict[str, bytes] = {}
    room = settings.UPLOAD_MOST_BYTES
    for upload in uploads:
        name = PurePosixPath((upload.name or "").replace("\\", "/")).name
        brought = _unzipped(upload, room) if name.lower().endswith(".zip") else {name: _whole(upload, room)}
        room -= sum(map(len, brought.values()))
        _add(found, brought)
    return found


def _add(found: dict[str, bytes], brought: Mapping[str, bytes]) -> None:
    for path, data in brought.items():
        try:
            safe_path(path)
        except UnsafePath as error:
            raise BadUpload(path, user_message=_named(_("“%(path)s” is a name that no file may have."), path)) from error
        if path in found:
            raise BadUpload(path, user_message=_named(_("There are two files named “%(path)s”."), path))
        found[path] = data
    if len(found) > settings.UPLOAD_MOST_FILES:
        raise BadUpload("too many files", user_message=_too_many())


def _whole(upload: UploadedFile, room: int) -> bytes:
    data = bytearray()
    for chunk in upload.chunks():
        data += chunk
        if len(data) > room:
            raise BadUpload("too large", user_message=_too_large())
    return bytes(data)


def _unzipped(upload: UploadedFile, room: int) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(_whole(upload, room))) as archive:
            return _without_folder(dict(_entries(archive, room)))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        # RuntimeError and NotImplementedError: encrypted, or packed in a way that Python does not know.
        raise BadUpload(
            str(error), user_message=_("The zip cannot be read. Make it again, without a password, and upload it.")
        ) from error


def _entries(archive: zipfile.ZipFile, room: int) -> Iterator[tuple[str, bytes]]:
    entries = archive.infolist()
    if len(entries) > settings.UPLOAD_MOST_FILES:
        raise BadUpload("too many entries", user_message=_too_many())
    seen: set[str] = set()
    for entry in entries:
        path = entry.filename.replace("\\", "/")
        if entry.is_dir() or NOISE.intersection(path.split("/")):
            continue
        mode = entry.external_attr >> 16
        if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            raise BadUpload(path, user_message=_named(_("“%(path)s” is a link or device, not a file."), path))
        if path in seen:
            raise BadUpload(path, user_message=_named(_("There are two files named “%(path)s”."), path))
        seen.add(path)
        data = _expanded(archive, entry, room)
        room -= len(data)
        yield path, data


def _expanded(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, room: int) -> bytes:
    """One entry's bytes. What the zip says about sizes is not believed."""
    data = bytearray()
    with archive.open(entry) as stream:
        while chunk := stream.read(CHUNK):
            data += chunk
            if len(data) > room:
                raise BadUpload("too large", user_message=_too_large())
    return bytes(data)


def _without_folder(files: dict[str, bytes]) -> dict[str, bytes]:
    """A zip of a folder has everything in it: the folder's name is nobody's wish."""
    tops = {path.split("/", 1)[0] for path in files}
    if len(tops) != 1 or any("/" not in path for path in files):
        return files
    return {path.split("/", 1)[1]: data for path, data in files.items()}


def _named(text: object, path: str) -> str:
    return str(text) % {"path": path[:100]}


def _too_many() -> str:
    return str(_("There are more than %(most)d files. Leave out what is not needed.")) % {
        "most": settings.UPLOAD_MOST_FILES
    }


def _too_large() -> str:
    return str(_("The files are larger than %(most)d MB together. Leave out what is not needed.")) % {
        "most": settings.UPLOAD_MOST_BYTES >> 20
    }
