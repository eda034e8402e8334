"""What both stores share: their errors become ours, and what is read waits in memory or, when large, on disk."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from runtimes.errors import StorageAway

logger = logging.getLogger(__name__)

SPOOLED_BYTES = 8 << 20
# Of one request; a library tries it a few times before it gives up.
CONNECT_SECONDS, READ_SECONDS = 5, 30
TRIES = 4


@contextmanager
def reached(theirs: tuple[type[Exception], ...], name: str) -> Iterator[None]:
    """Turns what a library raises into StorageAway. That an object is missing is no such thing: FileNotFoundError."""
    try:
        yield
    except theirs as error:
        logger.warning("object storage: %s: %s: %s", name or "list", type(error).__name__, error)
        raise StorageAway(f"{type(error).__name__}: {error}") from error


def spool() -> IO[bytes]:
    """An empty file for the bytes of one object; gone once it is closed."""
    return tempfile.SpooledTemporaryFile(max_size=SPOOLED_BYTES)
