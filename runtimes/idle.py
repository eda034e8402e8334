"""Whether a runtime is in use, asked of its agent when that may have changed. One that is not is stopped once its files
are in storage, and not before: such an end is never urgent."""

from __future__ import annotations

import logging
from contextlib import suppress
from datetime import datetime, timedelta

from django.utils import timezone

from runtimes import rows, signs
from runtimes.agent_client import AgentClient
from runtimes.agent_replies import AgentError
from runtimes.errors import StorageAway
from runtimes.last_pull import pull
from runtimes.metering import Metering
from runtimes.models import Runtime

logger = logging.getLogger(__name__)

PULL_EVERY = timedelta(minutes=2)


class Idle:
    """For a keeper. A kernel that is busy is in use, however long nobody looks at it; an open page alone is not."""

    def __init__(self, metering: Metering) -> None:
        self._metering = metering
        self._ask_at = timezone.now()

    async def stops(self, row: Runtime, agent: AgentClient) -> bool:
        """Whether its row says now that it shall stop. row: as it was read a moment ago; its profile is loaded."""
        now = timezone.now()
        if now < self._ask_at:
            return False
        if row.purpose != Runtime.Purpose.INTERACTIVE:
            # A job's runtime that could outlive us must hear of us: see `agent/switch.py`.
            self._ask_at = now + PULL_EVERY
        try:
            status = await agent.status()
        except AgentError:
            return False
        await self._metering.read(row, status)
        if row.purpose != Runtime.Purpose.INTERACTIVE:
            return False
        now = timezone.now()
        idle, limit = signs.idle_for(status, now - row.last_active_at), row.profile.idle_timeout
        if idle >= limit:
            return await self._stop(row, agent, now)
        self._ask_at = now + min(limit - idle, PULL_EVERY)
        pulled_at = row.pulled_at or now
        if now - pulled_at >= PULL_EVERY and idle < now - pulled_at:
            with suppress(StorageAway):
                await pull(row, agent)
        return False

    async def _stop(self, row: Runtime, agent: AgentClient, now: datetime) -> bool:
        try:
            await pull(row, agent)
        except StorageAway as error:
            logger.warning("runtime %s: idle, and goes on until its files can be stored: %s", row.name, error)
            self._ask_at = now + PULL_EVERY
            return False
        return await rows.stop_idle(row)
