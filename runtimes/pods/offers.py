"""What a cluster offers: environments, accelerators, and why it could never run a profile. A part of its provider."""

from __future__ import annotations

from typing import override

from runtimes.machine import Gpu, Tpu, image_digest
from runtimes.pods import manifests, refusals
from runtimes.pods.cluster import Cluster
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
        if nodes is None:
            return None
        allocatable = [node["status"].get("allocatable", {}) for node in nodes]
        return sum(int(amount(has.get(kind.resource, "0"))) for has in allocatable for kind in (Gpu, Tpu))

    @override
    async def refusal(self, request: Request) -> str:
        cluster = Cluster(self._config.namespace)
        await cluster.open()
        try:
            return await refusals.refusal(cluster, self._config, request)
        finally:
            await cluster.close()
