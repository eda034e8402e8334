"""Every fork server of this host, by (environment, modules): made when first wanted, drained when no longer."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from runtimes.sandboxes.config import SandboxConfig
from runtimes.sandboxes.environment import KernelEnvironment
from runtimes.sandboxes.fork_server import ForkServer, ForkServerFailed

log = logging.getLogger(__name__)
RETRY_SECONDS = 60.0
Key = tuple[str, tuple[str, ...], bool]


class ForkServers:
    """`start` is a parameter of tests only."""

    def __init__(self, config: SandboxConfig, make: Callable[..., ForkServer] = ForkServer) -> None:
        self._config = config
        self._make = make
        self._servers: dict[Key, ForkServer] = {}
        self._starting: dict[Key, asyncio.Task[ForkServer]] = {}
        self._failed: dict[Key, float] = {}
        self._draining: set[ForkServer] = set()
        self._closing: set[asyncio.Task[None]] = set()

    def ready(
        self, environment: KernelEnvironment, preload: tuple[str, ...], *, lean: bool = False
    ) -> ForkServer | None:
        """The server for this, if it runs."""
        server = self._servers.get(_key(environment, preload, lean=lean))
        return server if server is not None and server.alive else None

    async def get(self, environment: KernelEnvironment, preload: tuple[str, ...], *, lean: bool = False) -> ForkServer:
        """The server for this (lean: without what only people at work need), started if need be (a second or two).

        Raises ForkServerFailed, also for a minute after a failure: a host that cannot fork should not try for every
        notebook."""
        running = self.ready(environment, preload, lean=lean)
        if running is not None:
            return running
        key = _key(environment, preload, lean=lean)
        if time.monotonic() - self._failed.get(key, float("-inf")) < RETRY_SECONDS:
            raise ForkServerFailed("the fork server did not start a moment ago")
        if key not in self._starting:
            self._starting[key] = asyncio.create_task(self._start(key, environment))
        # One caller that gives up must not take the others' start away.
        return await asyncio.shield(self._starting[key])

    def use(self, server: ForkServer) -> Callable[[], None]:
        """Counts a sandbox of `server`; call the result when it is gone."""
        server.users += 1
        server.last_used = time.monotonic()
        loop = asyncio.get_running_loop()

        def gone() -> None:
            loop.call_soon_threadsafe(self._gone, server)

        return gone

    def drain(self, keep: set[str]) -> None:
        """Servers of environments that are not in `keep` end as soon as they have no sandbox."""
        for key, server in list(self._servers.items()):
            if key[0] not in keep:
                self._retire(key, server)

    async def close(self) -> None:
        """Ends every server and so every sandbox forked from one."""
        for task in self._starting.values():
            task.cancel()
        await asyncio.gather(*self._starting.values(), return_exceptions=True)
        servers = [*self._servers.values(), *self._draining]
        self._servers.clear()
        self._draining.clear()
        await asyncio.gather(*(server.close() for server in servers), *self._closing)

    async def _start(self, key: Key, environment: KernelEnvironment) -> ForkServer:
        server = self._make(self._config, environment, key[1], lean=key[2])
        try:
            await server.start(lambda: self._died(key, server))
        except ForkServerFailed:
            self._failed[key] = time.monotonic()
            raise
        except BaseException:
            await server.close()
            raise
        finally:
            self._starting.pop(key, None)
        server.last_used = time.monotonic()
        self._servers[key] = server
        self._retire_spare()
        return server

    def _retire_spare(self) -> None:
        """The least recently used of those without a sandbox go, beyond so many."""
        unused = [(server.last_used, key) for key, server in self._servers.items() if not server.users]
        for _last_used, key in sorted(unused)[: max(0, len(self._servers) - self._config.spare)]:
            self._retire(key, self._servers[key])

    def _retire(self, key: Key, server: ForkServer) -> None:
        del self._servers[key]
        self._draining.add(server)
        self._close_if_drained(server)

    def _gone(self, server: ForkServer) -> None:
        server.users -= 1
        self._close_if_drained(server)

    def _close_if_drained(self, server: ForkServer) -> None:
        if server in self._draining and not server.users:
            self._draining.discard(server)
            self._close_later(server)

    def _died(self, key: Key, server: ForkServer) -> None:
        log.error("a fork server died; its sandboxes died with it")
        if self._servers.get(key) is server:
            del self._servers[key]
        self._draining.discard(server)
        self._close_later(server)

    def _close_later(self, server: ForkServer) -> None:
        closing = asyncio.create_task(server.close())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)


def _key(environment: KernelEnvironment, preload: tuple[str, ...], *, lean: bool) -> Key:
    return environment.digest, tuple(sorted(set(preload))), lean
