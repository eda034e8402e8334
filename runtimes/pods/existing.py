"""Every pod of ours as the cluster last told: listed once, then followed, and listed again where the thread is lost."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator

from runtimes.pods import labels
from runtimes.pods.cluster import Cluster, Json, Refused, TooOld
from runtimes.provider_errors import ProviderUnavailable

log = logging.getLogger(__name__)
AFTER_ERROR_SECONDS = 1.0
# More than end while one answer is on its way.
_REMEMBERED_GONE = 1000


class ExistingPods:
    """changed: called with each pod that is new, changed or (True) gone."""

    def __init__(self, cluster: Cluster, selector: str, changed: Callable[[Json, bool], None]) -> None:
        self._cluster = cluster
        self._selector = selector
        self._changed = changed
        self._pods: dict[str, Json] = {}
        self._gone: deque[str] = deque(maxlen=_REMEMBERED_GONE)
        self._leaving: dict[str, asyncio.Event] = {}
        self._version = ""

    def __iter__(self) -> Iterator[Json]:
        return iter(list(self._pods.values()))

    def get(self, name: str) -> Json | None:
        """One pod; None if it does not exist, or not yet."""
        return self._pods.get(name)

    async def look(self) -> None:
        """Lists everything: what a watch has missed is known then. Raises what the cluster raises."""
        items, self._version = await self._cluster.pods(self._selector)
        found = {pod["metadata"]["name"]: pod for pod in items}
        for name in self._pods.keys() - found.keys():
            # One that was made after the list is in none.
            if _version(self._pods[name]) <= int(self._version):
                self._drop(self._pods[name])
        for pod in found.values():
            self.put(pod)

    async def find(self, label: str, value: str) -> None:
        """Asks for those with this label: what a watch has not told of them is known then. Raises what the cluster
        raises."""
        items, _version = await self._cluster.pods(f"{self._selector},{labels.as_selector({label: value})}")
        for pod in items:
            self.put(pod)

    async def follow(self) -> None:
        """For ever; `look` goes before."""
        while True:
            try:
                async for kind, pod in self._cluster.changes(self._selector, self._version):
                    self._hear(kind, pod)
            except (ProviderUnavailable, Refused, TooOld) as error:
                log.warning("pods are listed again: %s", error)
                await self._look_again()
            except Exception:
                log.exception("pods are listed again")
                await self._look_again()

    def put(self, pod: Json) -> None:
        """What an answer of the cluster says of a pod, unless something newer is known."""
        name = pod["metadata"]["name"]
        known = self._pods.get(name)
        if name in self._gone or (known is not None and _version(known) >= _version(pod)):
            return
        self._pods[name] = pod
        self._changed(pod, False)

    async def gone(self, name: str, seconds: float) -> bool:
        """True once there is no such pod; False when that takes longer."""
        if name not in self._pods:
            return True
        event = self._leaving.setdefault(name, asyncio.Event())
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return False
        return True

    # --- inside

    def _hear(self, kind: str, pod: Json) -> None:
        self._version = pod["metadata"]["resourceVersion"]
        if kind == "DELETED":
            self._drop(pod)
        elif kind in ("ADDED", "MODIFIED"):
            self.put(pod)

    def _drop(self, pod: Json) -> None:
        name = pod["metadata"]["name"]
        self._pods.pop(name, None)
        self._gone.append(name)
        self._changed(pod, True)
        if event := self._leaving.pop(name, None):
            event.set()

    async def _look_again(self) -> None:
        while True:
            await asyncio.sleep(AFTER_ERROR_SECONDS)
            try:
                return await self.look()
            except (ProviderUnavailable, Refused, TooOld) as error:
                log.warning("pods cannot be listed: %s", error)


def _version(pod: Json) -> int:
    """Kubernetes, "Resource versions": decimal numbers that grow, comparable within one kind of object."""
    return int(pod["metadata"]["resourceVersion"])
