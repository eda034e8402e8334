"""Slows a runtime down while its row says that it is a load, and gives it its speed back when that is over."""

from __future__ import annotations

import logging

from django.conf import settings

from runtimes import rows
from runtimes.models import Runtime
from runtimes.provider import Provider, ProviderError, UnknownRuntime

log = logging.getLogger(__name__)


class Throttle:
    """For a keeper. A new one asks its provider once: another process may have slowed it down, or given it back."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._known = False
        self._share: float | None = None

    async def obey(self, row: Runtime) -> None:
        """As its row wants it; what cannot be done now is tried again at the next look."""
        share = settings.SLOWED_SHARE if row.load_since is not None and settings.SLOWED_SHARE < 1 else None
        if self._known and share == self._share:
            return
        try:
            held = await self._provider.throttle(row.name, share)
        except UnknownRuntime:
            return
        except ProviderError as error:
            log.warning("runtime %s: its speed is not changed: %s", row.name, error)
            return
        self._known, self._share = True, share
        if share is not None and held:
            await rows.note_slowed(row)
