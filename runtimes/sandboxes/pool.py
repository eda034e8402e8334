"""Sandboxes that are ready before anyone asks. Each is used once, by a request that equals its template."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from runtimes.provider import Isolation, Machine, ProviderError, Request
from runtimes.sandboxes.environment import KernelEnvironment
from runtimes.sandboxes.sandbox import Sandbox
from runtimes.sandboxes.starting import Starter

log = logging.getLogger(__name__)
ANY_NAME = "warm"
RETRY_SECONDS = 5.0
# Whoever took one is waiting for its first answer now, which a start beside it would hold up.
QUIET_SECONDS = 0.5


@dataclass(eq=False)
class Wish:
    """So many of these. A wish is itself only: two that ask for the same are two. profile: whose. fault: why the last
    one did not start, "" where it did."""

    template: Request
    count: int
    environment: KernelEnvironment
    profile: str = ""
    ready: list[Sandbox] = field(default_factory=list)
    fault: str = ""

    @property
    def is_short(self) -> bool:
        """Fewer are ready than asked for."""
        return len(self.ready) < self.count


class Pool:
    """Filled in the background, one sandbox after the other and a moment after one was taken, so that it does not
    compete with what people wait for; of each wish one in turn. quiet: that moment, in seconds."""

    def __init__(
        self, starter: Starter, environment: Callable[[str], KernelEnvironment], *, quiet: float = QUIET_SECONDS
    ) -> None:
        self._starter = starter
        self._environment = environment
        self._quiet = quiet
        self._wishes: list[Wish] = []
        self._work = asyncio.Event()
        self._filling: asyncio.Task[None] | None = None

    async def keep(self, templates: Sequence[tuple[Request, int]]) -> dict[str, int]:
        """Replaces the wishes; what no wish asks for any more is ended. Returns how many are ready, by profile."""
        former, self._wishes = self._wishes, []
        surplus: list[Sandbox] = []
        for request, count in templates:
            template, environment = _template(request), self._environment(request.environment)
            wish = _taken(former, template, environment) or Wish(template, count, environment)
            alive = [sandbox for sandbox in wish.ready if sandbox.alive()]
            surplus += [*alive[count:], *(sandbox for sandbox in wish.ready if not sandbox.alive())]
            wish.count, wish.ready, wish.profile = count, alive[:count], request.machine.slug
            self._wishes.append(wish)
        await self._end(surplus)
        await self._end([sandbox for wish in former for sandbox in wish.ready])
        self._work.set()
        if self._filling is None:
            self._filling = asyncio.create_task(self._fill())
        ready: Counter[str] = Counter()
        for wish in self._wishes:
            ready[wish.profile] += len(wish.ready)
        return ready

    def claim(self, request: Request, environment: KernelEnvironment) -> Sandbox | None:
        """A ready sandbox for `request`, taken out; another is made in its place."""
        template = _template(request)
        for wish in self._wishes:
            if wish.template != template or wish.environment != environment:
                continue
            while wish.ready:
                sandbox = wish.ready.pop(0)
                self._work.set()
                if sandbox.alive():
                    return sandbox
                self._ending = asyncio.create_task(self._end([sandbox]))
        return None

    def faults(self) -> dict[str, str]:
        """Why fewer are ready than wished for, by profile; those that only start are no reason."""
        return {wish.profile: wish.fault for wish in self._wishes if wish.is_short and wish.fault}

    async def close(self) -> None:
        """Ends all that is warm."""
        if self._filling is not None:
            self._filling.cancel()
            await asyncio.gather(self._filling, return_exceptions=True)
        await self._end([sandbox for wish in self._wishes for sandbox in wish.ready])
        self._wishes = []

    async def _fill(self) -> None:
        while True:
            self._work.clear()
            for wish in list(self._wishes):
                await self._warm_server(wish)
                if wish in self._wishes and wish.is_short:
                    await self._add(wish)
            short = [wish for wish in self._wishes if wish.is_short]
            if all(wish.fault for wish in short):
                with suppress(TimeoutError):
                    async with asyncio.timeout(RETRY_SECONDS if short else None):
                        await self._work.wait()
                    await asyncio.sleep(self._quiet)

    async def _warm_server(self, wish: Wish) -> None:
        """A fork server is worth having even for a template of which none shall be ready."""
        if wish.template.isolation in (None, Isolation.FORKED):
            try:
                await self._starter.servers.get(wish.environment, wish.template.preload)
            except ProviderError as error:
                log.warning("no fork server for a warm sandbox: %s", error)

    async def _add(self, wish: Wish) -> None:
        try:
            sandbox = await self._starter.start(replace(wish.template, name=""), wish.environment)
        except (ProviderError, OSError) as error:
            log.warning("profile %s: a warm sandbox did not start: %s", wish.profile, error)
            wish.fault = str(error)
            return
        wish.fault = ""
        if wish in self._wishes and wish.is_short:
            wish.ready.append(sandbox)
        else:
            await self._end([sandbox])

    async def _end(self, sandboxes: Sequence[Sandbox]) -> None:
        for sandbox in sandboxes:
            await self._starter.run(sandbox.close)


def _taken(wishes: list[Wish], template: Request, environment: KernelEnvironment) -> Wish | None:
    """The wish for this, taken out of the list: one that is being filled must stay the same wish."""
    for wish in wishes:
        if wish.template == template and wish.environment == environment:
            wishes.remove(wish)
            return wish
    return None


def _template(request: Request) -> Request:
    return replace(request, name=ANY_NAME, environment="", machine=Machine())
