"""The local provider: sandboxed processes on this host."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import timedelta
from typing import IO, ClassVar, Self, override

from runtimes.news import News
from runtimes.provider import (
    Endpoint,
    InvalidRequest,
    Isolation,
    Kernelspec,
    Loan,
    NotOffered,
    NotReady,
    Owned,
    Phase,
    Provider,
    ProviderError,
    ProviderUnavailable,
    Reason,
    Request,
    Status,
    UnknownRuntime,
)
from runtimes.sandboxes import bubblewrap, cgroups, gpus, host, offers, seccomp, slots
from runtimes.sandboxes.config import MAX_RUN_DIR_BYTES, SandboxConfig
from runtimes.sandboxes.environment import KernelEnvironment
from runtimes.sandboxes.gpus import HostGpus
from runtimes.sandboxes.line import Line
from runtimes.sandboxes.loans import Loans
from runtimes.sandboxes.place import Place
from runtimes.sandboxes.pool import Pool
from runtimes.sandboxes.seats import Seats
from runtimes.sandboxes.starting import Starter

log = logging.getLogger(__name__)
# How a request asks for the environment that set-up made last.
CURRENT = ("", "default")


class LocalProvider(Provider):
    """Sandboxes of one run folder, owned by one process: when it dies, however it dies, they die."""

    slug: ClassVar[str] = "local"
    lends: ClassVar[bool] = True

    def __init__(self, config: SandboxConfig) -> None:
        self._config = config
        self._places: dict[str, Place] = {}
        self._line = Line(Seats(HostGpus(), self._serve_queue), self._full)
        self._current = ""
        self._news = News()
        self._lock: IO[str] | None = None
        self._starter: Starter | None = None
        self._pool: Pool | None = None
        self._lacks: dict[str, str] = {}
        self._loans: Loans | None = None

    @classmethod
    @override
    def from_settings(cls) -> Self:
        return cls(SandboxConfig.from_settings())

    @override
    async def start(self) -> None:
        config = self._config
        try:
            features = await asyncio.to_thread(self._prepare)
        except BaseException:
            self._unlock()
            raise
        found = cgroups.find(wanted=config.cgroups)
        if not found.controllers:
            log.warning("no control groups can be made here: sandboxes are limited by rlimits only")
        found_gpus = await asyncio.to_thread(gpus.configured, config)
        log.info("GPUs: %s", found_gpus)
        self._line = Line(Seats(found_gpus, self._serve_queue), self._full)
        self._starter = Starter(config, features, found)
        self._pool = Pool(self._starter, self._environment)
        self._loans = Loans(self._starter, self._crowded, self._serve_queue)

    @override
    async def acquire(self, request: Request) -> Status:
        starter = self._running()
        known = self._places.get(request.name)
        if known is not None:
            return known.status
        self._check(request)
        environment = self._environment(request.environment)
        self._drain_former(request, environment)
        place = Place(request, environment, self._changed)
        warm = self._pool.claim(request, environment) if self._pool else None
        if warm is not None:
            self._places[request.name] = place
            place.adopt(warm, starter)
        else:
            self._line.join(place)
            self._serve_queue()
            self._places[request.name] = place
        return place.status

    @override
    async def status(self, name: str) -> Status:
        return self._place(name).status

    @override
    async def events(self) -> AsyncIterator[tuple[str, Status]]:
        async with self._news.subscribe() as news:
            async for item in news:
                yield item

    @override
    async def endpoint(self, name: str) -> Endpoint:
        place = self._place(name)
        if place.sandbox is None or place.status.phase is not Phase.READY:
            raise NotReady(f"{name} is {place.status.phase}")
        return place.sandbox.endpoint

    @override
    async def release(self, name: str, *, reason: Reason = Reason.REQUESTED, grace: timedelta = timedelta(0)) -> None:
        place = self._places.get(name)
        if place is None:
            return
        self._line.leave(place)
        await place.end(self._running(), reason, grace)
        self._places.pop(name, None)
        self._serve_queue()

    @override
    async def lend(self, request: Request) -> Loan:
        self._running()
        self._check(request)
        if request.gpu or (request.isolation or self._config.isolation) is not Isolation.FORKED:
            raise NotOffered("only a forked sandbox can be lent")
        environment = self._environment(request.environment)
        self._drain_former(request, environment)
        assert self._loans is not None
        return await self._loans.lend(request, environment)

    @override
    async def owned(self) -> list[Owned]:
        by_identity = {place.identity: place for place in self._places.values() if place.identity}
        owned = []
        for slot in await asyncio.to_thread(slots.found, self._config):
            place = by_identity.get(slot.identity)
            status = place.status if place else Status(Phase.READY if not slot.name else Phase.STARTING)
            owned.append(Owned(slot.name, slot.identity, status))
        seen = {each.name for each in owned}
        waiting = [Owned(name, "", place.status) for name, place in self._places.items() if name not in seen]
        return owned + waiting

    @override
    async def keep_warm(self, templates: Sequence[tuple[Request, int]]) -> Mapping[str, int]:
        self._running()
        whys = [offers.IDLE_GPU if request.gpu else await self.refusal(request) for request, _count in templates]
        self._lacks = {request.machine.slug: why for (request, _count), why in zip(templates, whys, strict=True) if why}
        chosen = [one for one, why in zip(templates, whys, strict=True) if not why]
        return await self._pool.keep(chosen) if self._pool is not None else {}

    @override
    async def warm_lacks(self) -> Mapping[str, str]:
        return {**self._lacks, **(self._pool.faults() if self._pool is not None else {})}

    @override
    async def environments(self) -> list[str]:
        found = await asyncio.to_thread(self._config.kernel_environments)
        return [environment.digest for environment in found]

    @override
    async def environment_of(self, request: Request) -> str:
        return self._environment(request.environment).digest

    @override
    async def close(self) -> None:
        starter, self._starter = self._starter, None
        if starter is not None:
            for held in (self._pool, self._loans):
                if held is not None:
                    await held.close()
            places = list(self._places.values())
            await asyncio.gather(*(place.end(starter, Reason.OWNER_GONE, timedelta(0)) for place in places))
            self._places.clear()
            await starter.close()
            await asyncio.to_thread(slots.remove_folder, config=self._config)
        self._news.close()
        self._unlock()

    @override
    async def accelerators(self) -> int | None:
        return len(self._line.seats.found.gpus)

    @override
    async def cpu_seconds(self, name: str) -> float | None:
        place = self._places.get(name)
        return None if place is None else await asyncio.to_thread(place.cpu_seconds)

    @override
    async def throttle(self, name: str, share: float | None) -> bool:
        return await asyncio.to_thread(self._place(name).throttle, share)

    @override
    async def refusal(self, request: Request) -> str:
        found = self._line.seats.found if self._starter else await asyncio.to_thread(gpus.configured, self._config)
        try:
            offers.check(request, found)
            self._environment(request.environment)
        except InvalidRequest as error:
            return str(error)
        return ""

    @override
    def kernelspecs(self, environment: str) -> Mapping[str, Kernelspec]:
        try:
            return self._environment(environment).kernelspecs()
        except ProviderError:
            return {}

    # --- inside

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _prepare(self) -> host.Features:
        """Folders, the lock, and a clean slate. Blocks."""
        config = self._config
        features = host.check(config.uid)
        config.kernel_environments()
        if len(bytes(config.run_dir)) > MAX_RUN_DIR_BYTES:
            raise ProviderUnavailable(
                f"{config.run_dir} is too long a path for sockets: set PUPITRE_RUN to a shorter one"
            )
        for folder, mode in ((config.run_dir, 0o711), (config.records, 0o700)):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(mode)
        self._lock = host.lock(config.run_dir)
        slots.make_folder(config)
        left = slots.sweep(config)
        if left:
            log.warning("removed %d sandboxes that a killed predecessor left", left)
        bubblewrap.write_system_files(config.system, seccomp.program())
        for folder in (config.system, config.slots, config.environments_dir):
            host.check_reachable(folder, config.uid)
        return features

    def _running(self) -> Starter:
        if self._starter is None:
            raise ProviderUnavailable("the provider of sandboxes was not started, or is closed")
        return self._starter

    def _check(self, request: Request) -> None:
        offers.check(request, self._line.seats.found)

    def _environment(self, digest: str) -> KernelEnvironment:
        found = self._config.kernel_environments()
        if digest in CURRENT:
            return found[0]
        for environment in found:
            if environment.digest == digest:
                return environment
        raise NotOffered(f"there is no kernel environment {digest}")

    def _drain_former(self, request: Request, environment: KernelEnvironment) -> None:
        """When set-up made a new environment, fork servers of the former one end with their last sandbox."""
        if request.environment in CURRENT and environment.digest != self._current and self._starter is not None:
            if self._current:
                self._starter.servers.drain(keep={environment.digest})
            self._current = environment.digest

    def _place(self, name: str) -> Place:
        try:
            return self._places[name]
        except KeyError:
            raise UnknownRuntime(name) from None

    def _full(self) -> bool:
        live = sum(1 for place in self._places.values() if place.live)
        lent = self._loans.count if self._loans is not None else 0
        return live + lent >= self._config.capacity

    def _crowded(self) -> bool:
        """No room, or others came first."""
        return self._line.crowded or self._full()

    def _changed(self, place: Place) -> None:
        self._news.tell(place.request.name, place.status)
        if place.status.phase.final:
            self._serve_queue()

    def _serve_queue(self) -> None:
        if (starter := self._starter) is not None:
            self._line.serve(lambda place, hold: place.begin(starter, hold))
        if self._loans is not None:
            self._loans.notice_room()
