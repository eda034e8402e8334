"""Rows ⇄ running things: nothing leaks, nothing is forgotten. The heart of the `runtimes` process.

Rows are the requests. A wake-up over the bus makes it look within milliseconds; a timer makes it look anyway. Each
live runtime has a `Keeper`; this decides who gets one, in what order, and compares rows with what really exists.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta

from django.conf import settings
from django.db import DatabaseError
from django.utils import timezone

from runtimes import alive, bus, launch, profiles, rows
from runtimes.admission import admit
from runtimes.counter import Counter
from runtimes.errors import DATABASE_AWAY
from runtimes.keeper import Keeper
from runtimes.models import Runtime
from runtimes.provider import Owned, Phase, Provider, ProviderError, Reason
from runtimes.strangers import Strangers
from runtimes.trials import Trials

logger = logging.getLogger(__name__)

State = Runtime.State
LOOK_SECONDS = 2.0
COMPARE_SECONDS = 10.0
COUNT_SECONDS = 60.0
USAGE_SECONDS = 120.0
LEAVE_SECONDS = 45.0
AFTER_ERROR_SECONDS = 1.0
#: What went on for longer had worked again before it failed.
WORKS_SECONDS = 60.0
#: How long one that nobody saw a machine large enough for keeps smaller ones waiting.
ROOM_PATIENCE = timedelta(minutes=10)
_NO_ROOM = (Reason.CAPACITY_WAIT, Reason.ACCELERATOR_WAIT)


class Reconciler:
    """`run` until `leave` is called: then files are pulled, runtimes released, rows settled."""

    def __init__(self, provider: Provider, beside: alive.Loop | None = None) -> None:
        self._provider = provider
        self._beside = beside
        self._keepers: dict[str, Keeper] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._strangers = Strangers(provider)
        self._accelerators: int | None = None
        self._count_at = 0.0
        self._leaving = asyncio.Event()
        self._awake = asyncio.Event()
        self.started = asyncio.Event()

    def leave(self) -> None:
        """Asks `run` to end in good order."""
        self._leaving.set()
        self._awake.set()

    async def run(self) -> None:
        """Starts the provider, then keeps rows and things the same. Raises ProviderUnavailable if it cannot start."""
        await self._provider.start()
        works = [self._follow_events, self._compare, self._record_usage, self._listen, Trials(self._provider).run]
        if self._provider.lends:
            works.append(Counter(self._provider).run)
        helpers = [asyncio.create_task(for_ever(work)) for work in works]
        try:
            self.started.set()
            await self._look_until_leaving()
        finally:
            await self._leave(helpers)
            await self._provider.close()

    async def _look_until_leaving(self) -> None:
        while not self._leaving.is_set():
            self._awake.clear()
            if self._beside is None or not self._beside.hangs():
                alive.moved("runtimes")
            try:
                await self._look()
            except DATABASE_AWAY as error:
                logger.warning("the rows could not be read, the database is not there: %s", error)
            except DatabaseError:
                logger.exception("the rows could not be read; trying again")
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._awake.wait()

    async def _listen(self) -> None:
        async with bus.subscribe("runtimes") as news:
            async for _message in news:
                self._awake.set()

    async def _look(self) -> None:
        """One pass: every live row to its keeper, and new keepers first come first served, as far as there is room."""
        asking = await rows.with_unsettled_kernels()
        found = await rows.live()
        for row in found:
            keeper = self._keepers.get(row.name)
            if keeper is not None:
                keeper.see(row, kernels_ask=row.pk in asking)
            elif row.state != State.QUEUED:
                # A predecessor began it: acquiring again and releasing again are safe.
                await self._take_over(row)
        await self._admit(found)

    async def _admit(self, found: Sequence[Runtime]) -> None:
        now = timezone.now()
        waiting = (row for row in found if row.state == State.QUEUED)
        gone = {row.pk for row in waiting if row.lease_until is not None and row.lease_until < now}
        for row in found:
            if row.pk in gone:
                await launch.astop(row, reason=Reason.OWNER_GONE)
        doubtful = await self._doubtful(found)
        admission = admit([row for row in found if row.pk not in gone], settings.RUNTIMES_MOST, doubtful)
        for row in admission.back:
            if keeper := self._keepers.get(row.name):
                keeper.give_place()
        await rows.note_queued(admission.held)
        begun = await rows.begin_start(admission.begin, self._provider.slug) if admission.begin else set()
        for row in admission.begin:
            if row.pk in begun and row.name not in self._keepers:
                row.state, row.reason = State.STARTING, ""
                self._keep(Keeper(self._provider, row))

    async def _doubtful(self, found: Sequence[Runtime]) -> set[int]:
        """Keys of those that have waited for room for long, and perhaps in vain: none had as much lately."""
        doubtful = set()
        for row in found:
            keeper = self._keepers.get(row.name)
            if keeper is None or row.state != State.STARTING or row.reason not in _NO_ROOM:
                continue
            if keeper.doubtful is None and timezone.now() - keeper.began_at >= ROOM_PATIENCE:
                keeper.doubtful = not await rows.had_room(row)
            if keeper.doubtful:
                doubtful.add(row.pk)
        return doubtful

    async def _take_over(self, row: Runtime) -> None:
        row = await rows.reload(row)
        if row.state == State.QUEUED or row.state not in Runtime.LIVE:
            return
        keeper = Keeper(self._provider, row)
        if row.state != State.STARTING:
            # Before it begins: what ended while nobody watched is then known as that.
            await keeper.check_exists()
        self._keep(keeper)

    def _keep(self, keeper: Keeper) -> None:
        row = keeper.row
        self._keepers[row.name] = keeper
        task = asyncio.create_task(keeper.run(), name=f"keeper of {row.name}")
        self._tasks[row.name] = task
        task.add_done_callback(lambda done: self._kept(row.name, done))

    def _kept(self, name: str, task: asyncio.Task[None]) -> None:
        self._keepers.pop(name, None)
        self._tasks.pop(name, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            # Its row is still live: the next look gives it another keeper.
            logger.error("runtime %s: its keeper failed", name, exc_info=error)
        else:
            self._awake.set()

    async def _follow_events(self) -> None:
        async for name, status in self._provider.events():
            keeper = self._keepers.get(name)
            if keeper is not None:
                keeper.told(status)

    async def _compare(self) -> None:
        """Has ended what no row knows of; asks after what a row knows and nobody has seen; tells operators."""
        while True:
            things = await self._provider.owned()
            owned = {thing.name for thing in things if thing.name}
            # Rows are read after the things: whoever is started has a row before.
            known = await rows.names_live()
            self._strangers.see(owned - known - self._keepers.keys())
            for name, keeper in list(self._keepers.items()):
                if name not in owned and keeper.row.state == State.READY:
                    await keeper.check_exists()
            await self._report(things, await self._keep_warm())
            await asyncio.sleep(COMPARE_SECONDS)

    async def _report(self, things: Sequence[Owned], pools: rows.Pools) -> None:
        """For the operators' page and the metrics. GPUs are counted now and then: a large cluster has many nodes."""
        now = asyncio.get_running_loop().time()
        if now >= self._count_at:
            self._count_at = now + COUNT_SECONDS
            self._accelerators = await self._provider.accelerators()
        warm = sum(not thing.name and thing.status.phase is Phase.READY for thing in things)
        await rows.report(self._provider.slug, warm, pools, self._accelerators, await self._provider.warm_lacks())

    async def _keep_warm(self) -> rows.Pools:
        """Tells the provider what to keep ready. Returns how much of it is."""
        now = timezone.now()
        wanted = [(profile, profiles.warm_now(profile, now)) for profile in await rows.warm_profiles()]
        ready: Mapping[str, int] = {}
        try:
            ready = await self._provider.keep_warm([(profiles.template(one), count) for one, count in wanted if count])
        except ProviderError as error:
            logger.warning("none is kept warm: %s", error)
        return {one.slug: {"wished": count, "ready": ready.get(one.slug, 0)} for one, count in wanted}

    async def _record_usage(self) -> None:
        while True:
            await asyncio.sleep(USAGE_SECONDS)
            await rows.make_way()
            await rows.record_usage([keeper.row for keeper in self._keepers.values() if keeper.row.ready_at])

    async def _leave(self, helpers: Sequence[asyncio.Task[None]]) -> None:
        """Each keeper pulls files, releases and settles its row, all at once and within a bound; where runtimes outlive
        this process, a successor takes the rows over as they are."""
        for keeper in list(self._keepers.values()):
            keeper.leave()
            if self._provider.outlives:
                self._tasks[keeper.row.name].cancel()
        tasks = list(self._tasks.values())
        if tasks:
            _done, late = await asyncio.wait(tasks, timeout=LEAVE_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        for helper in helpers:
            helper.cancel()
        await asyncio.gather(*helpers, return_exceptions=True)
        await self._strangers.close()


async def for_ever(work: Callable[[], Awaitable[None]]) -> None:
    """Begins `work` again whenever it ends or fails: a fault in one part must not take every kernel along. What goes on
    failing, as while the cluster's API is away, is logged with its traceback once, then in a line each time."""
    name = getattr(work, "__qualname__", work)
    loop = asyncio.get_running_loop()
    told: type[Exception] | None = None
    while True:
        began = loop.time()
        try:
            await work()
            told = None
        except DATABASE_AWAY as error:
            logger.warning("%s: the database is not there, beginning again: %s", name, error)
        except Exception as error:
            if type(error) is told and loop.time() - began < WORKS_SECONDS:
                logger.warning("%s failed as before, beginning again: %r", name, error)
            else:
                logger.exception("%s failed, beginning again", name)
            told = type(error)
        await asyncio.sleep(AFTER_ERROR_SECONDS)
