"""How much of a processor a pod may use, changed while it runs: the subresource `resize` (Kubernetes, "Resize CPU and
Memory Resources assigned to Containers"), which clusters have from 1.33 on."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from runtimes.pods import labels
from runtimes.pods.cluster import Cluster, Json, Refused
from runtimes.pods.existing import ExistingPods
from runtimes.pods.quantities import amount
from runtimes.provider_errors import ProviderUnavailable

log = logging.getLogger(__name__)

#: What the pod's limit was: whoever gives it back may be another process than the one that lowered it.
WHOLE = "pupitre/cpu-limit"
_ANNOTATION = "/metadata/annotations/" + WHOLE.replace("/", "~1")


async def throttle(cluster: Cluster, pods: ExistingPods, name: str, share: float | None) -> bool:
    """Gives a pod this share of its processors, or all of them again; False where the cluster cannot, or does not let
    us. Raises ProviderUnavailable where what it had cannot be given back now."""
    pod = pods.get(name)
    changes = changed(pod, share) if pod is not None else []
    if pod is None or not changes:
        return True
    try:
        if WHOLE not in pod["metadata"].get("annotations", {}):
            whole = [{"op": "add", "path": _ANNOTATION, "value": _limits(pod)["cpu"]}]
            pods.put(await cluster.patch_pod(name, whole))
        pods.put(await cluster.resize_pod(name, changes))
    except Refused as refusal:
        if share is None and refusal.code != 404:
            raise ProviderUnavailable(f"pod {name}: {refusal}") from refusal
        log.warning("pod %s: its processors cannot be limited while it runs: %s", name, refusal)
        return False
    return True


def changed(pod: Json, share: float | None) -> list[Json]:
    """The JSON patch of its resources; none where they are so already. Pure.

    A request equal to the limit stays so, and any other below it: a pod's class of service cannot change."""
    limits, requests = _limits(pod), labels.resources(pod)["requests"]
    whole = amount(pod["metadata"].get("annotations", {}).get(WHOLE) or limits["cpu"])
    now, least = _milli(amount(limits["cpu"])), _milli(amount(requests["cpu"]))
    guaranteed = now == least
    wanted = _milli(whole * (1 if share is None else share))
    if not guaranteed:
        wanted = max(wanted, least + 1)
    if wanted == now:
        return []
    kinds = ("limits", "requests") if guaranteed else ("limits",)
    paths = [f"/spec/containers/{labels.place(pod)}/resources/{kind}/cpu" for kind in kinds]
    return [{"op": "replace", "path": path, "value": f"{wanted}m"} for path in paths]


def _limits(pod: Json) -> Mapping[str, Any]:
    limits: Mapping[str, Any] = labels.resources(pod)["limits"]
    return limits


def _milli(cores: float) -> int:
    return max(round(cores * 1000), 1)
