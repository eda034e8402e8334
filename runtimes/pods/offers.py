"""What a cluster offers: environments, accelerators, and why it could never run a profile. A part of its provider."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import override

from runtimes.image_trial import ImageTrial
from runtimes.machine import Gpu, Tpu, image_digest
from runtimes.pods import manifests, refusals, trial
from runtimes.pods.cluster import Cluster, Json, Refused
from runtimes.pods.config import ClusterConfig
from runtimes.pods.quantities import amount
from runtimes.provider import Provider, ProviderUnavailable, Request

log = logging.getLogger(__name__)
SWEEP_SECONDS = 60.0


class Offers(Provider):
    """Asks nothing of pods that run."""

    _config: ClusterConfig
    _cluster: Cluster

    @property
    @override
    def image(self) -> str:
        return self._config.image

    @override
    async def environments(self) -> list[str]:
        return [digest] if (digest := image_digest(self._config.image)) else []

    @override
    async def environment_of(self, request: Request) -> str:
        manifests.check(request, self._config)
        return image_digest(manifests.image(request, self._config))

    @override
    async def accelerators(self) -> int | None:
        nodes = await self._cluster.nodes()
        return None if nodes is None else count(nodes)

    @override
    async def refusal(self, request: Request) -> str:
        async with self._own_cluster() as cluster:
            return await refusals.refusal(cluster, self._config, request)

    @override
    async def try_image(self, request: Request) -> ImageTrial:
        async with self._own_cluster() as cluster:
            return await trial.try_image(cluster, self._config, request)

    async def _sweep_trials(self) -> None:
        """For ever."""
        while True:
            try:
                await trial.sweep(self._cluster, self._config, datetime.now(UTC))
            except (ProviderUnavailable, Refused) as error:
                log.warning("trial pods are not looked for: %s", error)
            await asyncio.sleep(SWEEP_SECONDS)

    @asynccontextmanager
    async def _own_cluster(self) -> AsyncIterator[Cluster]:
        """For who asks before `start`, in any process."""
        cluster = Cluster(self._config.namespace)
        await cluster.open()
        try:
            yield cluster
        finally:
            await cluster.close()


def count(nodes: Sequence[Json]) -> int:
    """How many GPUs and TPUs they have. A node offers a shared GPU once for each who may share it, and whoever has one
    counts for a part of it (`Profile.accelerators`)."""
    found = 0.0
    for node in nodes:
        has = node["status"].get("allocatable", {})
        clients = node["metadata"].get("labels", {}).get(Gpu.clients_label, "1")
        found += amount(has.get(Gpu.resource, "0")) / max(amount(clients), 1) + amount(has.get(Tpu.resource, "0"))
    return round(found)
