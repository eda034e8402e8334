"""A claim on a row that lasts only as long as somebody renews it: a killed worker's work goes to the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from asgiref.sync import sync_to_async
from django.db import models
from django.utils import timezone

from grading.patience import drop_dead_connection
from grading.states import LEASE, RENEW_EVERY_SECONDS
from runtimes.errors import DATABASE_AWAY

# How long to wait before asking a database again that is away.
AGAIN_SECONDS = 1.0


class LeaseLost(Exception):
    """Somebody else has the row now. What was being done must not be stored."""


@dataclass
class Lease:
    """One worker's claim on one row with `state`, `lease_until` and `lease_owner`."""

    model: type[models.Model]
    pk: int
    owner: str
    running: str

    def _row(self) -> models.QuerySet[Any]:
        return self.model._default_manager.filter(pk=self.pk, state=self.running, lease_owner=self.owner)

    def take(self, waiting: models.Q, **changes: Any) -> bool:
        """Moves the row to running if `waiting` still holds. False: somebody was faster, or it is no longer wanted."""
        taken = self.model._default_manager.filter(waiting, pk=self.pk).update(
            state=self.running, lease_owner=self.owner, lease_until=timezone.now() + LEASE, **changes
        )
        return bool(taken)

    def end(self, state: str, **changes: Any) -> None:
        """Moves the row on. Raises LeaseLost, and then nothing in the caller's transaction may stay."""
        if not self._row().update(state=state, lease_owner="", lease_until=None, **changes):
            raise LeaseLost(f"{self.model.__name__} {self.pk}")

    async def hold[T](self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`, renewing the lease meanwhile. Raises LeaseLost, after cancelling it."""
        task = asyncio.ensure_future(work)
        renewing = asyncio.ensure_future(self._renew())
        try:
            await asyncio.wait({task, renewing}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise LeaseLost(f"{self.model.__name__} {self.pk}")
            return task.result()
        finally:
            for each in (task, renewing):
                each.cancel()
            await asyncio.gather(task, renewing, return_exceptions=True)

    async def _renew(self) -> None:
        """Returns when the row is no longer ours; while the database is away, when it may no longer be."""
        ends = timezone.now() + LEASE
        while timezone.now() < ends:
            until = timezone.now() + LEASE
            try:
                if not await sync_to_async(self._extend)(until):
                    return
            except DATABASE_AWAY:
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                ends = until
                await asyncio.sleep(RENEW_EVERY_SECONDS)

    def _extend(self, until: datetime) -> int:
        drop_dead_connection()
        return self._row().update(lease_until=until)
