"""The log of a shared document: Yjs updates in a sequence, kept for good, read by every process.

Updates are idempotent and commute (Yjs), so readers may see one twice and in any order; what they must never do is miss
one. Embedded: rows (`TableLog`); production: a Redis stream a document (`RedisLog`). Both are used from any thread.
A sequence number is an int that grows within one document.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any, Protocol, cast
from uuid import UUID

import redis
from django.conf import settings
from django.db import IntegrityError, connection
from django.db.models import Max
from django.utils import timezone

from runtimes.jupyter.errors import NotFound
from runtimes.models import DocumentUpdate

_SLICE = 500
_COUNTER_BITS = 20


class DocumentGone(NotFound):
    """The document was removed with its file."""


@dataclass(frozen=True, slots=True)
class Update:
    """One Yjs update. `origin` names the replica that wrote it."""

    seq: int
    data: bytes
    origin: str


class DocumentLog(Protocol):
    """Where updates are kept. Every method blocks."""

    @property
    def overlap(self) -> timedelta:
        """Entries may become visible this much later than entries with a higher number; zero where they never do."""

    def append(self, document_id: UUID, data: bytes, origin: str) -> int:
        """Keeps an update for good and returns its number. Raises DocumentGone."""

    def read(self, document_id: UUID, after: int = 0) -> list[Update]:
        """Updates numbered above `after`, in order."""

    def heads(self, document_ids: Iterable[UUID]) -> dict[UUID, int]:
        """The highest number in the log of each document that has any."""

    def settled(self, document_id: UUID, older_than: timedelta) -> int:
        """The highest number of an update at least so old; 0 if there is none."""

    def discard(self, document_id: UUID, numbers: Iterable[int]) -> None:
        """Forgets these updates; they are part of a snapshot."""

    def erase(self, document_id: UUID) -> None:
        """Forgets all updates of a document that is removed."""


class TableLog:
    """`DocumentUpdate` rows, numbered by their primary key."""

    @property
    def overlap(self) -> timedelta:
        """On PostgreSQL a number is drawn before its row is committed; SQLite's writers come one after the other."""
        return timedelta(seconds=5) if connection.vendor == "postgresql" else timedelta()

    def append(self, document_id: UUID, data: bytes, origin: str) -> int:
        try:
            return DocumentUpdate.objects.create(document_id=document_id, data=data, origin=origin).pk
        except IntegrityError as error:
            raise DocumentGone(str(document_id)) from error

    def read(self, document_id: UUID, after: int = 0) -> list[Update]:
        rows = DocumentUpdate.objects.filter(document_id=document_id, pk__gt=after).order_by("pk")
        return [Update(pk, bytes(data), origin) for pk, data, origin in rows.values_list("pk", "data", "origin")]

    def heads(self, document_ids: Iterable[UUID]) -> dict[UUID, int]:
        rows = DocumentUpdate.objects.filter(document_id__in=list(document_ids)).values("document_id")
        return {row["document_id"]: row["head"] for row in rows.annotate(head=Max("pk"))}

    def settled(self, document_id: UUID, older_than: timedelta) -> int:
        rows = DocumentUpdate.objects.filter(document_id=document_id, created_at__lte=timezone.now() - older_than)
        return rows.aggregate(head=Max("pk"))["head"] or 0

    def discard(self, document_id: UUID, numbers: Iterable[int]) -> None:
        left = list(numbers)
        while left:
            part, left = left[:_SLICE], left[_SLICE:]
            DocumentUpdate.objects.filter(document_id=document_id, pk__in=part).delete()

    def erase(self, document_id: UUID) -> None:
        DocumentUpdate.objects.filter(document_id=document_id).delete()


class RedisLog:
    """A stream a document. A stream id `<ms>-<n>` becomes the number ms·2^20 + n (Redis: entry ids only grow)."""

    @property
    def overlap(self) -> timedelta:
        """A stream's entries are numbered when they are written."""
        return timedelta()

    def __init__(self, client: redis.Redis) -> None:
        self._redis = client

    def append(self, document_id: UUID, data: bytes, origin: str) -> int:
        return _number(cast("bytes", self._redis.xadd(_key(document_id), {"u": data, "o": origin})))

    def read(self, document_id: UUID, after: int = 0) -> list[Update]:
        entries = self._range(document_id, after)
        return [Update(_number(entry), fields[b"u"], fields[b"o"].decode()) for entry, fields in entries]

    def _range(self, document_id: UUID, after: int) -> list[tuple[bytes, dict[bytes, bytes]]]:
        return cast(
            "list[tuple[bytes, dict[bytes, bytes]]]", self._redis.xrange(_key(document_id), min=f"({_entry(after)}")
        )

    def heads(self, document_ids: Iterable[UUID]) -> dict[UUID, int]:
        heads = {}
        for document_id in document_ids:
            newest = cast("Any", self._redis.xrevrange(_key(document_id), count=1))
            if newest:
                heads[document_id] = _number(newest[0][0])
        return heads

    def settled(self, document_id: UUID, older_than: timedelta) -> int:
        seconds, microseconds = cast("Any", self._redis.time())
        until = seconds * 1000 + microseconds // 1000 - int(older_than.total_seconds() * 1000)
        found = cast("Any", self._redis.xrevrange(_key(document_id), max=str(until), count=1))
        return _number(found[0][0]) if found else 0

    def discard(self, document_id: UUID, numbers: Iterable[int]) -> None:
        left = [_entry(number) for number in numbers]
        while left:
            part, left = left[:_SLICE], left[_SLICE:]
            self._redis.xdel(_key(document_id), *part)

    def erase(self, document_id: UUID) -> None:
        self._redis.delete(_key(document_id))


def _key(document_id: UUID) -> str:
    return f"document:{document_id}"


def _number(entry: bytes) -> int:
    milliseconds, _, counter = entry.partition(b"-")
    return int(milliseconds) << _COUNTER_BITS | int(counter)


def _entry(number: int) -> str:
    return f"{number >> _COUNTER_BITS}-{number & ((1 << _COUNTER_BITS) - 1)}"


@cache
def document_log() -> DocumentLog:
    """The log of this installation: a table, or Redis where `REDIS_URL` names one."""
    if settings.REDIS_URL:
        return RedisLog(redis.Redis.from_url(settings.REDIS_URL))
    return TableLog()
