"""Who waits for room in the namespace: our own limit or its quota. First come, first served, among equals.

Pods that wait for a node are the scheduler's to order; who may ask for one at all is decided by rows, before.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from runtimes.pods import manifests
from runtimes.pods.config import ClusterConfig
from runtimes.pods.place import Place


class Queue:
    """most: how many runtimes at once; 0 leaves that to the quota."""

    def __init__(self, config: ClusterConfig, most: int, places: Mapping[str, Place]) -> None:
        self._config = config
        self._most = most
        self._places = places
        self._waiting: list[Place] = []

    def must_wait(self, place: Place) -> bool:
        """There is no room, or its equals came first."""
        return self._full() or any(self._kind(each) == self._kind(place) for each in self._waiting)

    def add(self, place: Place) -> None:
        """In the order of arrival, also when it comes back."""
        if place not in self._waiting:
            self._waiting.append(place)
            self._waiting.sort(key=lambda each: each.arrived)
        self._tell()

    def remove(self, place: Place) -> None:
        """It waits no longer."""
        if place in self._waiting:
            self._waiting.remove(place)
            self._tell()

    async def serve(self, start: Callable[[Place], Awaitable[bool]]) -> None:
        """Starts who can be started. start: False where the cluster has no room; its equals are not tried then."""
        refused: set[str] = set()
        for place in list(self._waiting):
            if self._full():
                return
            kind = self._kind(place)
            if kind in refused or place not in self._waiting:
                continue
            # It keeps its place until it has another, so that nobody who comes now goes before.
            if await start(place):
                self.remove(place)
            else:
                refused.add(kind)

    def _full(self) -> bool:
        if not self._most:
            return False
        live = sum(not place.status.phase.final for place in self._places.values() if place not in self._waiting)
        return live >= self._most

    def _kind(self, place: Place) -> str:
        request = place.request
        return manifests.template_digest(request, self._config) if request is not None else ""

    def _tell(self) -> None:
        for position, place in enumerate(self._waiting, start=1):
            place.wait(position)
