"""Forgets what nothing refers to any more: snapshots, then blobs. Safe while the site runs, and to repeat.

Whatever is young stays: its row may be about to be referred to. Which rows refer to blobs is asked of the models, so
that no app above needs to be known here.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta

from django.db import IntegrityError, models
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from runtimes import blobs, leases
from runtimes.models import Blob, Snapshot

KEEP = timedelta(days=1)


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
