"""Who waits for a node in vain: none could hold the pod though nothing else ran there. The scheduler says of such a
node what it says of a full one, that it is short of something."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime

from runtimes.pods import conditions, refusals
from runtimes.pods.cluster import Cluster, Json, Refused
from runtimes.pods.config import ClusterConfig
from runtimes.pods.existing import ExistingPods
from runtimes.pods.place import Place
from runtimes.provider import ProviderUnavailable, Reason, Status

log = logging.getLogger(__name__)
#: How often nodes are asked for while somebody waits for one: a large cluster has many.
LOOK_SECONDS = 30.0
_FULL = frozenset({Reason.CAPACITY_WAIT, Reason.ACCELERATOR_WAIT})


class Nodes:
    """Of one provider."""

    def __init__(self, cluster: Cluster, config: ClusterConfig) -> None:
        self._cluster = cluster
        self._config = config
        self._asked_at = -math.inf

    async def look(self, places: Iterable[Place], pods: ExistingPods) -> None:
        """Notes on each place that waits for a node why none could hold its pod; that it waits for room where one
        could, where we may not see nodes, and where some are added, of which nobody knows how large they are."""
        if self._config.adds_nodes or time.monotonic() - self._asked_at < LOOK_SECONDS:
            return
        now = datetime.now(UTC)
        mine = [(place, pod) for place in places if (pod := pods.get(place.pod)) is not None]
        waiting = [(place, pod) for place, pod in mine if conditions.status(pod, now).reason in _FULL]
        if not waiting:
            return
        self._asked_at = time.monotonic()
        try:
            nodes = await self._cluster.nodes()
        except (ProviderUnavailable, Refused) as error:
            log.warning("nobody knows whether a node could hold who waits: %s", error)
            return
        for place, pod in waiting:
            place.in_vain = refusals.unschedulable(pod, nodes) if nodes is not None else ""


def status(place: Place, pod: Json, now: datetime, *, grows: bool) -> Status:
    """As its pod says, and what the nodes say of that; the scheduler's words stay."""
    found = conditions.status(pod, now, grows=grows)
    if not place.in_vain or found.reason not in _FULL:
        return found
    return replace(
        found, reason=Reason.NO_MACHINE, message=f"{found.message} If nothing else ran there: {place.in_vain}"
    )
