"""What a cluster offers: environments, accelerators, and why it could never run a profile. A part of its provider."""

from __future__ import annotations

from collections.abc import Sequence
from typing import override

from runtimes.machine import Gpu, Tpu, image_digest
from runtimes.pods import manifests, refusals
from runtimes.pods.cluster import Cluster, Json
from runtimes.pods.config import ClusterConfig
from runtimes.pods.quantities import amount
from runtimes.provider import Provider, Request


class Offers(Provider):
    """Asks nothing of pods that run."""

    _config: ClusterConfig
    _cluster: Cluster

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
        cluster = Cluster(self._config.namespace)
        await cluster.open()
        try:
            return await refusals.refusal(cluster, self._config, request)
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
