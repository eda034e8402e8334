"""Who asks for more than a node, or the whole quota, has waits in vain: it is told, holds nobody up, and starts when
there is enough."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from runtimes.machine import Gpu
from runtimes.pods import in_vain
from runtimes.pods import provider as pods_provider
from runtimes.pods.cluster import Refused
from runtimes.pods.provider import PodsProvider
from runtimes.provider import Phase, ProviderUnavailable, Reason, Request
from tests.runtimes.pods import real
from tests.runtimes.pods.memory import MemoryCluster
from tests.runtimes.pods.real import until
from tests.runtimes.pods.samples import CLUSTER, PROFILE, REQUEST, node, running, unscheduled

SHORT = unscheduled("0/2 nodes are available: 2 Insufficient memory.")
GPU = replace(REQUEST, name="gpu-1", gpu=1, machine=replace(PROFILE, slug="gpu", accelerator=Gpu()))
OTHER = replace(REQUEST, name="ben-1", machine=replace(PROFILE, slug="other"))
TOO_SMALL = [node(memory="1Mi"), node([{"key": "drained", "effect": "NoSchedule"}])]
MINE = {"runtime": REQUEST.name}
QUOTA = Refused(
    403,
    "exceeded quota: q, requested: limits.memory=2Gi, used: limits.memory=0, limited: limits.memory=1Gi",
    "Forbidden",
)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> MemoryCluster:
    made = MemoryCluster(CLUSTER.namespace)
    made.there = TOO_SMALL
    monkeypatch.setattr(pods_provider, "Cluster", lambda _namespace: made)
    monkeypatch.setattr(in_vain, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(pods_provider, "ROOM_SECONDS", 0.0)
    return made


@pytest_asyncio.fixture
async def provider(cluster: MemoryCluster) -> AsyncIterator[PodsProvider]:
    async with real.running(CLUSTER) as made:
        yield made


async def waits(
    provider: PodsProvider, cluster: MemoryCluster, request: Request = REQUEST, status: Any = SHORT
) -> None:
    """It is asked for, and the scheduler finds every node short of something."""
    cluster.ill = status
    await provider.acquire(request)
    await until(lambda: set(cluster.names(runtime=request.name)) & cluster.orders)
    cluster.ill = None
    await provider.owned()


async def why(provider: PodsProvider, name: str = REQUEST.name) -> Reason:
    status = await provider.status(name)
    assert status.phase is Phase.QUEUED
    return status.reason


async def test_one_that_is_too_large_for_every_node_has_no_machine_until_there_is_one(
    provider: PodsProvider, cluster: MemoryCluster
) -> None:
    await waits(provider, cluster)
    await provider._look_around()
    status = await provider.status(REQUEST.name)
    assert (status.phase, status.reason) == (Phase.QUEUED, Reason.NO_MACHINE)
    assert status.message.startswith(
        "Unschedulable: 0/2 nodes are available: 2 Insufficient memory. If nothing else ran"
    )
    assert "1 Insufficient memory, 1 node(s) had untolerated taint {drained: }" in status.message
    # The scheduler looks again, and says no more than it did.
    cluster.told(
        *cluster.names(**MINE), **unscheduled("0/2 nodes are available: 1 Insufficient memory, 1 unschedulable.")
    )
    await provider.owned()
    assert await why(provider) is Reason.NO_MACHINE
    assert "1 unschedulable" in (await provider.status(REQUEST.name)).message
    cluster.there = [*TOO_SMALL, node()]
    await provider._look_around()
    assert await why(provider) is Reason.CAPACITY_WAIT


async def test_a_gpu_that_no_node_has_is_told_apart_from_one_that_others_use(
    provider: PodsProvider, cluster: MemoryCluster
) -> None:
    await waits(provider, cluster, GPU, unscheduled("0/1 nodes are available: 1 Insufficient nvidia.com/gpu."))
    cluster.there = [node(**{"nvidia.com/gpu": "1"})]
    await provider._look_around()
    assert await why(provider, GPU.name) is Reason.ACCELERATOR_WAIT
    cluster.there = [node()]
    await provider._look_around()
    assert await why(provider, GPU.name) is Reason.NO_MACHINE


async def test_one_that_gets_its_node_after_all_is_ready(provider: PodsProvider, cluster: MemoryCluster) -> None:
    await waits(provider, cluster)
    await provider._look_around()
    cluster.told(*cluster.names(**MINE), **running())
    await provider.owned()
    assert (await provider.status(REQUEST.name)).phase is Phase.READY


async def test_where_nodes_are_not_seen_it_is_the_schedulers_to_say(
    provider: PodsProvider, cluster: MemoryCluster
) -> None:
    cluster.there = None
    await waits(provider, cluster)
    await provider._look_around()
    assert await why(provider) is Reason.CAPACITY_WAIT


async def test_where_nodes_are_added_those_of_now_say_nothing(cluster: MemoryCluster) -> None:
    async with real.running(replace(CLUSTER, adds_nodes=True)) as provider:
        cluster.fail("nodes", AssertionError("nobody asks"))
        # The scheduler has said so since the date of the samples: all are taken to be there.
        await waits(provider, cluster)
        await provider._look_around()
        assert await why(provider) is Reason.CAPACITY_WAIT


async def test_nodes_are_asked_for_now_and_then_and_only_while_somebody_waits_for_one(
    provider: PodsProvider, cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, nodes = [], cluster.nodes

    async def counted() -> Any:
        asked.append(1)
        return await nodes()

    monkeypatch.setattr(cluster, "nodes", counted)
    monkeypatch.setattr(in_vain, "LOOK_SECONDS", 60.0)
    await waits(provider, cluster, OTHER, unscheduled("0/1 nodes are available: 1 node(s) were unschedulable."))
    await provider._look_around()
    assert asked == []
    await waits(provider, cluster)
    for _time in range(3):
        await provider._look_around()
    assert asked == [1]


@pytest.mark.parametrize("error", [ProviderUnavailable("no answer"), Refused(400, "no")])
async def test_nodes_that_cannot_be_asked_for_leave_it_at_what_is_known(
    provider: PodsProvider, cluster: MemoryCluster, error: Exception
) -> None:
    await waits(provider, cluster)
    await provider._look_around()
    cluster.fail("nodes", *[error] * 10)
    await provider._look_around()
    assert await why(provider) is Reason.NO_MACHINE


async def test_pools_are_filled_while_somebody_waits_in_vain(provider: PodsProvider, cluster: MemoryCluster) -> None:
    await waits(provider, cluster)
    await provider.keep_warm([(OTHER, 1)])
    await until(lambda: cluster.names(state="warm"))


async def test_one_beyond_the_whole_quota_holds_nobody_up_and_starts_when_the_quota_is_raised(
    provider: PodsProvider, cluster: MemoryCluster
) -> None:
    cluster.fail("Pod", *[QUOTA] * 1000)
    await provider.acquire(REQUEST)

    async def said() -> bool:
        return (await provider.status(REQUEST.name)).reason is Reason.NO_MACHINE

    await until(said)
    assert await why(provider) is Reason.NO_MACHINE
    assert "limited: limits.memory=1Gi" in (await provider.status(REQUEST.name)).message
    cluster.faults.clear()
    await provider.acquire(OTHER)
    await until(lambda: cluster.names(runtime=OTHER.name))
    await provider._look_around()
    await until(lambda: set(cluster.names(**MINE)) & cluster.orders)
    await provider.owned()
    assert (await provider.status(REQUEST.name)).phase is Phase.READY
