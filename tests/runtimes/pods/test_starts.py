"""A runtime gets one pod, whichever of the cluster's answers are lost, late or a no that passes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio

from runtimes.machine import Gpu
from runtimes.pods import claims, labels, manifests, starts
from runtimes.pods import provider as pods_provider
from runtimes.pods.cluster import Refused
from runtimes.pods.provider import PodsProvider
from runtimes.provider import Phase, ProviderUnavailable, Reason, Request, Status
from tests.runtimes.pods import real
from tests.runtimes.pods.memory import MemoryCluster
from tests.runtimes.pods.real import until
from tests.runtimes.pods.samples import CLUSTER, PROFILE, REQUEST

LOST = ProviderUnavailable("the cluster's answer broke off")
QUOTA = Refused(403, 'secrets "x" is forbidden: exceeded quota: q, requested: secrets=1, used: secrets=9', "Forbidden")
MINE = {"runtime": REQUEST.name}
GPU = replace(REQUEST, name="gpu-1", gpu=1, machine=replace(PROFILE, slug="gpu", accelerator=Gpu()))


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> MemoryCluster:
    made = MemoryCluster(CLUSTER.namespace)
    monkeypatch.setattr(pods_provider, "Cluster", lambda _namespace: made)
    monkeypatch.setattr(starts, "RETRY_SECONDS", (0.0,))
    return made


@pytest_asyncio.fixture
async def provider(cluster: MemoryCluster) -> AsyncIterator[PodsProvider]:
    async with real.running(CLUSTER) as made:
        yield made


async def settled(provider: PodsProvider, request: Request = REQUEST) -> Status:
    """Its status once it is ready, or over."""

    async def found() -> Status | None:
        status = await provider.status(request.name)
        return status if status.phase is Phase.READY or status.phase.final else None

    status: Status = await until(found)
    return status


async def warm(provider: PodsProvider, cluster: MemoryCluster, count: int) -> list[str]:
    """So many that are ready, and nobody tends them any more."""
    await provider.keep_warm([(REQUEST, count)])
    await until(lambda: len(cluster.names(state="warm")) == count)
    await provider.owned()
    return cluster.names(state="warm")


@pytest.mark.parametrize("deaf", [False, True], ids=["the watch tells of it", "the watch tells nothing"])
async def test_a_claim_whose_answer_is_lost_takes_one_warm_pod(
    provider: PodsProvider, cluster: MemoryCluster, deaf: bool
) -> None:
    pool = await warm(provider, cluster, 2)
    cluster.deaf = deaf
    cluster.fail("patch", LOST, obeyed=True)
    await provider.acquire(REQUEST)
    assert (await settled(provider)).phase is Phase.READY
    [mine] = cluster.names(**MINE)
    assert (await provider.endpoint(REQUEST.name)).identity == mine
    assert {mine, *cluster.names(state="warm")} >= set(pool)


@pytest.mark.parametrize("deaf", [False, True], ids=["the watch tells of it", "the watch tells nothing"])
async def test_a_pod_whose_answer_is_lost_is_not_left_for_a_warm_one_that_is_ready_by_then(
    provider: PodsProvider, cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch, deaf: bool
) -> None:
    cluster.fail("Pod", LOST, obeyed=True)
    later = asyncio.Event()
    monkeypatch.setattr(starts, "sleep", lambda _seconds: later.wait())
    await provider.acquire(REQUEST)
    await until(lambda: cluster.names(**MINE))
    await warm(provider, cluster, 1)
    cluster.deaf = deaf
    later.set()
    await until(lambda: set(cluster.names(**MINE)) <= cluster.orders)
    await provider.owned()
    assert (await settled(provider)).phase is Phase.READY
    assert len(cluster.names(**MINE)) == len(cluster.names(state="warm")) == 1


async def test_a_claim_that_is_obeyed_late_ends_when_the_runtime_has_a_pod_already(
    provider: PodsProvider, cluster: MemoryCluster
) -> None:
    await warm(provider, cluster, 2)
    await provider.acquire(REQUEST)
    assert (await settled(provider)).phase is Phase.READY
    mine = (await provider.endpoint(REQUEST.name)).identity
    late = cluster.names(state="warm")[0]
    await cluster.patch_pod(late, claims.patch(await cluster.pod(late), REQUEST, datetime.now(UTC)))
    await until(lambda: cluster.names(**MINE) == [mine])
    assert (await provider.status(REQUEST.name)).phase is Phase.READY


async def test_a_claim_that_is_obeyed_late_is_the_pod_of_who_waits_for_an_answer(
    provider: PodsProvider, cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    [only] = await warm(provider, cluster, 1)
    late = claims.patch(await cluster.pod(only), REQUEST, datetime.now(UTC))
    cluster.fail("patch", LOST, Refused(422, "not now"))
    cluster.fail("Pod", LOST)
    waits = [asyncio.Event(), asyncio.Event()]
    asked = iter(waits)
    monkeypatch.setattr(starts, "sleep", lambda _seconds: next(asked).wait())
    waits[0].set()
    await provider.acquire(REQUEST)
    await until(lambda: not any(cluster.faults.values()))
    await cluster.patch_pod(only, late)
    assert (await settled(provider)).phase is Phase.READY
    waits[1].set()
    await provider.release(REQUEST.name)
    assert only not in cluster.now
    assert REQUEST.name not in {each.name for each in await provider.owned()}


async def test_a_claim_that_is_obeyed_late_is_the_pod_of_who_waits_for_room(
    provider: PodsProvider, cluster: MemoryCluster
) -> None:
    [only] = await warm(provider, cluster, 1)
    late = claims.patch(await cluster.pod(only), REQUEST, datetime.now(UTC))
    cluster.fail("patch", LOST, Refused(422, "not now"), *[Refused(422, "not now")] * 5)
    cluster.fail("Pod", *[QUOTA] * 5)
    await provider.acquire(REQUEST)
    await until(lambda: queued(provider))
    cluster.faults.clear()
    await cluster.patch_pod(only, late)
    assert (await settled(provider)).phase is Phase.READY
    other = replace(REQUEST, name="ben-1")
    await provider.acquire(other)
    await settled(provider, other)
    assert (await provider.status(REQUEST.name)).phase is Phase.READY
    assert cluster.names(**MINE) == [only]


async def test_a_pod_that_comes_late_while_a_warm_one_is_claimed_has_its_secret(
    provider: PodsProvider, cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.fail("Pod", LOST)
    later = asyncio.Event()
    monkeypatch.setattr(starts, "sleep", lambda _seconds: later.wait())
    await provider.acquire(REQUEST)
    await until(lambda: not cluster.faults["Pod", False])
    await warm(provider, cluster, 1)
    late = manifests.pod(REQUEST, CLUSTER, name=provider._places[REQUEST.name].pod)
    name, claim = late["metadata"]["name"], cluster.patch_pod

    async def claimed(pod: str, operations: Any) -> Any:
        if name not in cluster.now:
            await cluster.create(late)
            await until(lambda: provider._pods.get(name))
        return await claim(pod, operations)

    monkeypatch.setattr(cluster, "patch_pod", claimed)
    later.set()
    assert (await settled(provider)).phase is Phase.READY
    assert (await provider.endpoint(REQUEST.name)).identity == name
    await until(lambda: cluster.names(**MINE) == [name])


async def test_of_two_who_ask_for_a_gpu_at_once_the_first_has_the_first_pod(
    provider: PodsProvider, cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    create, slow = cluster.create, asyncio.Event()

    async def created(manifest: Any, **options: Any) -> Any:
        if manifest["kind"] == "Pod" and manifest["metadata"]["labels"]["pupitre/runtime"] == GPU.name:
            await slow.wait()
        return await create(manifest, **options)

    monkeypatch.setattr(cluster, "create", created)
    other = replace(GPU, name="ben-1")
    for request in (GPU, other, REQUEST):
        await provider.acquire(request)
    # Who wants none does not wait for them.
    assert (await settled(provider)).phase is Phase.READY
    slow.set()
    assert (await settled(provider, other)).phase is Phase.READY
    made = [labels.label(cluster.now[name], labels.RUNTIME) for name in cluster.created]
    assert made == [REQUEST.name, GPU.name, other.name]


@pytest.mark.parametrize("what", ["it is leaving", "it is of another machine"])
async def test_a_pod_of_an_earlier_request_of_the_same_name_is_not_taken_for_what_was_asked_for(
    provider: PodsProvider, cluster: MemoryCluster, what: str
) -> None:
    cluster.fail("Pod", *[QUOTA] * 50)
    await provider.acquire(REQUEST)
    await until(lambda: queued(provider))
    cluster.faults.clear()
    larger = replace(REQUEST, limits=replace(REQUEST.limits, memory_bytes=2 * REQUEST.limits.memory_bytes))
    leaving = what == "it is leaving"
    former = manifests.pod(REQUEST if leaving else larger, CLUSTER, name="former")
    if leaving:
        former["metadata"]["deletionTimestamp"] = "2026-09-01T08:00:00Z"
    await cluster.create(former)
    assert (await settled(provider)).phase is Phase.READY
    assert (await provider.endpoint(REQUEST.name)).identity != "former"


async def test_a_pod_that_the_cluster_will_not_end_keeps_nothing_else_from_being_tended(
    provider: PodsProvider, cluster: MemoryCluster
) -> None:
    await warm(provider, cluster, 2)
    await provider.acquire(REQUEST)
    await settled(provider)
    cluster.fail("delete", *[Refused(403, "admission webhook: not on Thursdays")] * 1000)
    late = cluster.names(state="warm")[0]
    await cluster.patch_pod(late, claims.patch(await cluster.pod(late), REQUEST, datetime.now(UTC)))
    await until(lambda: len(cluster.names(state="warm")) == 2)
    cluster.faults.clear()


async def test_of_two_that_a_predecessor_left_none_ends_for_somebody_may_be_at_work_in_either(
    provider: PodsProvider, cluster: MemoryCluster
) -> None:
    await warm(provider, cluster, 2)
    for name in cluster.names(state="warm"):
        await cluster.patch_pod(name, claims.patch(await cluster.pod(name), REQUEST, datetime.now(UTC)))
    await provider.keep_warm([])
    await provider.owned()
    await provider._look_around()
    assert len(cluster.names(**MINE)) == 2
    await provider.release(REQUEST.name)
    assert cluster.names(**MINE) == []


async def queued(provider: PodsProvider) -> bool:
    status = await provider.status(REQUEST.name)
    return (status.phase, status.reason) == (Phase.QUEUED, Reason.QUOTA_EXCEEDED)


async def test_a_no_that_may_pass_is_asked_again(provider: PodsProvider, cluster: MemoryCluster) -> None:
    cluster.fail("Pod", Refused(409, "please apply your changes to the latest version and try again", "Conflict"))
    cluster.fail("Secret", Refused(409, "please apply your changes to the latest version and try again", "Conflict"))
    await provider.acquire(REQUEST)
    assert (await settled(provider)).phase is Phase.READY
    await until(lambda: len(cluster.names(**MINE)) == 1)


async def test_a_no_that_does_not_pass_is_told_in_the_clusters_words(
    provider: PodsProvider, cluster: MemoryCluster
) -> None:
    cluster.fail("Pod", *[Refused(409, "admission webhook: not on Thursdays")] * (starts.MOST_REFUSALS + 1))
    await provider.acquire(REQUEST)
    status = await settled(provider)
    assert (status.phase, status.reason) == (Phase.LOST, Reason.ERROR)
    assert "not on Thursdays" in status.message
    assert cluster.created == []


async def test_who_waited_because_their_secret_was_refused_gets_another_pod_that_is_heard_of(
    provider: PodsProvider, cluster: MemoryCluster
) -> None:
    cluster.fail("Secret", QUOTA)
    await provider.acquire(REQUEST)
    assert (await settled(provider)).phase is Phase.READY
    refused, mine = cluster.created
    await until(lambda: refused not in cluster.now)
    assert (await provider.status(REQUEST.name)).phase is Phase.READY
    cluster.told(mine, phase="Failed", reason="Evicted")

    async def evicted() -> bool:
        return (await provider.status(REQUEST.name)).reason is Reason.EVICTED

    await until(evicted)
