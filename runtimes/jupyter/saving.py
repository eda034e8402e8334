"""A document into its file, soon after each change, whoever changed it: `begins_at` says when.

Nothing depends on it: a change is in the log milliseconds after it was made. The process in which a change was made
saves it; the others look somewhat later and find it done, or do it if that process is gone.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from uuid import UUID

from runtimes.errors import StorageError
from runtimes.jupyter import document_store, notebook_form
from runtimes.jupyter.document_log import DocumentGone
from runtimes.jupyter.off_loop import off_loop
from runtimes.jupyter.replica import NOTE, Replica
from runtimes.models import Document

OWN_SECONDS = 0.4
FOREIGN_SECONDS = 2.5
#: Saving is given a third of the time at most: a document that takes long is saved less often.
SAVES_APART = 3
_MOST_PATIENCE = 30.0
_SAVES_A_COMPACTION = 50

log = logging.getLogger(__name__)


def begins_at(own: float | None, foreign: float | None, *, began: float, took: float) -> float:
    """When a save is due, for the first change here and the first elsewhere that are not saved; at least one is.

    `began` and `took` are the save before. All in seconds of one clock. As changes come after `began`, none of this
    process's waits longer than 0.4 s, or three times what a save takes: a second where that is a third of a second.
    """
    due = [made + wait for made, wait in ((own, OWN_SECONDS), (foreign, FOREIGN_SECONDS)) if made is not None]
    return max(min(due), began + SAVES_APART * took)


class Saver:
    """Saves one replica until it is closed."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._saving = asyncio.Lock()
        self._wanted = asyncio.Event()
        self._sooner = asyncio.Event()
        # When the first change was made here, and elsewhere, that is not saved yet.
        self._own: float | None = None
        self._foreign: float | None = None
        self._began = self._took = 0.0
        self._saves = 0
        #: All up to this number is in the file.
        self._saved = 0
        replica.listen(self._changed)
        if replica.seq > replica.document.saved_seq:
            # Whoever was to save that is gone, perhaps killed: else it would wait for somebody to type again.
            self._changed(b"", foreign=True, source=None)
        self._task = asyncio.create_task(self._run())

    def _changed(self, _update: bytes, foreign: bool, source: object) -> None:
        if source is NOTE:
            return
        now = time.monotonic()
        if foreign:
            self._foreign = self._foreign or now
        elif self._own is None:
            self._own = now
            self._sooner.set()
        self._wanted.set()

    async def close(self) -> None:
        """Saves what is not saved, and ends."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        if self._wanted.is_set():
            with suppress(StorageError, DocumentGone):
                await self.save()

    async def _run(self) -> None:
        patience = 1.0
        while not self._replica.gone.is_set():
            await self._wanted.wait()
            await self._due()
            try:
                await self._save_if_needed()
                patience = 1.0
            except DocumentGone:
                self._replica.gone.set()
            except Exception:
                # A full disk or workspace, a database that is down: the log has it all, saving goes on when it can.
                log.exception("document %s cannot be saved, trying again", self._replica.id)
                await asyncio.sleep(patience)
                patience = min(2 * patience, _MOST_PATIENCE)
                self._foreign = self._foreign or time.monotonic()
                self._wanted.set()

    async def _due(self) -> None:
        """Returns when it is time; a change here may make it sooner than the changes elsewhere did."""
        while self._wanted.is_set():
            due = begins_at(self._own, self._foreign, began=self._began, took=self._took)
            if (left := due - time.monotonic()) <= 0:
                return
            self._sooner.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._sooner.wait(), left)

    async def _save_if_needed(self) -> None:
        if not self._wanted.is_set():
            return  # somebody asked for it meanwhile
        if self._own is None:
            self._wanted.clear()
            self._foreign = None
            if await off_loop(_saved_seq, self._replica.id) >= await self._replica.settle():
                return
        await self.save()

    async def save(self) -> None:
        """Returns when the file holds all that is in the replica now. Raises DocumentGone or a StorageError."""
        async with self._saving:
            started = time.monotonic()
            self._wanted.clear()
            self._own = self._foreign = None
            try:
                await self._save()
            except BaseException:
                self._own = started
                self._wanted.set()
                raise
            self._began, self._took = started, time.monotonic() - started

    async def _save(self) -> None:
        replica = self._replica
        seq = await replica.settle()
        if seq == self._saved:
            return
        content = replica.content()
        sha256 = await off_loop(_write, replica.id, content, seq)
        self._saved = seq
        if sha256 is None or (replica.view.dirty is False and replica.view.hash == sha256):
            return

        def told() -> None:
            replica.view.dirty = False
            replica.view.hash = sha256

        number = await replica.note(told)
        if number and await off_loop(document_store.move_saved, replica.id, seq, number):
            self._saved = number
        self._saves += 1
        if self._saves % _SAVES_A_COMPACTION == 0:
            await off_loop(document_store.compact, replica.id)


def _write(document_id: UUID, content: notebook_form.Content, seq: int) -> str | None:
    return document_store.save(document_id, notebook_form.to_bytes(content), seq)


def _saved_seq(document_id: UUID) -> int:
    row = Document.objects.filter(pk=document_id).values_list("saved_seq", flat=True).first()
    if row is None:
        raise DocumentGone(str(document_id))
    return row
