"""Ends a runtime that nobody uses and whose site is silent: what outlives its site must not outlive its limits."""

from __future__ import annotations

import time
from collections.abc import Callable


class IdleSwitch:
    """seconds: how long neither the site nor a kernel may stir; None: for ever. armed: it counts before the site has
    ever spoken; a warm runtime waits for that."""

    def __init__(self, seconds: float | None, end: Callable[[], None], *, armed: bool) -> None:
        self._seconds = seconds
        self._end = end
        self._armed = armed
        self._heard_at = time.monotonic()

    def heard(self) -> None:
        """The site has asked something."""
        self._heard_at, self._armed = time.monotonic(), True

    def look(self, idle_seconds: float) -> None:
        """Ends the runtime when it is time. idle_seconds: for how long no kernel has done anything."""
        if self._seconds is None or not self._armed:
            return
        if min(idle_seconds, time.monotonic() - self._heard_at) >= self._seconds:
            self._seconds = None
            self._end()
