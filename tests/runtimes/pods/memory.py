"""A cluster's API in memory, for what a real one does too rarely to wait for: answers that are lost, or refused."""

from __future__ import annotations

import asyncio
import copy
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, override

from runtimes.pods.cluster import Cluster, Json, Refused
from tests.runtimes.pods.samples import READY, SCHEDULED, running, text


def applied(pod: Json, patch: Sequence[Json]) -> Json:
    """The pod after a JSON patch (RFC 6902), all of it or nothing: then Refused (422), as the API answers."""
    made = copy.deepcopy(pod)
    for step in patch:
        *path, last = [part.replace("~1", "/").replace("~0", "~") for part in step["path"].split("/")[1:]]
        place = made
        for part in path:
            place = place[part]
        if step["op"] == "test" and place.get(last) != step["value"]:
            raise Refused(422, str(step))
        if step["op"] == "replace" and last not in place:
            raise Refused(422, str(step))
        place[last] = step["value"]
    return made


class MemoryCluster(Cluster):
    """A pod is ready as soon as it has its Secret, or `ill` in this way, and goes when it is deleted. `deaf`: watches
    tell nothing. `there`: its nodes; None where we may not see them."""

    def __init__(self, namespace: str = "school-runtimes") -> None:
        super().__init__(namespace)
        self.now: dict[str, Json] = {}
        self.deaf = False
        self.there: list[Json] | None = None
        self.ill: Json | None = None
        self.clock: Callable[[], datetime] = lambda: datetime.now(UTC)
        self.created: list[str] = []
        self.orders: set[str] = set()
        self.faults: dict[tuple[str, bool], deque[Exception]] = defaultdict(deque)
        self._version = 1
        self._changes: list[tuple[str, Json]] = []
        self._changed = asyncio.Event()

    def fail(self, call: str, *errors: Exception, obeyed: bool = False) -> None:
        """The next calls of this name end so, one after the other. obeyed: done all the same, the answer is lost."""
        self.faults[call, obeyed].extend(errors)

    def told(self, name: str, **status: Any) -> None:
        """From now on a pod's status says so."""
        self._tell("MODIFIED", {**self.now[name], "status": {**self.now[name].get("status", {}), **status}})

    def names(self, **labels: str) -> list[str]:
        """Pods that have these labels, `_` for `pupitre/`."""
        wanted = {f"pupitre/{key}": value for key, value in labels.items()}
        return [name for name, pod in self.now.items() if wanted.items() <= pod["metadata"]["labels"].items()]

    @override
    async def open(self) -> None:
        pass

    @override
    async def create(self, manifest: Json, *, dry_run: bool = False) -> Json:
        if dry_run:
            return manifest
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        self._fail(kind, obeyed=False)
        if name in (self.now if kind == "Pod" else self.orders):
            raise Refused(409, f'{kind} "{name}" already exists', "AlreadyExists")
        if kind == "Pod":
            self.created.append(name)
            meta = {**manifest["metadata"], "uid": name, "creationTimestamp": text(self.clock())}
            made = self._tell("ADDED", {**manifest, "metadata": meta, "status": {"phase": "Pending"}})
        else:
            self.orders.add(name)
            made = manifest
            self.told(name, **(self.ill or self._well()))
        self._fail(kind, obeyed=True)
        return made

    @override
    async def pod(self, name: str) -> Json:
        if name not in self.now:
            raise Refused(404, f'pods "{name}" not found', "NotFound")
        return self.now[name]

    @override
    async def patch_pod(self, name: str, operations: Sequence[Json]) -> Json:
        self._fail("patch", obeyed=False)
        made = self._tell("MODIFIED", applied(await self.pod(name), operations))
        self._fail("patch", obeyed=True)
        return made

    @override
    async def delete_pod(self, name: str, grace_seconds: int) -> None:
        self._fail("delete", obeyed=False)
        with suppress(Refused):
            pod = await self.pod(name)
            meta = {**pod["metadata"], "deletionTimestamp": text(self.clock())}
            self._tell("MODIFIED", {**pod, "metadata": meta})
            self.orders.discard(name)
            self._tell("DELETED", self.now.pop(name))

    @override
    async def pods(self, selector: str) -> tuple[list[Json], str]:
        wanted = dict(pair.split("=") for pair in selector.split(","))
        found = [pod for pod in self.now.values() if wanted.items() <= pod["metadata"]["labels"].items()]
        return found, str(self._version)

    @override
    async def changes(self, selector: str, version: str) -> AsyncIterator[tuple[str, Json]]:
        while True:
            while not self.deaf and self._changes:
                yield self._changes.pop(0)
            self._changed.clear()
            await self._changed.wait()

    @override
    async def allowed(self, verb: str, resource: str) -> bool:
        return True

    @override
    async def nodes(self) -> list[Json] | None:
        self._fail("nodes", obeyed=False)
        return self.there

    def _well(self) -> Json:
        now = text(self.clock())
        return running(startTime=now, conditions=[SCHEDULED, {**READY, "lastTransitionTime": now}])

    def _fail(self, call: str, *, obeyed: bool) -> None:
        if self.faults[call, obeyed]:
            raise self.faults[call, obeyed].popleft()

    def _tell(self, kind: str, pod: Json) -> Json:
        self._version += 1
        pod = {**pod, "metadata": {**pod["metadata"], "resourceVersion": str(self._version)}}
        if kind != "DELETED":
            self.now[pod["metadata"]["name"]] = pod
        self._changes.append((kind, pod))
        self._changed.set()
        return pod
