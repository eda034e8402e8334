"""Gives a runtime its pod, a warm one or a new one, and only one: what the cluster did though its answer was lost is
found before it is asked again."""

from __future__ import annotations

import asyncio
import logging
from asyncio import sleep
from collections.abc import Awaitable, Callable

from runtimes.pods import conditions, labels
from runtimes.pods.cluster import Json, Refused
from runtimes.pods.existing import ExistingPods
from runtimes.pods.maker import Maker
from runtimes.pods.place import Place
from runtimes.pods.queue import Queue
from runtimes.pods.warm import REFILL_SECONDS, WarmPods
from runtimes.provider import Phase, ProviderUnavailable, Reason, Request, Status

log = logging.getLogger(__name__)
RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)
#: How often in a row the API may say no for a reason that may pass, about half a minute; then it is none.
MOST_REFUSALS = 10


class Starts:
    """Of one provider. told: called with what is known of a pod once it is a place's. awake: set when a pool that gave
    a pod shall be filled again."""

    def __init__(
        self,
        pods: ExistingPods,
        maker: Maker,
        warm: WarmPods,
        queue: Queue,
        told: Callable[[Json, bool], None],
        awake: asyncio.Event,
    ) -> None:
        self._pods = pods
        self._maker = maker
        self._warm = warm
        self._queue = queue
        self._told = told
        self._awake = awake

    def begin(self, place: Place) -> asyncio.Task[bool]:
        """The work that ends with True, or with False where the quota is reached: it waits in the queue."""
        place.work = asyncio.create_task(self._start(place), name=f"start of {place.name}")
        return place.work

    def go_on(self, place: Place, request: Request) -> None:
        """A predecessor made its pod, and may have died before its Secret."""
        place.request = request
        pod = self._pods.get(place.pod)
        if pod is not None and not place.status.phase.final and not conditions.is_ready(pod):
            place.work = asyncio.create_task(
                self._patiently(place, lambda _tries: self._maker.give_order(request, pod))
            )

    async def _start(self, place: Place) -> bool:
        request = place.request
        assert request is not None

        async def give(tries: int) -> None:
            if tries:
                await self._pods.find(labels.RUNTIME, request.name)
            known = self._pods.get(place.pod)
            if known is None:
                await self._take(place, request)
                return
            if not conditions.is_ready(known):
                await self._maker.give_order(request, known)
            self._told(self._pods.get(place.pod) or known, False)

        return await self._patiently(place, give)

    async def _take(self, place: Place, request: Request) -> None:
        pod = await self._warm.claim(request)
        if pod is not None:
            asyncio.get_running_loop().call_later(REFILL_SECONDS, self._awake.set)
        else:
            name = place.pod = place.pod or labels.new_name()
            try:
                pod = await self._maker.make(request, name)
            except Refused:
                # It may be there, without its Secret. No name is used twice.
                place.give_up(name)
                raise
        self._pods.put(pod)
        if self._pods.get(place.pod) is None:
            place.pod = pod["metadata"]["name"]
        mine = self._pods.get(place.pod) or pod
        if mine["metadata"]["name"] != pod["metadata"]["name"] and not conditions.is_ready(mine):
            # One whose answer was lost came to be meanwhile, and nobody else makes its Secret.
            await self._maker.give_order(request, mine)
        self._told(mine, False)

    async def _patiently(self, place: Place, act: Callable[[int], Awaitable[None]]) -> bool:
        """Does it, again while the cluster cannot; what the cluster will not do is the place's status. act: gets how
        often it was tried before."""
        tries = refusals = 0
        while not place.releasing:
            try:
                await act(tries)
            except ProviderUnavailable as error:
                words, refusals = str(error), 0
            except Refused as refusal:
                words, refusals = str(refusal), refusals + 1
                status = conditions.refused(refusal.code, refusal.message)
                if status is None and refusals > MOST_REFUSALS:
                    status = Status(Phase.LOST, Reason.ERROR, words)
                if status is not None:
                    return self._will_not(place, status)
            else:
                return True
            log.warning("runtime %s: %s", place.name, words)
            place.set(Status(Phase.STARTING, Reason.NONE, words))
            await sleep(RETRY_SECONDS[min(tries, len(RETRY_SECONDS) - 1)])
            tries += 1
        return True

    def _will_not(self, place: Place, status: Status) -> bool:
        place.set(status)
        if status.phase is Phase.QUEUED:
            self._queue.add(place)
        return status.phase is not Phase.QUEUED
