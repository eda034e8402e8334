"""There is one `runtimes` process: a file lock on one machine, a lease row where several machines share a database.

The lock of a killed process is free at once; its lease is free when it has run out.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.db import DatabaseError, connection

from runtimes import alive, leases
from runtimes.errors import RuntimesError
from runtimes.rows import in_thread

logger = logging.getLogger(__name__)

NAME = "runtimes"
TERM = timedelta(seconds=12)
RENEW_SECONDS = 3.0
WAIT_SECONDS = 1.0
TAKEN = "another process runs the runtimes"


class AlreadyRunning(RuntimesError):
    """Another process on this machine does this already."""


@asynccontextmanager
async def sole(lost: Callable[[], None]) -> AsyncIterator[None]:
    """Holds while the body runs. `lost` is called if another process has taken over: then end at once.

    On SQLite raises AlreadyRunning where another process holds it; else waits until that one is gone. While the
    database is away nobody can take over and no row can be moved: the body goes on, and asks for the lease again."""
    if _one_machine():
        with _lock_file():
            yield
        return
    holder = leases.holder_name()
    await _take(holder)
    renewal = asyncio.create_task(_renew(holder, lost))
    try:
        yield
    finally:
        renewal.cancel()
        await asyncio.gather(renewal, return_exceptions=True)
        with suppress(DatabaseError):
            await _give_back(holder)


def is_held() -> bool:
    """Whether a `runtimes` process runs now, on this machine or, where machines share a database, on any."""
    if not _one_machine():
        return leases.is_held(NAME)
    try:
        with _lock_file():
            return False
    except AlreadyRunning:
        return True


def _one_machine() -> bool:
    return connection.vendor == "sqlite"


class _lock_file:  # noqa: N801 - used as a function
    def __enter__(self) -> None:
        path = Path(settings.RUN_DIR) / "runtimes.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._descriptor)
            raise AlreadyRunning(f"another process holds {path}: stop it first") from error

    def __exit__(self, *_exc_info: object) -> None:
        os.close(self._descriptor)


async def _take(holder: str) -> None:
    told = ""
    alive.moved(NAME)
    while why := await _refused(holder):
        if why != told:
            logger.warning("%s; waiting", why)
            told = why
        alive.moved(NAME)
        await asyncio.sleep(WAIT_SECONDS)


async def _refused(holder: str) -> str:
    """Takes or renews the lease: "" or why that cannot be now."""
    try:
        return "" if await _claim(holder) else TAKEN
    except DatabaseError as error:
        return f"the database is not there ({type(error).__name__})"


@in_thread
def _claim(holder: str) -> bool:
    return leases.claim(NAME, holder, TERM)


@in_thread
def _give_back(holder: str) -> None:
    leases.give_back(NAME, holder)


async def _renew(holder: str, lost: Callable[[], None]) -> None:
    while True:
        await asyncio.sleep(RENEW_SECONDS)
        why = await _refused(holder)
        if why == TAKEN:
            logger.error("%s; ending", why)
            lost()
            return
        if why:
            logger.warning("the lease could not be renewed: %s", why)
