"""Ends what exists and no row knows of, many at once: after a restore that may be all that ran before."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Set

from runtimes.provider import Provider, ProviderError, Reason

logger = logging.getLogger(__name__)
#: So many ends are waited for at once; each may take a minute.
AT_ONCE = 50


class Strangers:
    """Of one provider, in the `runtimes` process. Whoever looks does not wait for an end."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._now: Set[str] = frozenset()
        self._ends: dict[str, asyncio.Task[None]] = {}
        self._room = asyncio.Semaphore(AT_ONCE)

    def see(self, names: Set[str]) -> None:
        """names: of all that no row wants now. What is seen so twice in a row is ended; again, where that failed."""
        for name in (names & self._now) - self._ends.keys():
            self._ends[name] = asyncio.create_task(self._end(name), name=f"end of {name}")
        self._now = names

    async def close(self) -> None:
        """Waits for none of them: a successor sees what is left."""
        ends = list(self._ends.values())
        for end in ends:
            end.cancel()
        await asyncio.gather(*ends, return_exceptions=True)

    async def _end(self, name: str) -> None:
        try:
            async with self._room:
                # While it waited for its turn it may have gone, or a row may have come to want it.
                if name in self._now:
                    logger.warning("runtime %s: no row wants it, ending it", name)
                    await self._provider.release(name, reason=Reason.OWNER_GONE)
        except ProviderError as error:
            logger.warning("runtime %s: not ended: %s", name, error)
        except Exception:
            logger.exception("runtime %s: not ended", name)
        finally:
            del self._ends[name]
