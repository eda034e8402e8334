"""A document into its file, within a second of its last change, whoever changed it.

The process in which a change was made saves it; the others look somewhat later and find it done, or do it if that
process is gone.
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

_OWN_SECONDS = 0.4
_FOREIGN_SECONDS = 2.5
_MOST_PATIENCE = 30.0
# A large document is saved less often: at most this part of the time goes into it.
_MOST_SHARE = 0.2
_SAVES_A_COMPACTION = 50

log = logging.getLogger(__name__)


class Saver:
    """Saves one replica until it is closed."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._saving = asyncio.Lock()
        self._wanted = asyncio.Event()
        self._mine = False
        self._pause = 0.0
        self._saves = 0
        #: All up to this number is in the file.
        self._saved = 0
        replica.listen(self._changed)
        self._task = asyncio.create_task(self._run())

    def _changed(self, _update: bytes, foreign: bool, source: object) -> None:
        if source is NOTE:
            return
        self._mine = self._mine or not foreign
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
            await asyncio.sleep(max(_OWN_SECONDS if self._mine else _FOREIGN_SECONDS, self._pause))
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
                self._wanted.set()

    async def _save_if_needed(self) -> None:
        if not self._mine:
            self._wanted.clear()
            if await off_loop(_saved_seq, self._replica.id) >= await self._replica.settle():
                return
        await self.save()

    async def save(self) -> None:
        """Returns when the file holds all that is in the replica now. Raises DocumentGone or a StorageError."""
        async with self._saving:
            started = time.monotonic()
            self._wanted.clear()
            self._mine = False
            try:
                await self._save()
            except BaseException:
                self._mine = True
                self._wanted.set()
                raise
            self._pause = (time.monotonic() - started) / _MOST_SHARE

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
