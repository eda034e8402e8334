"""`manage.py runtimes`: the one process that owns sandboxes, their queue, their limits and the server-side runs."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from runtimes import provider
from runtimes.alive import Loop
from runtimes.jupyter.execution import Executor
from runtimes.provider import ProviderUnavailable
from runtimes.reconcile import Reconciler, for_ever
from runtimes.sole import AlreadyRunning, sole


class Command(BaseCommand):
    """Runs until SIGTERM or SIGINT, then pulls files, ends every runtime and settles its row."""

    help = "Own the runtimes: start, limit, reconcile and end sandboxes or pods, and run cells. One for each site."
    requires_system_checks = ("pupitre",)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            asyncio.run(_main(self._ready))
        except AlreadyRunning as error:
            raise CommandError(f"The runtimes process runs already: {error}.") from error
        except ProviderUnavailable as error:
            raise CommandError(f"{error.user_message} ({error})") from error

    def _ready(self) -> None:
        """Says so as a log does, whatever the level of logs: who started this may wait for it at the end of a pipe."""
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        told = {"event": "runtimes: ready", "level": "info", "logger": __name__, "timestamp": now}
        self.stdout.write(json.dumps(told))
        self.stdout.flush()


async def _main(ready: Callable[[], Any]) -> None:
    cells = Loop("cells")
    reconciler = Reconciler(provider.get(), beside=cells)
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, reconciler.leave)
    async with sole(lost=_end_at_once):
        running = asyncio.create_task(_execute(reconciler.started, ready, cells))
        try:
            await reconciler.run()
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


async def _execute(started: asyncio.Event, ready: Callable[[], Any], sign: Loop) -> None:
    """Runs cells for as long as this process lives."""
    await started.wait()
    ready()
    await for_ever(lambda: Executor(sign).run())


def _end_at_once() -> None:
    # Someone else owns the rows now: nothing of ours may be written any more, and sandboxes die with this process.
    os._exit(1)
