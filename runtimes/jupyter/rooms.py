"""Which rooms this process has: one a document, one a workspace for who is there at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID
from weakref import WeakKeyDictionary

from runtimes.jupyter.entry import Place
from runtimes.jupyter.errors import NotFound
from runtimes.jupyter.off_loop import off_loop
from runtimes.jupyter.open_documents import OpenDocument, open_documents
from runtimes.jupyter.room import Room
from runtimes.models import Document

GLOBAL_AWARENESS = "JupyterLab:globalAwareness"


@dataclass
class Entered:
    """A room with somebody in it, and the document that it is about."""

    room: Room
    opened: OpenDocument | None
    users: int = 0
    holding: AsyncExitStack = field(default_factory=AsyncExitStack, repr=False)

    async def gone(self) -> None:
        """Returns when the document was removed; never for a room without one."""
        await (self.opened.replica.gone if self.opened else asyncio.Event()).wait()


class Rooms:
    """Those of one event loop. A room lives while somebody is in it; its document somewhat longer."""

    def __init__(self) -> None:
        self._rooms: dict[str, Entered] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    @asynccontextmanager
    async def enter(self, place: Place, name: str) -> AsyncIterator[Entered]:
        """The room of that name in the workspace. Raises NotFound if there is none, NotANotebook if it cannot be."""
        key = f"{place.slug}/{name}"
        lock = self._locks.setdefault(key, asyncio.Lock())
        async with lock:
            entered = self._rooms.get(key)
            if entered is None or (entered.opened and entered.opened.replica.gone.is_set()):
                entered = self._rooms[key] = await self._make(place, name)
            entered.users += 1
        try:
            yield entered
        finally:
            async with lock:
                entered.users -= 1
                if entered.users == 0:
                    await self._unmake(key, entered)

    async def _make(self, place: Place, name: str) -> Entered:
        async with AsyncExitStack() as stack:
            opened = None
            topic = f"aware:{place.slug}"
            if name != GLOBAL_AWARENESS:
                document_id = await off_loop(document_id_of, place.workspace_id, name)
                opened = await stack.enter_async_context(open_documents().hold(document_id))
                topic = f"aware:{document_id}"
            room = Room(topic, opened)
            await room.start()
            return Entered(room, opened, holding=stack.pop_all())

    async def _unmake(self, key: str, entered: Entered) -> None:
        if self._rooms.get(key) is entered:
            del self._rooms[key]
            del self._locks[key]
        await entered.room.stop()
        await entered.holding.aclose()


def document_id_of(workspace_id: int, name: str) -> UUID:
    """The document that `<format>:<type>:<fileId>` names in this workspace. Raises NotFound."""
    file_format, _, rest = name.partition(":")
    kind, _, file_id = rest.partition(":")
    try:
        document_id = UUID(file_id)
    except ValueError as error:
        raise NotFound(name) from error
    rows = Document.objects.filter(pk=document_id, workspace_id=workspace_id, format=file_format, type=kind)
    if not rows.exists():
        raise NotFound(name)
    return document_id


_of_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, Rooms] = WeakKeyDictionary()


def rooms() -> Rooms:
    """The running event loop's rooms."""
    return _of_loop.setdefault(asyncio.get_running_loop(), Rooms())
