"""Warm pods: made before anyone asks, claimed by one patch, replaced when their profile changes or they grow old.

Where people wait for what they hold, they give way, and are made again when nobody waits any more."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from runtimes.agent_client import AgentClient
from runtimes.agent_replies import AgentError
from runtimes.pods import claims, conditions, give_way, labels, manifests
from runtimes.pods.cluster import Cluster, Json, Refused
from runtimes.pods.config import ClusterConfig
from runtimes.pods.existing import ExistingPods
from runtimes.pods.maker import Maker
from runtimes.pods.place import Place
from runtimes.provider import InvalidRequest, ProviderUnavailable, Request

log = logging.getLogger(__name__)
#: One that is not ready by then never will be: its Secret may never have been made.
STUCK = timedelta(minutes=5)
PAUSE_SECONDS = 30.0
#: Whoever has just claimed one goes before the next that is made ready: both would start on one node.
REFILL_SECONDS = 1.0
GREET_SECONDS = 5.0
#: How long somebody who waits is left to the room that others have made; longer than a pod takes to go, and the next to
#: be put there.
GIVE_WAY_SECONDS = 15.0
#: One hears of its site so often within the time after which it would end by itself.
GREETINGS = 3
_AT_ONCE = 8
# Somebody else took it, it is gone, or it changed meanwhile.
_LOST_CLAIM = frozenset({404, 409, 422})


@dataclass(frozen=True, slots=True)
class Wish:
    """So many ready for requests like this one."""

    request: Request
    count: int


class WarmPods:
    """Of one provider. `tend` is called whenever something changed, and now and then."""

    def __init__(self, cluster: Cluster, config: ClusterConfig, pods: ExistingPods, maker: Maker) -> None:
        self._cluster = cluster
        self._config = config
        self._pods = pods
        self._maker = maker
        self._wishes: dict[str, Wish] = {}
        self._is_told = False
        self._taken: set[str] = set()
        self._greeted: dict[str, float] = {}
        self._asked: dict[str, float] = {}
        self._paused_until = 0.0
        self._short_since: float | None = None

    def wish(self, templates: Iterable[tuple[Request, int]]) -> None:
        """Replaces the former wishes. What cannot be made is told to operators and left out."""
        wishes: dict[str, Wish] = {}
        for request, count in templates:
            try:
                manifests.check(request, self._config)
            except InvalidRequest as error:
                log.warning("profile %s cannot be kept warm: %s", request.machine.slug, error)
                continue
            template = manifests.template_digest(request, self._config)
            former = wishes[template].count if template in wishes else 0
            wishes[template] = Wish(request, former + count)
        self._wishes, self._is_told = wishes, True

    async def claim(self, request: Request) -> Json | None:
        """A warm pod that is this request's from now on; None where there is none."""
        template = manifests.template_digest(request, self._config)
        for pod in sorted(self._pods, key=lambda one: str(one["metadata"]["creationTimestamp"])):
            name, now = pod["metadata"]["name"], datetime.now(UTC)
            if name in self._taken or not claims.may_be_claimed(pod, template, request.limits.lifetime, now):
                continue
            self._taken.add(name)
            try:
                claimed = await self._cluster.patch_pod(name, claims.patch(pod, request, now))
            except Refused as refusal:
                if refusal.code not in _LOST_CLAIM:
                    raise
            else:
                self._pods.put(claimed)
                self._short_since = self._short_since or time.monotonic()
                return claimed
            finally:
                self._taken.discard(name)
        return None

    async def tend(self, waiting: Sequence[Place]) -> None:
        """Deletes what nobody would claim, makes what is missing. waiting: who waits for room goes before, who came
        first before the others."""
        if not self._is_told:
            # What the process before this one kept ready is not thrown away before it is known what shall be.
            return
        now = datetime.now(UTC)
        self._taken = {name for name in self._taken if self._pods.get(name)}
        fit: dict[str, list[Json]] = {}
        unfit: list[Json] = []
        for pod in self._free():
            wish = self._wishes.get(labels.label(pod, labels.TEMPLATE))
            kept = fit.setdefault(labels.label(pod, labels.TEMPLATE), [])
            late = not conditions.is_ready(pod) and _in_the_way(pod, waiting)
            if wish is None or not _fit(pod, wish.request, now) or len(kept) >= wish.count or late:
                unfit.append(pod)
            else:
                kept.append(pod)
        await self._delete([pod["metadata"]["name"] for pod in unfit])
        await self._give_way(waiting)
        if time.monotonic() < self._paused_until:
            return
        if self._short_since is None or time.monotonic() - self._short_since >= REFILL_SECONDS:
            self._short_since = None
            await self._refill({template: len(kept) for template, kept in fit.items()}, waiting)

    async def greet(self) -> None:
        """For ever: lets those that wait hear of their site. One that hears nothing for as long as its profile may be
        idle ends by itself, like any other (`runtimes/agent/switch.py`)."""
        while True:
            await asyncio.sleep(GREET_SECONDS)
            try:
                await self._greet_due()
            except Exception:
                log.exception("warm pods do not hear of us")

    # --- inside

    async def _delete(self, names: Sequence[str]) -> None:
        # Nobody may claim what is about to go.
        self._taken.update(names)
        await asyncio.gather(*(self._cluster.delete_pod(name, 1) for name in names))

    async def _give_way(self, waiting: Sequence[Place]) -> None:
        """Deletes those that hold what others wait for. What it changed is seen before more are asked for."""
        now = time.monotonic()
        self._asked = {name: at for name, at in self._asked.items() if now - at < GIVE_WAY_SECONDS}
        new = [place for place in waiting if place.request and place.name not in self._asked and place.status.message]
        if not new or not self._free() or any(_leaves(pod) for pod in self._pods):
            return
        nodes = await self._cluster.nodes()
        for place in new:
            self._asked[place.name] = now
            assert place.request is not None
            wanted = manifests.pod(place.request, self._config, name=place.pod or labels.new_name())
            names = give_way.those_who_do(wanted, place.status.message, self._free(), nodes)
            if names:
                log.info("warm pods give way to runtime %s: %s", place.name, ", ".join(names))
                await self._delete(names)

    async def _greet_due(self) -> None:
        due = [pod for pod in self._free() if conditions.is_ready(pod) and self._is_due(pod)]
        self._greeted = {name: at for name, at in self._greeted.items() if self._pods.get(name)}
        for start in range(0, len(due), _AT_ONCE):
            await asyncio.gather(*(self._greet_one(pod) for pod in due[start : start + _AT_ONCE]))

    def _is_due(self, pod: Json) -> bool:
        wish = self._wishes.get(labels.label(pod, labels.TEMPLATE))
        greeted_at = self._greeted.get(pod["metadata"]["name"])
        if wish is None or greeted_at is None:
            return wish is not None
        return time.monotonic() - greeted_at >= wish.request.limits.idle.total_seconds() / GREETINGS

    async def _greet_one(self, pod: Json) -> None:
        with suppress(AgentError):
            async with AgentClient(conditions.endpoint(pod), self._maker.keys(pod)) as agent:
                await agent.status()
            self._greeted[pod["metadata"]["name"]] = time.monotonic()

    def _free(self) -> list[Json]:
        """Warm pods that nobody claims or ends; the ready ones first, the older before the younger."""
        free = [
            pod
            for pod in self._pods
            if labels.label(pod, labels.STATE) == labels.WARM
            and "deletionTimestamp" not in pod["metadata"]
            and pod["metadata"]["name"] not in self._taken
        ]
        return sorted(free, key=lambda pod: (not conditions.is_ready(pod), pod["metadata"]["creationTimestamp"]))

    async def _refill(self, have: dict[str, int], waiting: Sequence[Place]) -> None:
        missing: list[Request] = []
        for template, wish in self._wishes.items():
            if not waiting or not _in_the_way(
                manifests.pod(wish.request, self._config, name="any", warm=True), waiting
            ):
                missing += [wish.request] * (wish.count - have.get(template, 0))
        for start in range(0, len(missing), _AT_ONCE):
            if not await self._make(missing[start : start + _AT_ONCE]):
                self._paused_until = time.monotonic() + PAUSE_SECONDS
                return

    async def _make(self, requests: Sequence[Request]) -> bool:
        """False where the cluster will not have all of them."""
        made = await asyncio.gather(*(self._make_one(request) for request in requests))
        return all(made)

    async def _make_one(self, request: Request) -> bool:
        name = labels.new_name()
        try:
            self._pods.put(await self._maker.make(request, name, warm=True))
        except (Refused, ProviderUnavailable) as error:
            log.warning("profile %s: none is made ready: %s", request.machine.slug, error)
            with suppress(Refused, ProviderUnavailable):
                # It may be there, without its Secret.
                await self._cluster.delete_pod(name, 1)
            return False
        return True


def _in_the_way(pod: Json, waiting: Sequence[Place]) -> bool:
    """Whether it takes of what people wait for; who waits behind others says nothing of his own."""
    told = [place.status.message for place in waiting if place.status.message]
    return any(give_way.holds(pod, words) for words in told) if told else bool(waiting)


def _leaves(pod: Json) -> bool:
    return labels.label(pod, labels.STATE) == labels.WARM and "deletionTimestamp" in pod["metadata"]


def _fit(pod: Json, request: Request, now: datetime) -> bool:
    """Whether somebody could claim it now, or soon."""
    if conditions.status(pod, now).phase.final or conditions.restarts(pod):
        return False
    if conditions.is_ready(pod):
        template = labels.label(pod, labels.TEMPLATE)
        return claims.may_be_claimed(pod, template, request.limits.lifetime, now)
    return now - datetime.fromisoformat(pod["metadata"]["creationTimestamp"]) < STUCK
