"""Ends a worker whose pool has locked up, so that it is started afresh.

The children of a prefork pool take work from one pipe behind one lock (billiard's blocking pool, which the embedded
broker needs). If a child is killed while it waits there, as the system does when memory is short, the lock is never
given back: messages are received, and none is begun. What others were doing is taken up after its lease.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

from celery.signals import worker_ready
from celery.worker import state

logger = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
#: How long a message may wait beside a child that has nothing to do.
PATIENCE_SECONDS = 20.0


def is_stuck(*, received: int, begun: int, children: int) -> bool:
    """Whether something waits although a child is free."""
    return received > begun and begun < children


class Watch:
    """Remembers since when it has looked stuck, without a break."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: float | None = None

    def too_long(self, *, received: int, begun: int, children: int) -> bool:
        """Whether it has been so for longer than `PATIENCE_SECONDS`."""
        if not is_stuck(received=received, begun=begun, children=children):
            self._since = None
            return False
        if self._since is None:
            self._since = self._clock()
        return self._clock() - self._since > PATIENCE_SECONDS


@worker_ready.connect
def watch(sender: Any, **_kwargs: Any) -> None:
    """From now on, in a thread of the worker's first process."""
    threading.Thread(target=_watch, args=(sender.pool.num_processes,), daemon=True).start()


def _watch(children: int) -> None:
    watching = Watch()
    while not watching.too_long(
        received=len(state.reserved_requests), begun=len(state.active_requests), children=children
    ):
        time.sleep(LOOK_SECONDS)
    logger.critical("messages are received and none is begun: a child was killed at the pool's lock. Starting afresh.")
    os.kill(os.getpid(), signal.SIGKILL)
