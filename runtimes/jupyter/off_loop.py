"""Database and storage work of the notebook host, away from the event loop, on a few threads of its own.

Some, because the write of a large file (with its fsync) must not hold up a keystroke; few, because SQLite has one
writer at a time and waiting threads would only fight for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from django.db import connection

_THREADS = 4
_POOL = ThreadPoolExecutor(_THREADS, thread_name_prefix="off-loop")


async def off_loop[**P, R](work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """What `work` returns or raises, called in one of the threads. Cancelling does not stop work that has begun."""
    return await asyncio.get_running_loop().run_in_executor(_POOL, lambda: _fresh(work, *args, **kwargs))


def _fresh[**P, R](work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    # No request ends here, so nobody else lets go of a connection that the server closed (CONN_HEALTH_CHECKS).
    if connection.vendor == "postgresql":
        connection.close_if_unusable_or_obsolete()
    return work(*args, **kwargs)


def close_connections() -> None:
    """Closes the threads' database connections. Blocks; for the end of a process or a test."""
    # All threads must be busy at once, else one of them would be asked twice.
    together = Barrier(_THREADS)

    def close() -> None:
        together.wait()
        connection.close()

    for each in [_POOL.submit(close) for _ in range(_THREADS)]:
        each.result()
