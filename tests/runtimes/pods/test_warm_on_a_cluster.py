"""Warm pods on a real cluster: claimed once each, replaced, and given a whole lifetime."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from runtimes.machine import Gpu, Machine
from runtimes.pods import claims, labels
from runtimes.pods.cluster import Refused
from runtimes.pods.provider import PodsProvider
from runtimes.provider import MIB, Phase, Request
from tests.runtimes.pods.real import (
    ROOM,
    SMALL,
    Admin,
    needs_cluster,
    own_namespace,
    ready_ones,
    running,
    seats,
    until,
    warm,
)
from tests.runtimes.sandbox.notebook import WAIT, settled, start_notebook

pytestmark = [needs_cluster, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]


async def gone(admin: Admin) -> bool:
    return not await admin.names("Pod")


async def test_of_twenty_who_want_three_warm_pods_three_get_one_each_and_the_others_are_told() -> None:
    request = Request("any", kernels=1, limits=SMALL)
    async with own_namespace() as (admin, config), running(config) as provider:
        await provider.keep_warm([(request, 3)])
        pods = await until(lambda: ready_ones(admin, 3))
        # Nobody tends them while twenty processes want them at once.
        await provider.close()

        async def claim(number: int) -> str:
            for pod in pods:
                patch = claims.patch(pod, replace(request, name=f"seat-{number}"), datetime.now(UTC))
                try:
                    return str((await admin.patch_pod(pod["metadata"]["name"], patch))["metadata"]["name"])
                except Refused as refusal:
                    refusals.add(refusal.code)
            return ""

        refusals: set[int] = set()
        won = [name for name in await asyncio.gather(*(claim(number) for number in range(20))) if name]
        assert sorted(won) == sorted(pod["metadata"]["name"] for pod in pods)
        assert refusals == {422}


async def test_a_claimed_pod_is_replaced_and_a_profile_edit_replaces_all(provider: PodsProvider, place: Any) -> None:
    admin, _config = place
    request = Request("any", kernels=1, limits=SMALL)
    await provider.keep_warm([(request, 2)])
    first = {pod["metadata"]["name"] for pod in await until(lambda: ready_ones(admin, 2))}
    # The provider's watch may hear of it a moment after ours; a list brings both up to date.
    await provider.owned()
    await provider.acquire(replace(request, name="claimant"))
    assert (await settled(provider, "claimant")).phase is Phase.READY
    claimed = (await provider.endpoint("claimant")).identity
    assert claimed in first
    known = first | {pod["metadata"]["name"] for pod in await until(lambda: ready_ones(admin, 2))}
    edited = replace(request, limits=replace(SMALL, memory_bytes=310 * MIB))
    await provider.keep_warm([(edited, 1)])

    async def all_new() -> bool:
        found = {pod["metadata"]["name"] for pod in await warm(admin)}
        return len(found) == 1 and not found & known

    await until(all_new)
    # Whoever has one keeps it.
    assert (await provider.status("claimant")).phase is Phase.READY
    await provider.keep_warm([])
    await provider.release("claimant")
    await until(lambda: gone(admin))


async def test_a_claim_gives_a_whole_lifetime_from_then_on(provider: PodsProvider, place: Any) -> None:
    admin, _config = place
    request = Request("any", kernels=1, limits=replace(SMALL, lifetime=timedelta(hours=3)))
    await provider.keep_warm([(request, 1)])
    [pod] = await until(lambda: ready_ones(admin, 1))
    assert pod["spec"]["activeDeadlineSeconds"] > timedelta(hours=3).total_seconds()
    before = datetime.now(UTC)
    await provider.acquire(replace(request, name="long"))
    status = await settled(provider, "long")
    assert status.deadline is not None
    assert timedelta(0) <= status.deadline - before - timedelta(hours=3) < timedelta(seconds=WAIT)
    await provider.keep_warm([])
    await provider.release("long")


async def test_a_warm_kernel_has_imported_what_it_will_need_and_code_sees_no_difference(
    provider: PodsProvider, place: Any
) -> None:
    admin, _config = place
    request = Request("any", kernels=1, limits=SMALL, preload=("colorsys", "no_such_module"))
    await provider.keep_warm([(request, 1)])
    await until(lambda: ready_ones(admin, 1))
    # The provider's watch may hear of it a moment after ours; a list brings both up to date.
    await provider.owned()
    notebook = await start_notebook(provider, "imported", limits=SMALL, preload=request.preload)
    loaded = "import sys; R = ['colorsys' in sys.modules, 'colorsys' in dir()]"
    assert await notebook.value(loaded) == [True, False]
    await notebook.close()
    await provider.keep_warm([])
    await provider.release("imported")


async def test_a_warm_gpu_of_one_profile_gives_way_to_who_waits_for_another_and_comes_back() -> None:
    machine = Machine("a", accelerator=Gpu())
    mine = Request("any", gpu=1, kernels=1, machine=machine, limits=SMALL)
    other = replace(mine, name="at-work", machine=replace(machine, slug="b"))
    async with own_namespace() as (admin, config), running(config) as provider, seats(admin, 1):
        await provider.keep_warm([(mine, 1)])
        [pod] = await until(lambda: ready_ones(admin, 1))
        await provider.acquire(other)
        assert (await settled(provider, "at-work")).phase is Phase.READY
        # Nobody waits any more: it is made again, and waits for the GPU itself.
        [again] = await until(lambda: free(admin))
        assert again["metadata"]["name"] != pod["metadata"]["name"]
        await provider.release("at-work")
        await until(lambda: ready_ones(admin, 1))
        # The provider's watch may hear of it a moment after ours; a list brings both up to date.
        await provider.owned()
        # Whoever it could serve is served by it.
        await provider.acquire(replace(mine, name="at-home"))
        assert (await settled(provider, "at-home")).phase is Phase.READY
        assert (await provider.endpoint("at-home")).identity == again["metadata"]["name"]


async def test_warm_pods_give_way_to_who_waits_for_the_quota() -> None:
    quota = replace(ROOM, pods=2)
    request = Request("any", kernels=1, limits=SMALL)
    async with own_namespace(quota) as (admin, config), running(config) as provider:
        await provider.keep_warm([(request, 2)])
        names = {pod["metadata"]["name"] for pod in await until(lambda: ready_ones(admin, 2))}
        await provider.acquire(replace(request, name="at-work", machine=Machine("other", cpu_request=0.2)))
        assert (await settled(provider, "at-work")).phase is Phase.READY
        [left] = await until(lambda: ready_ones(admin, 1))
        assert left["metadata"]["name"] in names


async def free(admin: Admin) -> list[dict[str, Any]]:
    pods, _version = await admin.pods(f"{labels.STATE}={labels.WARM}")
    return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
