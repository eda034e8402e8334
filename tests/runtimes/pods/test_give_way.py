"""Which warm pods give way to who waits: the fewest that help, the youngest first, and none that could serve them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from runtimes.machine import Gpu
from runtimes.pods import give_way, manifests
from runtimes.provider import MIB, Limits, Request
from tests.runtimes.pods.samples import BEGAN, CLUSTER, PROFILE, REQUEST, running, seen, text

GPU_SHORT = (
    "Unschedulable: 0/3 nodes are available: 3 Insufficient nvidia.com/gpu. preemption: 0/3 nodes are available."
)
CPU_SHORT = "Unschedulable: 0/2 nodes are available: 2 Insufficient cpu."
QUOTA = (
    'pods "rt-1" is forbidden: exceeded quota: runtimes, requested: pods=1,requests.memory=1Gi, '
    "used: pods=3,requests.memory=3Gi, limited: pods=3,requests.memory=3Gi"
)


def profile(slug: str, *, gpu: int = 0, cpu: float = 0.1, room: str = "", memory: int = 512 * MIB) -> Request:
    machine = replace(
        PROFILE,
        slug=slug,
        accelerator=Gpu() if gpu else None,
        cpu_request=cpu,
        node_selector={"room": room} if room else {},
    )
    return replace(REQUEST, gpu=gpu, machine=machine, limits=Limits(cpu_cores=4, memory_bytes=memory))


def warm(name: str, request: Request, *, minutes: int = 0, node: str = "n1") -> dict[str, Any]:
    """One that is ready on this node since so many minutes after the first."""
    pod = seen(running(), request=request, warm=True, name=name)
    pod["metadata"]["creationTimestamp"] = text(BEGAN + timedelta(minutes=minutes))
    pod["spec"]["nodeName"] = node
    return pod


def node(name: str, **labels: str) -> dict[str, Any]:
    size = {"cpu": "8", "memory": "64Gi", "ephemeral-storage": "100Gi", "nvidia.com/gpu": "2"}
    return {"metadata": {"name": name, "labels": labels}, "status": {"allocatable": size}}


def those(wanted: Request, words: str, *pods: dict[str, Any], nodes: list[dict[str, Any]] | None = None) -> list[str]:
    return give_way.those_who_do(manifests.pod(wanted, CLUSTER, name="rt-wanted"), words, pods, nodes)


A, B = profile("a", gpu=1), profile("b", gpu=1, cpu=0.5)


@pytest.mark.parametrize("nodes", [None, [node("n1")]])
def test_the_youngest_that_holds_a_gpu_goes_and_no_more_than_are_wanted(nodes: list[dict[str, Any]] | None) -> None:
    pods = [warm("old", A), warm("young", A, minutes=5), warm("cpu", profile("c"), minutes=9)]
    assert those(B, GPU_SHORT, *pods, nodes=nodes) == ["young"]
    assert those(replace(B, gpu=2), GPU_SHORT, *pods, nodes=nodes) == ["young", "old"]


def test_what_who_waits_could_claim_stays() -> None:
    assert those(B, GPU_SHORT, warm("own", B)) == []


def test_those_of_one_node_go_and_none_where_it_could_not_run() -> None:
    pods = [warm("one", A, minutes=9), warm("two", A, node="n2"), warm("three", A, node="n2")]
    assert those(replace(B, gpu=2), GPU_SHORT, *pods, nodes=[node("n1"), node("n2")]) == ["two", "three"]
    elsewhere = profile("b", gpu=1, room="b12")
    assert those(elsewhere, GPU_SHORT, *pods, nodes=[node("n1"), node("n2", room="b12")]) == ["two"]
    assert those(elsewhere, GPU_SHORT, *pods, nodes=[node("n1"), node("n2")]) == []


def test_without_a_sight_of_nodes_what_says_another_place_is_left_alone() -> None:
    pods = [warm("there", profile("a", gpu=1, room="b11"))]
    assert those(profile("b", gpu=1, room="b12"), GPU_SHORT, *pods) == []
    assert those(profile("b", gpu=1, room="b11", cpu=0.3), GPU_SHORT, *pods) == ["there"]


def test_where_some_of_it_may_be_free_already_all_that_hold_any_go() -> None:
    """What else is on the node only the scheduler knows."""
    pods = [warm("one", profile("a", cpu=0.5)), warm("two", profile("a", cpu=0.5), minutes=1)]
    assert those(profile("b", cpu=2.0), CPU_SHORT, *pods) == ["two", "one"]
    assert those(profile("b", cpu=0.4), CPU_SHORT, *pods) == ["two"]


def test_of_a_quota_as_many_go_as_it_is_exceeded_by_and_none_if_all_are_too_few() -> None:
    small = [warm(f"small-{age}", profile("a", memory=512 * MIB), minutes=age) for age in range(3)]
    wanted = profile("b", memory=1024 * MIB)
    assert those(wanted, QUOTA, *small) == ["small-2", "small-1"]
    assert those(wanted, QUOTA, small[0]) == []


@pytest.mark.parametrize("words", ["", "Unschedulable: 0/1 nodes are available: 1 node(s) had untolerated taint."])
def test_who_waits_for_something_else_is_not_helped_by_any(words: str) -> None:
    assert those(B, words, warm("a", A)) == []
