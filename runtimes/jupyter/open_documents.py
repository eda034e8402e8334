"""The documents that this process has open: one replica each, for sockets and running cells, kept a little while."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID
from weakref import WeakKeyDictionary

from runtimes.jupyter import document_store
from runtimes.jupyter.document_log import DocumentGone
from runtimes.jupyter.off_loop import off_loop
from runtimes.jupyter.replica import Replica
from runtimes.jupyter.saving import Saver

#: A page that is reloaded comes back to a warm replica.
_KEPT_SECONDS = 30.0
_COMPACT_FROM = 20

log = logging.getLogger(__name__)


@dataclass
class OpenDocument:
    """A replica with its saver and the number of those who use it."""

    replica: Replica
    saver: Saver
    users: int = 0
    closing: asyncio.Task[None] | None = field(default=None, repr=False)


class OpenDocuments:
    """Those of one event loop."""

    def __init__(self) -> None:
        self._open: dict[UUID, OpenDocument] = {}
        self._locks: dict[UUID, asyncio.Lock] = {}

    @asynccontextmanager
    async def hold(self, document_id: UUID) -> AsyncIterator[OpenDocument]:
        """The open document, which stays open inside. Raises DocumentGone, NotFound or NotANotebook."""
        opened = await self._take(document_id)
        try:
            yield opened
        finally:
            self._give(opened)

    def get(self, document_id: UUID) -> OpenDocument | None:
        """The document if it is open here."""
        return self._open.get(document_id)

    async def _take(self, document_id: UUID) -> OpenDocument:
        async with self._locks.setdefault(document_id, asyncio.Lock()):
            opened = self._open.get(document_id)
            if opened is None or opened.replica.gone.is_set():
                replica = await Replica.load(document_id)
                opened = self._open[document_id] = OpenDocument(replica, Saver(replica))
            opened.users += 1
            if opened.closing is not None:
                opened.closing.cancel()
                opened.closing = None
            return opened

    def _give(self, opened: OpenDocument) -> None:
        opened.users -= 1
        if opened.users == 0:
            opened.closing = asyncio.create_task(self._close_later(opened))

    async def _close_later(self, opened: OpenDocument) -> None:
        if not opened.replica.gone.is_set():
            await asyncio.sleep(_KEPT_SECONDS)
        async with self._locks[opened.replica.id]:
            if opened.users == 0:
                opened.closing = None  # from here on it is not to be cancelled, but waited for
                await self._close(opened)

    async def _close(self, opened: OpenDocument) -> None:
        replica = opened.replica
        if self._open.get(replica.id) is opened:
            del self._open[replica.id]
        try:
            await opened.saver.close()
            await replica.close()
            if not replica.gone.is_set():
                await off_loop(document_store.compact, replica.id, at_least=_COMPACT_FROM)
        except DocumentGone:
            pass
        except Exception:
            # All that was acknowledged is in the log; whoever opens the document next goes on from there.
            log.exception("document %s could not be closed in order", replica.id)

    async def drop(self, opened: OpenDocument) -> None:
        """Forgets a replica that is not to be trusted any more; the next user loads another from the log."""
        if self._open.get(opened.replica.id) is opened:
            del self._open[opened.replica.id]
        opened.replica.gone.set()

    async def close(self) -> None:
        """Saves and closes all, used or not: the process ends."""
        for opened in list(self._open.values()):
            if opened.closing is not None:
                opened.closing.cancel()
            await self._close(opened)


_of_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, OpenDocuments] = WeakKeyDictionary()


def open_documents() -> OpenDocuments:
    """The running event loop's open documents."""
    return _of_loop.setdefault(asyncio.get_running_loop(), OpenDocuments())
