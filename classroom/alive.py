"""Signs of life of Celery's processes (`runtimes/alive.py`): a worker's first process, and the scheduler.

A worker whose broker is away waits for it and is well: to start it again would end what its children grade.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from celery import bootsteps
from celery.beat import PersistentScheduler

from runtimes import alive

BEAT_SECONDS = 5.0
#: How long the worker's loop may be silent while it is connected.
SILENCE_SECONDS = 30.0


class Pulse:
    """Whether a loop that calls `beat` every `BEAT_SECONDS` while it has a broker goes round."""

    def __init__(self, connected: Callable[[], bool], clock: Callable[[], float] = time.monotonic) -> None:
        self._connected = connected
        self._clock = clock
        self._at = clock()

    def beat(self) -> None:
        """Called by the loop."""
        self._at = self._clock()

    def is_there(self) -> bool:
        """False once the loop is silent although it has a broker."""
        if not self._connected():
            self._at = self._clock()
        return self._clock() - self._at < SILENCE_SECONDS


class Pulsing(bootsteps.StartStopStep):
    """A step of a worker's consumer: its loop beats, and a thread beside it says so."""

    requires = ("celery.worker.consumer.connection:Connection",)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self._pulse = Pulse(lambda: consumer.connection is not None)
        threading.Thread(target=self._tell, daemon=True, name="signs of life").start()

    def start(self, consumer: Any) -> None:
        """At each connection to the broker: what the loop's timer had is gone with the one before."""
        consumer.timer.call_repeatedly(BEAT_SECONDS, self._pulse.beat)

    def stop(self, _consumer: Any) -> None:
        """The timer forgets by itself."""

    def _tell(self) -> None:
        while True:
            if self._pulse.is_there():
                alive.moved("worker")
            time.sleep(BEAT_SECONDS)


class Scheduler(PersistentScheduler):
    """Celery's own, which says each time it has looked at what is due."""

    def tick(self, *arguments: Any, **options: Any) -> Any:
        """Seconds until the next look, at most `CELERY_BEAT_MAX_LOOP_INTERVAL`."""
        wait = super().tick(*arguments, **options)
        alive.moved("beat")
        return wait
