"""A sign of life for who watches a process that has no port: a file that its loop touches each time it goes round.

On Kubernetes a probe reads its age (`deploy/helm/pupitre/templates/processes.yaml`): a loop that hangs touches nothing,
one that only has much to do does.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from django.conf import settings

#: How long another loop of the process may be at one thing before the first one says nothing any more.
SILENCE_SECONDS = 30.0

logger = logging.getLogger(__name__)


class Loop:
    """Another loop of a process, beside the one that gives the sign: that one asks before it does."""

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._clock = clock
        self._at: float | None = None
        self._told = False

    def moved(self) -> None:
        """Called by the loop, each time that it has done something."""
        self._at, self._told = self._clock(), False

    def hangs(self) -> bool:
        """Whether it has begun and then been silent for longer than it may be, which is logged once."""
        silent = 0.0 if self._at is None else self._clock() - self._at
        if silent > SILENCE_SECONDS and not self._told:
            self._told = True
            logger.error("%s: nothing was done for %.0f seconds", self._name, silent)
        return silent > SILENCE_SECONDS


def path(process: str) -> Path:
    """The file of `runtimes`, `worker` or `beat`."""
    return Path(settings.RUN_DIR) / f"alive.{process}"


def moved(process: str) -> None:
    """Says that its loop has gone round. Where nothing can be written the sign is missing, which says so."""
    sign = path(process)
    with suppress(OSError):
        sign.parent.mkdir(parents=True, exist_ok=True)
        sign.touch()
