"""Tries a profile's image by a pod that ends at once, and sees to it that none is left, whoever died meanwhile."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta

from runtimes.image_trial import ImageTrial, Untried
from runtimes.pods import labels, quotas, trial_pod
from runtimes.pods.cluster import Cluster, Refused
from runtimes.pods.config import ClusterConfig
from runtimes.provider import ProviderUnavailable, Request

log = logging.getLogger(__name__)
#: How long an image may take to be fetched while somebody waits for the page, and how long a node to take it on.
PATIENCE_SECONDS, ROOM_SECONDS = 20.0, 4.0
LOOK_SECONDS = 0.4
#: Nobody waits for one as old as this.
LEFT_BEHIND = timedelta(minutes=2)


async def try_image(cluster: Cluster, config: ClusterConfig, request: Request) -> ImageTrial:
    """Returns within `PATIENCE_SECONDS`, and the cluster's own time to answer. Raises InvalidRequest for a request that
    nobody could run, ProviderUnavailable where the cluster does not answer."""
    manifest = trial_pod.pod(request, config, name=labels.new_name())
    try:
        pod = await cluster.create(manifest)
    except Refused as refused:
        full = quotas.exceeded(refused.message)
        return ImageTrial(untried=Untried.ROOM if full else Untried.FAULT, words=refused.message)
    name = pod["metadata"]["name"]
    try:
        return await _outcome(cluster, config, name)
    except Refused as refused:
        return ImageTrial(untried=Untried.FAULT, words=refused.message)
    finally:
        await _delete(cluster, name)


async def _outcome(cluster: Cluster, config: ClusterConfig, name: str) -> ImageTrial:
    clock = asyncio.get_running_loop().time
    began = placed_at = clock()
    while True:
        pod, now = await cluster.pod(name), datetime.now(UTC)
        found = trial_pod.verdict(pod, now, elsewhere=config.adds_nodes)
        if found is not None:
            return found
        if not trial_pod.is_unplaced(pod, now):
            placed_at = clock()
        if clock() - began >= PATIENCE_SECONDS or clock() - placed_at >= ROOM_SECONDS:
            return trial_pod.late(pod, now)
        await asyncio.sleep(LOOK_SECONDS)


async def sweep(cluster: Cluster, config: ClusterConfig, now: datetime) -> None:
    """Deletes what a trial left that was broken off. Raises what the cluster raises."""
    pods, _version = await cluster.pods(trial_pod.selector(config))
    for pod in pods:
        if now - datetime.fromisoformat(pod["metadata"]["creationTimestamp"]) >= LEFT_BEHIND:
            await cluster.delete_pod(pod["metadata"]["name"], 1)


async def _delete(cluster: Cluster, name: str) -> None:
    try:
        await cluster.delete_pod(name, 1)
    except (ProviderUnavailable, Refused) as error:
        log.warning("trial pod %s: it is deleted later: %s", name, error)
