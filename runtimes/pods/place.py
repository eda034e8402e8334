"""One runtime of the provider of pods: what was asked for, its pod, and how it is."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import replace

from runtimes.provider import Phase, Reason, Request, Status

_arrivals = itertools.count()


class Place:
    """request: None for one that a predecessor began. `tell` is called after each change of status."""

    def __init__(self, name: str, request: Request | None, tell: Callable[[str, Status], None]) -> None:
        self.name = name
        self.request = request
        self.arrived = next(_arrivals)
        self.status = Status(Phase.STARTING)
        #: Its pod's name, from before there is one.
        self.pod = ""
        #: Pods that were made for it and are not its own: they end, and nothing that they say counts.
        self.given_up: set[str] = set()
        #: Why no node could hold its pod, even if nothing else ran there; "" for nothing known (`in_vain.Nodes`).
        self.in_vain = ""
        self.work: asyncio.Task[bool] | None = None
        self.releasing = False
        self._tell = tell

    def give_up(self, pod: str) -> None:
        """That one will not do: another is made, by another name."""
        self.given_up.add(pod)
        if self.pod == pod:
            self.pod = ""

    def set(self, status: Status) -> None:
        """The first end counts: what comes after it is the pod being taken away."""
        if self.status.phase.final or self.releasing or status == self.status:
            return
        self.status = status
        self._tell(self.name, status)

    def wait(self, position: int) -> None:
        """It stands in our queue, for the reason that it has or for want of room."""
        waits = self.status if self.status.phase is Phase.QUEUED else Status(Phase.QUEUED, Reason.CAPACITY_WAIT)
        self.set(replace(waits, queue_position=position))

    def ended(self, reason: Reason) -> None:
        """It was released."""
        if not self.status.phase.final:
            self.status = Status(Phase.STOPPED, reason)
            self._tell(self.name, self.status)
