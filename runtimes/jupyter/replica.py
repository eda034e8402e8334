"""One process's copy of a shared document: follows the log, and puts into it what is changed here.

There is no owner: Yjs merges whatever replicas write, in any order, so any process may hold one. Made and used on one
event loop. A person's edit is in the log some 5 ms after it came, one row for all that came meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from uuid import UUID

from pycrdt import Doc, TransactionEvent, merge_updates

from runtimes import bus
from runtimes.jupyter import document_store, notebook_form
from runtimes.jupyter.document_log import DocumentGone, Update, document_log
from runtimes.jupyter.off_loop import off_loop
from runtimes.models import Document

_BATCH_SECONDS = 0.005
# The bus only wakes: what it lost is found in the log this much later at most.
_LOOK_SECONDS = 5.0
_MOST_PATIENCE = 5.0
_EMPTY = b"\x00\x00"
#: The source of changes that are no content: what the front end keeps in `state`.
NOTE = "note"
#: The bus's word on `doc:<id>` that the document went with its file.
REMOVED = b"removed"

log = logging.getLogger(__name__)

#: Called with an update, whether it came from elsewhere (another process), and who made it here, if known.
Listener = Callable[[bytes, bool, object], None]


class Replica:
    """`await Replica.load(id)`, then `close()`. `doc` is changed in place: applied updates and transactions alike."""

    def __init__(self, stored: document_store.Stored) -> None:
        self.document: Document = stored.document
        self.id: UUID = stored.document.pk
        self.doc: Doc[Any] = stored.doc()
        self.view = notebook_form.shared(stored.document.type, self.doc)
        self.origin = secrets.token_hex(8)
        self.gone = asyncio.Event()
        #: Every update up to this number is in `doc`.
        self.seq = stored.seq
        self._floor = stored.document.snapshot_seq
        self._young: dict[int, float] = {update.seq: time.monotonic() for update in stored.updates}
        self._snapshot_seq = stored.document.snapshot_seq
        self._looked_at = time.monotonic()
        self._pending: list[bytes] = []
        self._kick = asyncio.Event()
        self._reading = asyncio.Lock()
        self._writing = asyncio.Lock()
        self._listeners: list[Listener] = []
        self._foreign = False
        self._source: object = None
        self._tasks: list[asyncio.Task[None]] = []
        self._subscription = self.doc.observe(self._changed)
        self._move_floor()

    @classmethod
    async def load(cls, document_id: UUID) -> Replica:
        """The document as it is now, and following it. Raises DocumentGone, NotFound or NotANotebook."""
        news = bus.subscribe(f"doc:{document_id}")
        await news.ready()
        replica = cls(await off_loop(document_store.read, document_id))
        replica._tasks = [asyncio.create_task(replica._follow(news)), asyncio.create_task(replica._write())]
        return replica

    async def close(self) -> None:
        """Writes what is pending and stops following. Safe to repeat."""
        tasks, self._tasks = self._tasks, []
        if not tasks:
            return
        with suppress(DocumentGone):
            await self.settle()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.doc.unobserve(self._subscription)

    def listen(self, listener: Listener) -> None:
        """Calls `listener` for every change from now on."""
        self._listeners.append(listener)

    def apply(self, update: bytes, source: object) -> None:
        """Applies what `source`, a client of this process, sent."""
        self._source = source
        try:
            self.doc.apply_update(update)
        finally:
            self._source = None

    def content(self) -> notebook_form.Content:
        """The content now, as plain data."""
        return notebook_form.content_of(self.view)

    @property
    def pending(self) -> bool:
        """True while something changed here is not in the log yet."""
        return bool(self._pending) or self._writing.locked()

    async def settle(self) -> int:
        """Returns when all that was changed here is in the log, and all that is in the log is here; with its number.

        Edits that come meanwhile may be pending again. Raises DocumentGone."""
        while self.pending:
            await self._write_pending()
        await self.catch_up()
        return self.seq

    async def note(self, change: Callable[[], None]) -> int | None:
        """Makes a change that is no content. Returns its number if it went into the log alone, else None."""
        alone = not self.pending
        self._source = NOTE
        try:
            with self.doc.transaction():
                change()
        finally:
            self._source = None
        async with self._writing:
            number = await self._append_pending()
        return number if alone else None

    def _changed(self, event: TransactionEvent) -> None:
        if not event.update or event.update == _EMPTY:
            return
        if not self._foreign:
            self._pending.append(event.update)
            self._kick.set()
        for listener in self._listeners:
            listener(event.update, self._foreign, self._source)

    async def _write(self) -> None:
        patience = 0.1
        while not self.gone.is_set():
            await self._kick.wait()
            await asyncio.sleep(_BATCH_SECONDS)
            self._kick.clear()
            try:
                await self._write_pending()
                patience = 0.1
            except DocumentGone:
                self.gone.set()
            except Exception:
                # A database that is down or busy: what is pending stays pending until it is back.
                log.exception("document %s: the log cannot be written, trying again", self.id)
                await asyncio.sleep(patience)
                patience = min(2 * patience, _MOST_PATIENCE)
                self._kick.set()

    async def _write_pending(self) -> None:
        async with self._writing:
            await self._append_pending()

    async def _append_pending(self) -> int | None:
        batch, self._pending = self._pending, []
        if not batch:
            return None
        data = merge_updates(*batch) if len(batch) > 1 else batch[0]
        try:
            number = await off_loop(document_log().append, self.id, data, self.origin)
        except BaseException:
            # Perhaps it is in the log all the same: twice is no harm (Yjs), never would be.
            self._pending[:0] = [data]
            raise
        await bus.publish(f"doc:{self.id}", self.origin.encode())
        return number

    async def _follow(self, news: bus.Subscription) -> None:
        async with news:
            while not self.gone.is_set():
                message = await news.next(_LOOK_SECONDS)
                if message is not None and message[1] == REMOVED:
                    self._looked_at = 0.0
                if message is None or message[1] != self.origin.encode():
                    await self._look()

    async def _look(self) -> None:
        try:
            await self.catch_up()
        except DocumentGone:
            self.gone.set()
        except Exception:
            log.exception("document %s: the log cannot be read, trying again", self.id)
            await asyncio.sleep(1)

    async def catch_up(self) -> None:
        """Applies what is new in the log. Raises DocumentGone."""
        async with self._reading:
            stale = time.monotonic() - self._looked_at > _LOOK_SECONDS / 2
            updates = await off_loop(document_log().read, self.id, self._floor)
            if stale:
                await self._read_snapshot()
            for update in updates:
                self._take(update)
            self._looked_at = time.monotonic()
            self._move_floor()

    async def _read_snapshot(self) -> None:
        """After a pause, updates may have left the log for the snapshot before they were read."""
        row = await off_loop(_snapshot_seq, self.id)
        if row is None:
            raise DocumentGone(str(self.id))
        if row > max(self._snapshot_seq, self._floor):
            stored = await off_loop(document_store.read, self.id)
            self._apply_foreign(stored.snapshot)
            self.seq = max(self.seq, stored.document.snapshot_seq)
        self._snapshot_seq = max(self._snapshot_seq, row)

    def _take(self, update: Update) -> None:
        if update.seq not in self._young:
            self._young[update.seq] = time.monotonic()
            if update.origin != self.origin:
                self._apply_foreign(update.data)
        self.seq = max(self.seq, update.seq)

    def _apply_foreign(self, data: bytes) -> None:
        self._foreign = True
        try:
            self.doc.apply_update(data)
        finally:
            self._foreign = False

    def _move_floor(self) -> None:
        """Below the floor nothing new can appear; above it numbers are remembered."""
        before = time.monotonic() - document_log().overlap.total_seconds()
        for seq in [seq for seq, seen in self._young.items() if seen <= before]:
            del self._young[seq]
            self._floor = max(self._floor, seq)


def _snapshot_seq(document_id: UUID) -> int | None:
    return Document.objects.filter(pk=document_id).values_list("snapshot_seq", flat=True).first()
