"""Immutable bytes, named by their SHA-256, behind `STORAGES["work"]`: a folder, or an object store (`objects/`).

Order of a write: the bytes, synced to disk; the row; then whoever waits is told. So a row always has its bytes.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from django.core.files.base import ContentFile, File
from django.core.files.storage import FileSystemStorage, storages
from django.db import transaction
from django.utils import timezone

from runtimes.models import Blob

# A blob that is used again within this time of a sweep must look young to it (see `runtimes/sweep.py`).
YOUNG = timedelta(hours=6)
# Requests to an object store at once, of one caller: each waits some 20 ms for its answer.
AT_ONCE = 8


def work_storage() -> Any:
    """Where blobs live."""
    return storages["work"]


def at_once[T, R](do: Callable[[T], R], each: Sequence[T]) -> list[R]:
    """`do` for each, in their order: several at the same time where storage is not of this machine.

    `do` must touch no database; what it raises is raised."""
    if len(each) < 2 or isinstance(work_storage(), FileSystemStorage):
        return [do(one) for one in each]
    with ThreadPoolExecutor(min(len(each), AT_ONCE)) as pool:
        return list(pool.map(do, each))


def blob_name(sha256: str) -> str:
    """The name of a blob in storage: two levels of folders, so that none grows without end."""
    return f"{sha256[:2]}/{sha256[2:4]}/{sha256}"


def digest(data: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def put(data: bytes) -> Blob:
    """The blob with this content, stored for good when this returns. Idempotent; safe from any number of processes."""
    sha256 = digest(data)
    known = _known(sha256)
    if known is not None:
        return known
    save_bytes(sha256, data)
    return register(sha256, data)


def put_all(contents: Iterable[bytes]) -> list[str]:
    """`put` for each, in two questions to the database and one transaction; their digests, in the same order."""
    named = [(digest(data), data) for data in contents]
    missing = dict(named)
    for blob in Blob.objects.filter(pk__in=missing.keys()):
        if _still_there(blob):
            del missing[blob.pk]
    save_all(missing)
    # In one order everywhere: two processes that store the same files wait for each other, and never in a circle.
    rows = [Blob(sha256=sha256, size=len(missing[sha256])) for sha256 in sorted(missing)]
    Blob.objects.bulk_create(rows, ignore_conflicts=True)
    _notice_sweep(missing)
    return [sha256 for sha256, _data in named]


def _known(sha256: str) -> Blob | None:
    blob = Blob.objects.filter(pk=sha256).first()
    return blob if blob is not None and _still_there(blob) else None


def _still_there(blob: Blob) -> bool:
    """Makes it look young to a sweep; False if it was swept in between."""
    now = timezone.now()
    return blob.created_at >= now - YOUNG or bool(Blob.objects.filter(pk=blob.pk).update(created_at=now))


def register(sha256: str, data: bytes) -> Blob:
    """The row of a blob whose bytes were saved just before."""
    blob, _made = Blob.objects.get_or_create(sha256=sha256, defaults={"size": len(data)})
    _notice_sweep({sha256: data})
    return blob


def _notice_sweep(contents: dict[str, bytes]) -> None:
    # A sweep takes bytes away before it looks for a row, and puts them back when there is one. This looks in the
    # opposite order, so one of the two always notices the other: once the row can be seen, which is after the commit.
    transaction.on_commit(partial(at_once, lambda sha256: _restore(sha256, contents[sha256]), list(contents)))


def _restore(sha256: str, data: bytes) -> None:
    if not work_storage().exists(blob_name(sha256)):
        save_bytes(sha256, data)


def save_bytes(sha256: str, data: bytes) -> None:
    """Puts bytes into storage under their name. Touches no database: safe in any thread. Raises StorageAway."""
    storage, name = work_storage(), blob_name(sha256)
    if isinstance(storage, FileSystemStorage):
        _save_durably(Path(storage.path(name)), data)
    else:  # whole or not at all; a second writer of that name has the same bytes
        storage.save(name, ContentFile(data))


def save_all(contents: Mapping[str, bytes]) -> None:
    """`save_bytes` for each SHA-256 and its content."""
    at_once(lambda sha256: save_bytes(sha256, contents[sha256]), list(contents))


def _save_durably(path: Path, data: bytes) -> None:
    folder = path.parent
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        sync(folder.parent)
        sync(folder.parent.parent)
    aside = folder / f".{secrets.token_hex(8)}"
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    sync(folder)


def sync(path: Path) -> None:
    """What was written to this file or folder is on disk when this returns. A new name is only safe once its folder is,
    too (fsync(2))."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_blob(blob: Blob | str) -> File[bytes]:
    """The content as an open file, to be closed by the caller. Raises FileNotFoundError if storage lost it, and
    StorageAway."""
    sha256 = blob if isinstance(blob, str) else blob.pk
    stream: File[bytes] = work_storage().open(blob_name(sha256), "rb")
    return stream


def read(blob: Blob | str) -> bytes:
    """The content. Raises FileNotFoundError if storage lost it, and StorageAway."""
    with open_blob(blob) as stream:
        return bytes(stream.read())


def read_all(digests: Sequence[str]) -> list[bytes]:
    """`read` for each, in their order."""
    return at_once(read, digests)


def stored() -> Iterator[tuple[str, datetime]]:
    """Name and time of writing, by storage's own clock, of everything that it holds, also without a row."""
    storage = work_storage()
    return _in_folder(Path(storage.location)) if isinstance(storage, FileSystemStorage) else storage.stored()


def _in_folder(top: Path) -> Iterator[tuple[str, datetime]]:
    for folder, _folders, names in top.walk():
        for name in names:
            try:
                written = (folder / name).stat().st_mtime
            except FileNotFoundError:  # swept or put into its place meanwhile
                continue
            yield (folder / name).relative_to(top).as_posix(), datetime.fromtimestamp(written, UTC)
