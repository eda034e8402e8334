"""Storing what took long to find out, also while the database or the object store is away."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from django.db import connection

from runtimes.errors import DATABASE_AWAY, StorageAway

logger = logging.getLogger(__name__)

#: Seconds between tries: together shorter than a lease, which is renewed until then.
PAUSES = (0.2, 1.0, 3.0, 8.0, 15.0)


def drop_dead_connection() -> None:
    """After a restart of the database the old connection only fails; the next query makes a new one."""
    if connection.errors_occurred and not connection.in_atomic_block:
        connection.close_if_unusable_or_obsolete()


def patiently[T](store: Callable[[], T]) -> T:
    """What `store` returns. While database or storage cannot be reached it is called again, on a new connection.

    `store` must be safe to repeat: a commit may have happened although its answer was lost.
    """
    for pause in PAUSES:
        try:
            return store()
        except (*DATABASE_AWAY, StorageAway) as error:
            if connection.in_atomic_block:
                raise
            what = "storage" if isinstance(error, StorageAway) else "the database"
            logger.warning("%s is not there, trying again in %s s: %s", what, pause, type(error).__name__)
            connection.close()
            time.sleep(pause)
    return store()
