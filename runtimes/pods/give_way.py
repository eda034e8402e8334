"""Which warm pods give way where people wait for what those hold: the fewest that help, the youngest first. Pure.

Kubernetes could do so itself, were warm pods of a lower priority. But a pod's priority can not be changed: one that is
claimed would stay below others, and somebody's work would be pre-empted for the next who comes.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from runtimes.pods import labels
from runtimes.pods.containers import Pod
from runtimes.pods.quantities import amount
from runtimes.pods.quotas import beyond
from runtimes.pods.refusals import unschedulable

# As the scheduler words it: 0/3 nodes are available: 1 Insufficient cpu, 2 Insufficient nvidia.com/gpu.
_SHORT = re.compile(r"Insufficient ([\w./-]*\w)")
_TOO_MANY = "Too many pods"


def those_who_do(wanted: Pod, words: str, warm: Sequence[Pod], nodes: Sequence[Mapping[str, Any]] | None) -> list[str]:
    """Names of the pods of `warm` that give way to `wanted`, which waits for the reason in `words`: the API's about a
    quota, or the scheduler's about nodes. nodes: None where we may not see them."""
    others = [pod for pod in warm if labels.label(pod, labels.TEMPLATE) != labels.label(wanted, labels.TEMPLATE)]
    youngest = sorted(others, key=lambda pod: str(pod["metadata"]["creationTimestamp"]), reverse=True)
    if lacking := beyond(words):
        chosen, left = _enough(youngest, lacking, _of_quota)
        # A quota is the sum of its pods: where all of them are not enough, none helps.
        return [] if left else chosen
    holds = _of_node(wanted)
    short = {name: holds.get(name, 0.0) for name in _short(words)}
    return _on_one_node(wanted, {name: need for name, need in short.items() if need}, youngest, nodes)


def holds(pod: Pod, words: str) -> bool:
    """Whether it has any of what is waited for, for the reason in `words`."""
    if lacking := beyond(words):
        return any(_of_quota(pod).get(name) for name in lacking)
    return any(_of_node(pod).get(name) for name in _short(words))


def _short(words: str) -> set[str]:
    return {*_SHORT.findall(words), *(["pods"] if _TOO_MANY in words else [])}


def _on_one_node(
    wanted: Pod, short: Mapping[str, float], youngest: Sequence[Pod], nodes: Sequence[Mapping[str, Any]] | None
) -> list[str]:
    """What is free beside them only the scheduler knows: the fewest that surely do, else all that hold any of it."""
    by_node: dict[str, list[Pod]] = defaultdict(list)
    for pod in youngest:
        by_node[str(pod["spec"].get("nodeName", ""))].append(pod)
    named = {str(node["metadata"]["name"]): node for node in nodes or ()}
    tries = []
    for name, pods in by_node.items():
        if not name or not _fits(wanted, pods[0], named.get(name), seen=nodes is not None):
            continue
        chosen, left = _enough(pods, short, _of_node)
        if chosen:
            tries.append((bool(left), len(chosen), name, chosen))
    return min(tries)[-1] if tries else []


def _fits(wanted: Pod, there: Pod, node: Mapping[str, Any] | None, *, seen: bool) -> bool:
    """Whether `wanted` could be on this node if nothing else were; without a sight of it, as far as what is `there`
    says."""
    if seen:
        return node is not None and not unschedulable(dict(wanted), [dict(node)])
    asks, has = (pod["spec"].get("nodeSelector", {}) for pod in (wanted, there))
    return all(has.get(key, text) == text for key, text in asks.items())


def _enough(pods: Iterable[Pod], lacking: Mapping[str, float], holds: Any) -> tuple[list[str], dict[str, float]]:
    """Pods that hold what is lacking, in their order until it is enough, and what is lacking then."""
    left, chosen = dict(lacking), []
    for pod in pods:
        has = holds(pod)
        if not any(has.get(name) for name in left):
            continue
        chosen.append(str(pod["metadata"]["name"]))
        left = {name: need - has.get(name, 0.0) for name, need in left.items() if need > has.get(name, 0.0)}
        if not left:
            break
    return chosen, left


def _of_node(pod: Pod) -> dict[str, float]:
    """What it takes of its node."""
    requests = labels.resources(pod)["requests"]
    return {"pods": 1.0, **{name: amount(text) for name, text in requests.items()}}


def _of_quota(pod: Pod) -> dict[str, float]:
    """What it takes of a quota (Kubernetes, "Resource Quotas": without a prefix it is what is requested)."""
    resources = labels.resources(pod)
    limits = {f"limits.{name}": amount(text) for name, text in resources["limits"].items()}
    requests = {name: amount(text) for name, text in resources["requests"].items()}
    return {"pods": 1.0, **limits, **requests, **{f"requests.{name}": size for name, size in requests.items()}}
