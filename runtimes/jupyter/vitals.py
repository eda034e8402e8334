"""What a bridge tells the rows about its kernel: busy or idle, and that somebody is there. At most once a second."""

from __future__ import annotations

import asyncio
import json

from django.utils import timezone

from runtimes import launch, load
from runtimes.jupyter.off_loop import off_loop
from runtimes.models import Kernel, Runtime

_STATES = {"starting", "idle", "busy"}
_EVERY_SECONDS = 1.0


class Vitals:
    """Collects what was heard; `keep` writes it."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._state = ""
        self._written = ""
        self._used = self._executes = False
        self._news = asyncio.Event()

    def heard(self, content: bytes) -> None:
        """A status message's content, which student code may have written."""
        try:
            state = json.loads(content).get("execution_state")
        except (ValueError, AttributeError):
            return
        if isinstance(state, str) and state in _STATES:
            self._state = state
            self._news.set()

    def used(self, *, executes: bool = False) -> None:
        """The page sent something. executes: code to be run."""
        self._used = True
        self._executes = self._executes or executes
        self._news.set()

    async def keep(self) -> None:
        """Writes what was heard, for ever."""
        while True:
            await self._news.wait()
            self._news.clear()
            await off_loop(self._write)
            await asyncio.sleep(_EVERY_SECONDS)

    def _write(self) -> None:
        if self._used:
            self._used = False
            launch.touch(self._kernel.runtime)
        if self._executes:
            self._executes = False
            load.began(Runtime.objects.filter(pk=self._kernel.runtime_id))
        if self._state and self._state != self._written:
            self._written = self._state
            running = Kernel.objects.filter(pk=self._kernel.pk, state=Kernel.State.RUNNING)
            running.exclude(execution_state=self._state).update(
                execution_state=self._state, last_activity=timezone.now()
            )
