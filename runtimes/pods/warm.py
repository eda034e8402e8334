"""Warm pods: made before anyone asks, claimed by one patch, replaced when their profile changes or they grow old.

Where people wait for what they hold, they give way, and are made again when nobody waits any more."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from runtimes.agent_client import AgentClient
from runtimes.agent_replies import AgentError
from runtimes.pods import claims, conditions, fitness, give_way, labels, manifests, quotas
from runtimes.pods.cluster import Cluster, Contended, Json, Refused
from runtimes.pods.config import ClusterConfig
from runtimes.pods.existing import ExistingPods
from runtimes.pods.maker import Maker
from runtimes.pods.place import Place
from runtimes.pods.setbacks import Setbacks
from runtimes.provider import InvalidRequest, ProviderUnavailable, Request

log = logging.getLogger(__name__)
#: Where the cluster does not answer.
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
        self._setbacks = Setbacks()
        self._never: dict[str, str] = {}
        self._short_since: float | None = None

    def wish(self, templates: Iterable[tuple[Request, int]]) -> None:
        """Replaces the former wishes. What cannot be made is told to operators and left out."""
        wishes: dict[str, Wish] = {}
        self._never = {}
        for request, count in templates:
            try:
                manifests.check(request, self._config)
            except InvalidRequest as error:
                log.warning("profile %s cannot be kept warm: %s", request.machine.slug, error)
                self._never[request.machine.slug] = str(error)
                continue
            template = manifests.template_digest(request, self._config)
            former = wishes[template].count if template in wishes else 0
            wishes[template] = Wish(request, former + count)
        self._wishes, self._is_told = wishes, True
        self._setbacks.keep(wishes.keys())

    def ready(self) -> dict[str, int]:
        """How many are, by profile: a template is of one, whose name is in it."""
        ready = Counter(labels.label(pod, labels.TEMPLATE) for pod in self._free() if conditions.is_ready(pod))
        return {wish.request.machine.slug: ready[template] for template, wish in self._wishes.items()}

    def lacks(self) -> dict[str, str]:
        """Why fewer are ready than wished for, by profile, in the cluster's words; those that only start are no
        reason."""
        found = dict(self._never)
        for template, wish in self._wishes.items():
            pods = [pod for pod in self._free() if labels.label(pod, labels.TEMPLATE) == template]
            if sum(conditions.is_ready(pod) for pod in pods) < wish.count:
                words = self._setbacks.words(template) or fitness.waits_for(pods, datetime.now(UTC))
                found.update({wish.request.machine.slug: words} if words else {})
        return found

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
        fit = self._sorted_out(waiting, now)
        kept = {pod["metadata"]["name"] for pods in fit.values() for pod in pods}
        await self._delete([name for pod in self._free() if (name := pod["metadata"]["name"]) not in kept])
        await self._give_way(waiting)
        if time.monotonic() < self._paused_until:
            return
        if self._short_since is None or time.monotonic() - self._short_since >= REFILL_SECONDS:
            self._short_since = None
            await self._refill(fit, waiting, now)

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

    def _sorted_out(self, waiting: Sequence[Place], now: datetime) -> dict[str, list[Json]]:
        """Those that stay, by template; what is wrong with others is told to operators, and noted."""
        fit: dict[str, list[Json]] = {template: [] for template in self._wishes}
        for pod in self._free():
            template = labels.label(pod, labels.TEMPLATE)
            wish = self._wishes.get(template)
            if wish is None:
                continue
            if words := fitness.fault(pod, now):
                if self._setbacks.failed(template, words, now):
                    name = pod["metadata"]["name"]
                    log.warning("profile %s: warm pod %s will not do: %s", wish.request.machine.slug, name, words)
                continue
            late = not conditions.is_ready(pod) and _in_the_way(pod, waiting)
            if fitness.fits(pod, wish.request, now) and len(fit[template]) < wish.count and not late:
                self._setbacks.ready(template, conditions.status(pod, now).ready_at, now)
                fit[template].append(pod)
        return fit

    async def _delete(self, names: Sequence[str]) -> None:
        # Nobody may claim what is about to go.
        self._taken.update(names)
        await asyncio.gather(*(self._delete_one(name) for name in names))

    async def _delete_one(self, name: str) -> None:
        try:
            await self._cluster.delete_pod(name, 1)
        except BaseException:
            self._taken.discard(name)
            raise

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
                status = await agent.status()
            name = pod["metadata"]["name"]
            wish = self._wishes.get(labels.label(pod, labels.TEMPLATE))
            if wish is not None and status.preload_failed and name not in self._greeted:
                words = "profile %s: warm pod %s has nothing imported beforehand, which ended its kernel: %s"
                log.warning(words, wish.request.machine.slug, name, status.preload_failed)
            self._greeted[name] = time.monotonic()

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

    async def _refill(self, have: dict[str, list[Json]], waiting: Sequence[Place], now: datetime) -> None:
        # Of what went wrong last the cluster may answer nothing again, which is a pause for all: others go before.
        for template, wish in sorted(self._wishes.items(), key=lambda one: self._setbacks.words(one[0]) != ""):
            example = manifests.pod(wish.request, self._config, name="any", warm=True)
            if self._setbacks.waits(template, now) or (waiting and _in_the_way(example, waiting)):
                continue
            pods = have.get(template, [])
            starting = sum(not conditions.is_ready(pod) for pod in pods)
            count = self._setbacks.at_once(template, wish.count - len(pods), starting)
            for start in range(0, count, _AT_ONCE):
                if not await self._make(template, wish.request, min(_AT_ONCE, count - start)):
                    break
            if time.monotonic() < self._paused_until:
                return

    async def _make(self, template: str, request: Request, count: int) -> bool:
        """False where the cluster will not have all of them."""
        made = await asyncio.gather(*(self._make_one(template, request) for _each in range(count)))
        return all(made)

    async def _make_one(self, template: str, request: Request) -> bool:
        name = labels.new_name()
        try:
            self._pods.put(await self._maker.make(request, name, warm=True))
        except (Refused, ProviderUnavailable) as error:
            log.warning("profile %s: none is made ready: %s", request.machine.slug, error)
            self._note(template, error)
            with suppress(Refused, ProviderUnavailable):
                # It may be there, without its Secret.
                await self._cluster.delete_pod(name, 1)
            return False
        self._setbacks.made(template)
        return True

    def _note(self, template: str, error: Refused | ProviderUnavailable) -> None:
        now = datetime.now(UTC)
        if isinstance(error, Contended):
            return
        if isinstance(error, ProviderUnavailable):
            self._paused_until = time.monotonic() + PAUSE_SECONDS
            self._setbacks.no_room(template, str(error), now)
        elif quotas.exceeded(error.message):
            self._setbacks.no_room(template, error.message, now)
        else:
            self._setbacks.failed(template, error.message, now)


def _in_the_way(pod: Json, waiting: Sequence[Place]) -> bool:
    """Whether it takes of what people wait for; who waits behind others says nothing of his own."""
    told = [place.status.message for place in waiting if place.status.message]
    return any(give_way.holds(pod, words) for words in told) if told else bool(waiting)


def _leaves(pod: Json) -> bool:
    return labels.label(pod, labels.STATE) == labels.WARM and "deletionTimestamp" in pod["metadata"]
