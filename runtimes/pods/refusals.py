"""Why a cluster could never run a profile: the API's own words, or the scheduler's for nodes and data sets there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from runtimes.pods import labels, manifests, quotas
from runtimes.pods.cluster import Cluster, Json, Refused
from runtimes.pods.config import ClusterConfig
from runtimes.pods.quantities import amount
from runtimes.provider import InvalidRequest, Request


async def refusal(cluster: Cluster, config: ClusterConfig, request: Request) -> str:
    """In words; "" if it could run, now or when others have ended. Raises ProviderUnavailable where nobody can say."""
    try:
        pod = manifests.pod(request, config, name=labels.new_name())
    except InvalidRequest as error:
        return str(error)
    try:
        # As it would be admitted: a runtime class chooses nodes, tolerates taints and has an overhead.
        pod = await cluster.create(pod, dry_run=True)
    except Refused as refused:
        # Also where it is not understood: nobody can say that it would do.
        if not quotas.exceeded(refused.message) or quotas.beyond_all(refused.message) is not False:
            return refused.message
        if request.machine.runtime_class:
            return ""
    if request.machine.data is not None and (told := await _no_data(cluster, request.machine.data.claim)):
        return told
    nodes = None if config.adds_nodes else await cluster.nodes()
    return unschedulable(pod, nodes) if nodes is not None else ""


async def _no_data(cluster: Cluster, claim: str) -> str:
    """Why a pod could never have the data sets of this claim; "" if it could, for no claim, and where we see none."""
    try:
        found = await cluster.volume_claim(claim) if claim else None
    except Refused as refused:
        return refused.message
    return unusable(found) if found is not None else ""


def unusable(claim: Json) -> str:
    """Why no pod can read what this claim is bound to, in the words of the scheduler and the kubelet; "" where one can.
    A claim that is not bound yet may be waiting for its first pod (Kubernetes, WaitForFirstConsumer)."""
    name, spec = claim["metadata"]["name"], claim["spec"]
    if "deletionTimestamp" in claim["metadata"]:
        return f'persistentvolumeclaim "{name}" is being deleted'
    if claim.get("status", {}).get("phase") == "Lost":
        return f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume "{spec.get("volumeName", "")}"'
    if (mode := spec.get("volumeMode", "Filesystem")) != "Filesystem":
        return f'persistentvolumeclaim "{name}" has volumeMode {mode}, and is read as folders and files'
    return ""


def unschedulable(pod: Json, nodes: Sequence[Json]) -> str:
    """Why none of these nodes could run it, even if nothing else ran there, worded as the scheduler does."""
    reasons = Counter(reason for node in nodes for reason in [_lacking(pod, node)])
    if not nodes or "" in reasons:
        return "" if nodes else "the cluster has no nodes"
    told = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
    return f"0/{len(nodes)} nodes could run it: {told}."


def _lacking(pod: Json, node: Json) -> str:
    """The first thing that this node lacks; "" for nothing."""
    spec, its_labels = pod["spec"], node["metadata"].get("labels", {})
    for key, text in spec.get("nodeSelector", {}).items():
        if its_labels.get(key) != text:
            return f"node(s) without the label {key}={text}"
    for taint in node.get("spec", {}).get("taints", ()):
        if taint["effect"] != "PreferNoSchedule" and not _tolerated(taint, spec.get("tolerations", ())):
            return f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value', '')}}}"
    has = node["status"].get("allocatable", {})
    overhead = spec.get("overhead", {})
    for resource, wanted in labels.resources(pod)["requests"].items():
        if amount(wanted) + amount(overhead.get(resource, "0")) > amount(has.get(resource, "0")):
            return f"Insufficient {resource}"
    return ""


def _tolerated(taint: Mapping[str, Any], tolerations: Sequence[Mapping[str, Any]]) -> bool:
    """Kubernetes, "Taints and Tolerations": an empty key with Exists tolerates all, an empty effect matches all."""
    return any(
        each.get("key") in (None, "", taint["key"])
        and each.get("effect") in (None, "", taint["effect"])
        and (each.get("operator") == "Exists" or each.get("value", "") == taint.get("value", ""))
        for each in tolerations
    )
