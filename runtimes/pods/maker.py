"""Makes a pod and then its Secret, so that nothing is left behind whenever this process dies; safe to repeat."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import nullcontext

from runtimes.keys import Keys, connection_keys
from runtimes.pods import labels, manifests
from runtimes.pods.cluster import Cluster, Json, Refused
from runtimes.pods.config import ClusterConfig
from runtimes.provider import Request


class Maker:
    """masters: master keys by version; new pods get keys of `config.key_version`."""

    def __init__(self, cluster: Cluster, config: ClusterConfig, masters: Mapping[int, bytes]) -> None:
        self._cluster = cluster
        self._config = config
        self._masters = masters
        self._turn = asyncio.Lock()

    async def make(self, request: Request, name: str, *, warm: bool = False) -> Json:
        """The pod `name` with its order. Asked again with the same name, goes on where it was. Raises what the cluster
        raises; Refused may leave a pod without its order, which is for the caller to end."""
        manifest = manifests.pod(request, self._config, name=name, warm=warm)
        # Whoever asks first has the first pod, which the scheduler serves first (Kubernetes, `PrioritySort`): of
        # requests on their way at once any might arrive first, and there may be one GPU only.
        turn = self._turn if request.gpu and not warm else nullcontext()
        try:
            async with turn:
                pod = await self._cluster.create(manifest)
        except Refused as refusal:
            if not refusal.exists:
                raise
            pod = await self._cluster.pod(name)
        await self.give_order(request, pod, warm=warm)
        return pod

    async def give_order(self, request: Request, pod: Json, *, warm: bool = False) -> None:
        """Its Secret, unless it has one. The cluster collects it with the pod, and at once where that is gone already
        (Kubernetes, "Garbage Collection": an absent owner)."""
        name, uid, keys = pod["metadata"]["name"], pod["metadata"]["uid"], self.keys(pod)
        manifest = manifests.secret(request, self._config, name=name, uid=uid, keys=keys, warm=warm)
        try:
            await self._cluster.create(manifest)
        except Refused as refusal:
            if not refusal.exists:
                raise

    def keys(self, pod: Json) -> Keys:
        """What its agent is spoken to with."""
        version = int(labels.annotation(pod, labels.KEY_VERSION))
        return connection_keys(self._masters[version], version, pod["metadata"]["name"])
