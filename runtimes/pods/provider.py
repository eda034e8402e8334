"""The provider of pods: each runtime is a pod of one namespace, and outlives the process that asked for it."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Self, override

from django.conf import settings

from runtimes import keyring
from runtimes.news import News
from runtimes.pods import conditions, in_vain, labels, manifests, readiness, site, speed
from runtimes.pods.cluster import Cluster, Json, Refused, pause
from runtimes.pods.config import ClusterConfig
from runtimes.pods.existing import ExistingPods
from runtimes.pods.maker import Maker
from runtimes.pods.offers import Offers
from runtimes.pods.place import Place
from runtimes.pods.queue import Queue
from runtimes.pods.starts import Starts
from runtimes.pods.warm import WarmPods
from runtimes.provider import (
    Endpoint,
    NotReady,
    Owned,
    Phase,
    ProviderUnavailable,
    Reason,
    Request,
    Status,
    UnknownRuntime,
)

log = logging.getLogger(__name__)
TEND_SECONDS = 5.0
#: How long a deleted pod may take to go; longer than one whose node is lost, which `_forget` sees to.
GONE_SECONDS = 60.0
#: How often a full quota is tried again when nobody of ours has left: it may have been raised.
ROOM_SECONDS = 10.0


class PodsProvider(Offers):
    """Pods of one site in one namespace. masters: master keys by version. most: how many at once; 0 leaves that to
    the namespace's quota."""

    slug: ClassVar[str] = "pods"
    outlives: ClassVar[bool] = True

    def __init__(self, config: ClusterConfig, masters: Mapping[int, bytes], *, most: int = 0) -> None:
        self._config = config
        self._cluster = Cluster(config.namespace)
        self._news = News()
        self._places: dict[str, Place] = {}
        self._awake = asyncio.Event()
        self._pods = ExistingPods(self._cluster, labels.selector(config), self._changed)
        self._maker = Maker(self._cluster, config, masters)
        self._warm = WarmPods(self._cluster, config, self._pods, self._maker)
        self._nodes = in_vain.Nodes(self._cluster, config)
        self._queue = Queue(config, most, self._places)
        self._starts = Starts(self._pods, self._maker, self._warm, self._queue, self._changed, self._awake)
        self._room_at, self._served_at = 0.0, 0.0
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    @override
    def from_settings(cls) -> Self:
        return cls(site.config(), keyring.masters(), most=settings.RUNTIMES_MOST)

    @override
    async def start(self) -> None:
        try:
            await self._cluster.open()
            await readiness.check(self._cluster, self._config)
            await self._pods.look()
        except BaseException:
            await self._cluster.close()
            raise
        works = (self._pods.follow, self._tend, self._warm.greet, self._sweep_trials)
        self._tasks = [asyncio.create_task(work()) for work in works]

    @override
    async def acquire(self, request: Request) -> Status:
        self._running()
        place = self._places.get(request.name)
        if place is not None:
            if place.request is None:
                self._starts.go_on(place, request)
            return place.status
        manifests.check(request, self._config)
        place = Place(request.name, request, self._news.tell)
        waits = self._queue.must_wait(place)
        self._places[request.name] = place
        if waits:
            self._queue.add(place)
        else:
            self._starts.begin(place)
        return place.status

    @override
    async def status(self, name: str) -> Status:
        return self._place(name).status

    @override
    async def events(self) -> AsyncIterator[tuple[str, Status]]:
        async with self._news.subscribe() as news:
            async for item in news:
                yield item

    @override
    async def endpoint(self, name: str) -> Endpoint:
        place = self._place(name)
        pod = self._pods.get(place.pod)
        if pod is None or place.status.phase is not Phase.READY:
            raise NotReady(f"{name} is {place.status.phase}")
        return conditions.endpoint(pod)

    @override
    async def release(self, name: str, *, reason: Reason = Reason.REQUESTED, grace: timedelta = timedelta(0)) -> None:
        place = self._places.get(name)
        if place is None:
            return
        self._running()
        place.releasing = True
        self._queue.remove(place)
        if place.work is not None:
            # A request that is on its way may still be obeyed: what it made is deleted then.
            await asyncio.wait({place.work})
        gone = await asyncio.gather(*(self._delete(pod, grace) for pod in self._pods_of(place)))
        place.ended(reason)
        self._places.pop(name, None)
        self._room_at = time.monotonic()
        self._awake.set()
        if not all(gone):
            log.warning("runtime %s: its pod is not gone after %s s; the cluster ends it", name, GONE_SECONDS)

    @override
    async def owned(self) -> list[Owned]:
        self._running()
        # By asking: a watch may be deaf for minutes before anyone notices.
        await self._ask(self._pods.look())
        now = datetime.now(UTC)
        owned = [conditions.owned(pod, now, grows=self._config.adds_nodes) for pod in self._pods]
        seen = {each.name for each in owned}
        waiting = [Owned(name, "", place.status) for name, place in self._places.items() if name not in seen]
        return owned + waiting

    @override
    async def throttle(self, name: str, share: float | None) -> bool:
        return await speed.throttle(self._cluster, self._pods, self._place(name).pod, share)

    @override
    async def keep_warm(self, templates: Sequence[tuple[Request, int]]) -> Mapping[str, int]:
        self._running()
        self._warm.wish(templates)
        self._awake.set()
        return self._warm.ready()

    @override
    async def warm_lacks(self) -> Mapping[str, str]:
        return self._warm.lacks()

    @override
    async def close(self) -> None:
        tasks: list[asyncio.Task[Any]] = [*self._tasks]
        self._tasks = []
        tasks += [place.work for place in self._places.values() if place.work is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._places.clear()
        await self._cluster.close()
        self._news.close()

    # --- one runtime

    def _changed(self, pod: Json, gone: bool) -> None:
        """What the cluster says of one pod, onto its place."""
        self._awake.set()
        self._room_at = time.monotonic() if gone or conditions.is_over(pod) else self._room_at
        runtime, name = labels.label(pod, labels.RUNTIME), pod["metadata"]["name"]
        if not runtime:
            return
        place = self._places.get(runtime)
        if place is None:
            if gone:
                return
            place = self._places[runtime] = Place(runtime, None, self._news.tell)
        if name in place.given_up:
            return
        if self._is_of(place, pod, gone):
            place.pod = name
            self._queue.remove(place)
        if place.pod == name:
            place.set(in_vain.status(place, pod, datetime.now(UTC), grows=self._config.adds_nodes))
            if gone:
                place.set(Status(Phase.LOST, Reason.NODE_LOST, "the pod is no longer there"))

    def _is_of(self, place: Place, pod: Json, gone: bool) -> bool:
        """Whether it is what was asked for, also where the answer is lost. What is over, or of another machine, is of
        an earlier request of this name; what a predecessor began, whatever became of it, is the one that there is."""
        if place.request is None and not place.pod:
            return True
        if gone or not _lives(pod) or self._pods.get(place.pod) is not None:
            return False
        wanted = None if place.request is None else manifests.template_digest(place.request, self._config)
        return wanted in (None, labels.label(pod, labels.TEMPLATE))

    def _pods_of(self, place: Place) -> set[str]:
        mine = {pod["metadata"]["name"] for pod in self._pods if labels.label(pod, labels.RUNTIME) == place.name}
        return mine | ({place.pod} if place.pod else set())

    async def _delete(self, pod: str, grace: timedelta) -> bool:
        await self._ask(self._cluster.delete_pod(pod, max(math.ceil(grace.total_seconds()), 1)))
        return await self._pods.gone(pod, grace.total_seconds() + GONE_SECONDS)

    # --- all of them

    async def _tend(self) -> None:
        """Serves who waits, keeps some warm, and looks again at what only time changes."""
        while True:
            await pause(TEND_SECONDS, self._awake)
            try:
                await self._look_around()
            except (ProviderUnavailable, Refused) as error:
                log.warning("pods are not tended: %s", error)
            except Exception:
                log.exception("pods are not tended")

    async def _look_around(self) -> None:
        now = datetime.now(UTC)
        await self._end_spare()
        await self._nodes.look(self._places.values(), self._pods)
        for place in list(self._places.values()):
            if not place.status.phase.final and (pod := self._pods.get(place.pod)) is not None:
                place.set(in_vain.status(place, pod, now, grows=self._config.adds_nodes))
        if self._room_at >= self._served_at or time.monotonic() - self._served_at >= ROOM_SECONDS:
            self._served_at = time.monotonic()
            await self._queue.serve(self._starts.begin)
        waiting = [place for place in self._places.values() if place.status.phase is Phase.QUEUED]
        # What a pool holds is no room for who would find none, whoever ends.
        helped = [place for place in waiting if place.status.reason is not Reason.NO_MACHINE]
        await self._warm.tend(sorted(helped, key=lambda place: place.arrived))
        await self._forget(now)

    async def _end_spare(self) -> None:
        """Ends pods that a runtime has beside its own, for an answer that was lost or a Secret that was refused."""
        for pod in self._pods:
            place, name = self._places.get(labels.label(pod, labels.RUNTIME)), pod["metadata"]["name"]
            # Of what a predecessor began, somebody may be at work in either.
            if place is None or place.request is None or place.pod == name or not _lives(pod):
                continue
            if name in place.given_up or self._pods.get(place.pod) is not None:
                log.warning("runtime %s: pod %s is not its own, and ends", place.name, name)
                try:
                    await self._cluster.delete_pod(name, 1)
                except (ProviderUnavailable, Refused) as error:
                    # The others are tended all the same.
                    log.warning("runtime %s: pod %s is not ended: %s", place.name, name, error)

    async def _forget(self, now: datetime) -> None:
        """Has the cluster forget pods that nobody ends. Should their node come back, its kubelet ends what the cluster
        does not know; until it answers nothing new is put there, so that no GPU is given twice."""
        for name in [pod["metadata"]["name"] for pod in self._pods if conditions.is_abandoned(pod, now)]:
            log.warning("pod %s: its node does not answer, the cluster forgets it", name)
            await self._cluster.delete_pod(name, 0)

    def _running(self) -> None:
        if not self._tasks:
            raise ProviderUnavailable("the provider of pods was not started, or is closed")

    async def _ask[T](self, asking: Awaitable[T]) -> T:
        """An unexpected no of the cluster is an error that may pass."""
        try:
            return await asking
        except Refused as refusal:
            raise ProviderUnavailable(str(refusal)) from refusal

    def _place(self, name: str) -> Place:
        try:
            return self._places[name]
        except KeyError:
            raise UnknownRuntime(name) from None


def _lives(pod: Json) -> bool:
    return "deletionTimestamp" not in pod["metadata"] and not conditions.is_over(pod)
