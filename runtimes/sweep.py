"""Forgets what nothing refers to any more: snapshots, then blobs. Safe while the site runs, and to repeat.

Whatever is young stays: its row may be about to be referred to. Which rows refer to blobs is asked of the models, so
that no app above needs to be known here.

Strays are bytes that no row names: of a process that was killed before it wrote the row, of a database that was
brought back. Only who asks for it loses them: where two sites had one bucket, each has what to the other are strays.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import batched

from django.db import IntegrityError, models
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from runtimes import blobs, leases
from runtimes.models import Blob, Snapshot

KEEP = timedelta(days=1)
# Names asked about in one question to the database.
BATCH = 500
# What a folder has of a write that was killed (`blobs.save_bytes`).
_HALF_WRITTEN = re.compile(r"[0-9a-f]{2}/[0-9a-f]{2}/\.[0-9a-f]{16}")


def sweep(older_than: timedelta = KEEP) -> tuple[int, int]:
    """How many snapshots and blobs went. Nothing younger than `older_than` is touched.

    Raises leases.Held while a backup copies what is stored, or another sweep runs."""
    before = timezone.now() - older_than
    with leases.hold(leases.STORED_FILES) as renew:
        return _sweep_snapshots(before, renew), _sweep_blobs(before, renew)


def _unreferred[M: models.Model](rows: QuerySet[M], *, besides: tuple[type[models.Model], ...] = ()) -> QuerySet[M]:
    for relation in rows.model._meta.get_fields(include_hidden=True):
        if not isinstance(relation, models.ManyToOneRel) or relation.related_model in besides:
            continue
        referring = relation.related_model._base_manager.filter(**{relation.field.name: OuterRef("pk")})
        rows = rows.filter(~Exists(referring))
    return rows


def _sweep_snapshots(before: datetime, renew: Callable[[], None]) -> int:
    files = Snapshot._meta.get_field("files").related_model
    old = _unreferred(Snapshot.objects.filter(created_at__lt=before), besides=(files,))
    gone = 0
    for snapshot in old.iterator():
        renew()
        gone += _deleted(snapshot)
    return gone


def _sweep_blobs(before: datetime, renew: Callable[[], None]) -> int:
    gone = 0
    for blob in _unreferred(Blob.objects.filter(created_at__lt=before)).iterator():
        renew()
        # The same condition again, in the statement that deletes: it may have been used since.
        still = _unreferred(Blob.objects.filter(pk=blob.pk, created_at__lt=before)).first()
        if still is not None and _deleted(still):
            _take_bytes(blob.pk)
            gone += 1
    return gone


def sweep_strays(older_than: timedelta = KEEP) -> int:
    """How many stored contents went that no row names. None that was written in the last `older_than`, by storage's
    own clock. Raises leases.Held as `sweep` does."""
    before = timezone.now() - older_than
    gone = 0
    with leases.hold(leases.STORED_FILES) as renew:
        for batch in batched(blobs.stored(), BATCH):
            renew()
            old = {name.rpartition("/")[2]: name for name, written in batch if written < before}
            named = set(Blob.objects.filter(pk__in=old).values_list("pk", flat=True))
            for sha256 in old.keys() - named:
                gone += _take_stray(sha256, old[sha256])
    return gone


def _take_stray(sha256: str, name: str) -> bool:
    if _HALF_WRITTEN.fullmatch(name):
        blobs.work_storage().delete(name)
        return True
    # Anything else that lies there is not ours.
    if not re.fullmatch(r"[0-9a-f]{64}", sha256) or name != blobs.blob_name(sha256):
        return False
    _take_bytes(sha256)
    return True


def _deleted(row: Snapshot | Blob) -> bool:
    with suppress(IntegrityError, models.ProtectedError):
        row.delete()
        return True
    return False


def _take_bytes(sha256: str) -> None:
    storage, name = blobs.work_storage(), blobs.blob_name(sha256)
    try:
        data = blobs.read(sha256)
    except FileNotFoundError:
        return
    storage.delete(name)
    # Someone may have put the same bytes in between: then there is a row again (`blobs.register`, opposite order).
    if Blob.objects.filter(pk=sha256).exists():
        blobs.save_bytes(sha256, data)
