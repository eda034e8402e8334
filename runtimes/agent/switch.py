"""How a runtime ends that outlives its site: by itself where nobody uses it, and in good order where it is ended.

What outlives its site must not outlive its limits."""

from __future__ import annotations

import time
from collections.abc import Callable

#: How long a site may take to ask for something, once it was told of the end: after that there is none.
SITE_SECONDS = 8.0
#: After so long a runtime whose site has never spoken counts as forgotten, too: a site that made it warm greets it
#: within seconds of its start.
UNHEARD_SECONDS = 300.0


class IdleSwitch:
    """seconds: how long neither the site nor a kernel may stir; None: for ever. armed: it counts before the site has
    ever spoken; a warm runtime waits for that, but not for ever."""

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
        silent = time.monotonic() - self._heard_at
        if self._seconds is None or not (self._armed or silent >= UNHEARD_SECONDS):
            return
        if min(idle_seconds, silent) >= self._seconds:
            self._seconds = None
            self._end()


class Farewell:
    """Of what is ended from outside, such as by a drain: it serves on while its site fetches what was made there.

    seconds: how long that may take, which is less than whoever ends it waits."""

    def __init__(self, seconds: float, end: Callable[[], None]) -> None:
        self._seconds = seconds
        self._end = end
        self._asked_at: float | None = None
        self._heard = self._dismissed = self._ended = False

    @property
    def begun(self) -> bool:
        """Somebody ends it."""
        return self._asked_at is not None

    def ask(self) -> None:
        """It shall end. Safe in a signal's handler."""
        self._asked_at = self._asked_at or time.monotonic()

    def heard(self) -> None:
        """The site has asked something."""
        self._heard = self._heard or self.begun

    def dismiss(self) -> None:
        """The site has all that it wants."""
        self._dismissed = True

    def look(self, *, watched: bool) -> None:
        """Ends it when it is time. watched: somebody of the site follows it, who may want what is there."""
        if self._asked_at is None or self._ended:
            return
        waited = time.monotonic() - self._asked_at
        deserted = not watched or (not self._heard and waited >= SITE_SECONDS)
        if self._dismissed or deserted or waited >= self._seconds:
            self._ended = True
            self._end()


class Ends:
    """Both, of one runtime; neither, where its owner sees to them."""

    def __init__(self, switch: IdleSwitch | None = None, farewell: Farewell | None = None) -> None:
        self._switch, self._farewell = switch, farewell
        self._told = False

    @property
    def begun(self) -> bool:
        """Somebody ends it."""
        return self._farewell is not None and self._farewell.begun

    def heard(self) -> None:
        """The site has asked something."""
        if self._switch is not None:
            self._switch.heard()
        if self._farewell is not None:
            self._farewell.heard()

    def dismiss(self) -> None:
        """The site has all that it wants."""
        if self._farewell is not None:
            self._farewell.dismiss()

    def look(self, idle_seconds: float, *, watched: bool) -> bool:
        """Ends it when it is time. True, once, when those who watch must be told that its end has begun."""
        if self._switch is not None:
            self._switch.look(idle_seconds)
        if self._farewell is not None:
            self._farewell.look(watched=watched)
        news, self._told = self.begun and not self._told, self.begun
        return news
