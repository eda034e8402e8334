"""Why a cluster could never run a profile: quotas as the API words them, nodes as the scheduler sees them. Pure."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest

from runtimes.machine import Gpu
from runtimes.pods import manifests, quotas
from runtimes.pods.quantities import amount
from runtimes.pods.refusals import unschedulable, unusable
from runtimes.provider import GIB, Limits
from tests.runtimes.pods.samples import CLUSTER, NAME, PROFILE, REQUEST, node

PLAIN = manifests.pod(REQUEST, CLUSTER, name=NAME)
L4 = replace(PROFILE, accelerator=Gpu("nvidia-l4"))
ON_GPU = manifests.pod(replace(REQUEST, gpu=1, machine=L4), CLUSTER, name=NAME)
TAINT = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}


GPU_NODE = node([TAINT], {"cloud.google.com/gke-accelerator": "nvidia-l4"}, **{"nvidia.com/gpu": "1"})


@pytest.mark.parametrize(
    ("text", "number"),
    [("4", 4), ("500m", 0.5), ("1Gi", GIB), ("129e6", 129e6), ("1.5k", 1500), ("12E", 12e18), ("128974848", 128974848)],
)
def test_quantities_are_read_as_kubernetes_writes_them(text: str, number: float) -> None:
    assert amount(text) == number


@pytest.mark.parametrize("text", ["", "Gi", "1 Gi", "1GiB", "many"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="quantity"):
        amount(text)


@pytest.mark.parametrize(
    ("requested", "used", "limited", "never"),
    [
        ("pods=1", "pods=300", "pods=300", False),
        ("requests.nvidia.com/gpu=8", "requests.nvidia.com/gpu=0", "requests.nvidia.com/gpu=4", True),
        ("limits.memory=1Gi,pods=1", "limits.memory=7Gi,pods=9", "limits.memory=8Gi,pods=9", False),
        ("limits.memory=16Gi,pods=1", "limits.memory=0,pods=0", "limits.memory=8Gi,pods=9", True),
    ],
)
def test_a_quota_that_is_full_is_no_refusal_and_one_that_would_not_do_is(
    requested: str, used: str, limited: str, never: bool
) -> None:
    words = f'pods "x" is forbidden: exceeded quota: q, requested: {requested}, used: {used}, limited: {limited}'
    assert quotas.beyond_all(words) is never


def test_a_quota_whose_words_are_others_tells_nothing() -> None:
    assert quotas.beyond_all("exceeded quota: q, requested: secrets=1, used: secrets=9") is None


def test_a_pod_that_some_node_could_hold_is_not_refused() -> None:
    assert unschedulable(PLAIN, [node(cpu="50m"), node()]) == ""
    assert unschedulable(ON_GPU, [node(), GPU_NODE]) == ""


def test_what_the_cluster_adds_to_a_pod_counts() -> None:
    """A runtime class: its nodes, whose taint it tolerates, and what its sandbox takes itself; and a sidecar."""
    sandboxed = copy.deepcopy(PLAIN)
    only_there = {"key": "sandbox.gke.io/runtime", "value": "gvisor", "effect": "NoSchedule"}
    sandboxed["spec"] |= {
        "nodeSelector": {"sandbox.gke.io/runtime": "gvisor"},
        "tolerations": [{"key": "sandbox.gke.io/runtime", "operator": "Equal", "value": "gvisor"}],
        "overhead": {"memory": "1Gi"},
    }
    sandboxed["spec"]["containers"].insert(0, {"name": "sidecar", "resources": {}})
    gvisor = {"sandbox.gke.io/runtime": "gvisor"}
    assert unschedulable(sandboxed, [node([only_there], gvisor)]) == ""
    assert "without the label" in unschedulable(sandboxed, [node()])
    asked = int(PLAIN["spec"]["containers"][0]["resources"]["requests"]["memory"])
    assert "Insufficient memory" in unschedulable(sandboxed, [node([only_there], gvisor, memory=str(asked + GIB - 1))])
    assert unschedulable(sandboxed, [node([only_there], gvisor, memory=str(asked + GIB))]) == ""


@pytest.mark.parametrize(
    ("pod", "nodes", "words"),
    [
        (PLAIN, [], "no nodes"),
        (PLAIN, [node(memory="512Mi"), node(memory="1Mi")], "0/2 nodes could run it: 2 Insufficient memory."),
        (ON_GPU, [node()], "1 node(s) without the label cloud.google.com/gke-accelerator=nvidia-l4"),
        (ON_GPU, [node(its_labels={"cloud.google.com/gke-accelerator": "nvidia-l4"})], "Insufficient nvidia.com/gpu"),
        (PLAIN, [GPU_NODE], "untolerated taint {nvidia.com/gpu: present}"),
    ],
)
def test_a_pod_that_no_node_could_hold_is_refused_as_the_scheduler_would(
    pod: Any, nodes: list[Any], words: str
) -> None:
    assert words in unschedulable(pod, nodes)


@pytest.mark.parametrize(
    ("toleration", "tolerated"),
    [
        ({"key": "lab", "operator": "Exists"}, True),
        ({"operator": "Exists"}, True),
        ({"key": "lab", "value": "gpu"}, True),
        ({"key": "lab", "operator": "Equal", "value": "cpu"}, False),
        ({"key": "lab", "operator": "Exists", "effect": "NoExecute"}, False),
        ({"key": "other", "operator": "Exists"}, False),
    ],
)
def test_tolerations_are_matched_as_kubernetes_does(toleration: dict[str, str], tolerated: bool) -> None:
    pod = manifests.pod(replace(REQUEST, machine=replace(PROFILE, tolerations=(toleration,))), CLUSTER, name=NAME)
    found = unschedulable(pod, [node([{"key": "lab", "value": "gpu", "effect": "NoSchedule"}])])
    assert (found == "") is tolerated


def test_a_limit_of_cores_is_no_reservation() -> None:
    pod = manifests.pod(replace(REQUEST, limits=Limits(cpu_cores=8)), CLUSTER, name=NAME)
    assert unschedulable(pod, [node()]) == ""


def claim(phase: str, metadata: dict[str, Any] | None = None, **spec: str) -> Any:
    return {"metadata": {"name": "sets", **(metadata or {})}, "spec": spec, "status": {"phase": phase}}


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (claim("Bound", volumeName="pv-1", volumeMode="Filesystem"), ""),
        (claim("Pending", storageClassName="standard-rwo"), ""),
        (
            claim("Bound", {"deletionTimestamp": "2026-11-26T08:00:00Z"}),
            'persistentvolumeclaim "sets" is being deleted',
        ),
        (
            claim("Lost", volumeName="pv-1"),
            'persistentvolumeclaim "sets" bound to non-existent persistentvolume "pv-1"',
        ),
        (
            claim("Bound", volumeMode="Block"),
            'persistentvolumeclaim "sets" has volumeMode Block, and is read as folders and files',
        ),
    ],
)
def test_a_claim_that_no_pod_could_read_says_why(found: Any, words: str) -> None:
    assert unusable(found) == words
