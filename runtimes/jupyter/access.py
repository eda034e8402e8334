"""May this person (still) be in this workspace? Asked of the hooks, remembered for two seconds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from runtimes import bus
from runtimes.jupyter.entry import Entry, Place
from runtimes.jupyter.hooks import Access, Hooks, Mode
from runtimes.jupyter.off_loop import off_loop
from runtimes.jupyter.tickets import Credential
from runtimes.models import Workspace

REMEMBERED_SECONDS = 2.0
# The bus only wakes: a lost message costs an open socket at most this long.
RECHECK_SECONDS = 20.0
_MOST_REMEMBERED = 10_000


def _find(slug: str) -> Place | None:
    row = Workspace.objects.filter(slug=slug).values_list("pk", "read_only").first()
    return Place(row[0], slug, row[1]) if row else None


class Doorman:
    """Answers for workspaces and access from a short memory."""

    def __init__(self, hooks: Hooks) -> None:
        self._hooks = hooks
        self._places: dict[str, tuple[float, Place | None]] = {}
        self._accesses: dict[tuple[str, str], tuple[float, Access | None]] = {}

    async def place(self, slug: str) -> Place | None:
        """The workspace of that slug, or None."""
        now = time.monotonic()
        kept = self._places.get(slug)
        if kept and now - kept[0] < REMEMBERED_SECONDS:
            return kept[1]
        found = await off_loop(_find, slug)
        self._make_room()
        self._places[slug] = (now, found)
        return found

    async def enter(self, place: Place, credential: Credential) -> Entry | None:
        """The person's entry as of now, or None when they have no business here (any more)."""
        access = await self._access(credential.subject, place.slug)
        if access is None:
            return None
        modes: set[Mode] = {credential.mode, access.mode, "read" if place.read_only else "write"}
        return Entry(
            place=place,
            subject=credential.subject,
            display_name=access.display_name,
            mode="read" if "read" in modes else "write",
            language=access.language,
            theme=access.theme,
        )

    def forget(self, slug: str) -> None:
        """Asks anew about this workspace from now on."""
        self._places.pop(slug, None)
        for key in [key for key in self._accesses if key[1] == slug]:
            del self._accesses[key]

    @asynccontextmanager
    async def until_changed(self, entry: Entry, credential: Credential) -> AsyncIterator[asyncio.Task[None]]:
        """A task that ends when the entry is no longer what it was: revoked, or another mode."""
        watch = asyncio.create_task(self._watch(entry, credential))
        try:
            yield watch
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)

    async def _watch(self, entry: Entry, credential: Credential) -> None:
        news = asyncio.Event()
        listener = asyncio.create_task(_listen(f"access:{entry.slug}", news))
        try:
            while True:
                try:
                    async with asyncio.timeout(RECHECK_SECONDS):
                        await news.wait()
                except TimeoutError:
                    pass
                news.clear()
                self.forget(entry.slug)
                place = await self.place(entry.slug)
                current = await self.enter(place, credential) if place else None
                if current is None or current.mode != entry.mode:
                    return
        finally:
            listener.cancel()
            await asyncio.gather(listener, return_exceptions=True)

    async def _access(self, subject: str, slug: str) -> Access | None:
        now = time.monotonic()
        kept = self._accesses.get((subject, slug))
        if kept and now - kept[0] < REMEMBERED_SECONDS:
            return kept[1]
        access = await self._hooks.access(subject, slug)
        self._make_room()
        self._accesses[subject, slug] = (now, access)
        return access

    def _make_room(self) -> None:
        if len(self._places) + len(self._accesses) > _MOST_REMEMBERED:
            self._places.clear()
            self._accesses.clear()


async def _listen(topic: str, news: asyncio.Event) -> None:
    async with bus.subscribe(topic) as subscription:
        async for _topic, _payload in subscription:
            news.set()
