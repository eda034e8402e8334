"""What can happen to pods, on a real cluster: claims, quotas, GPUs, images, memory, disks, idle times and deletions."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from runtimes.agent_replies import AgentRefused, ExitReason
from runtimes.machine import Gpu, Machine
from runtimes.pods import conditions, labels, manifests, unplaced
from runtimes.pods.provider import PodsProvider
from runtimes.provider import GIB, MIB, Limits, Phase, Reason, Request, Status
from tests.runtimes.pods.real import ROOM, SMALL, needs_cluster, own_namespace, running, seats, until
from tests.runtimes.sandbox.notebook import WAIT, settled, start_notebook

pytestmark = [needs_cluster, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]
GPU = Machine("gpu", accelerator=Gpu())
#: Seconds in which a kubelet has measured a pod's disk: it looks at volumes each one to two minutes
#: (`volumeStatsAggPeriod`, with a jitter of the same length) and evicts ten seconds later; twice that on a busy
#: machine.
TO_MEASURE = 270.0


async def reason(provider: PodsProvider, name: str, wanted: Reason) -> Status:
    """The runtime's status once it says why."""

    async def said() -> Status | None:
        status = await provider.status(name)
        return status if status.reason is wanted else None

    found: Status = await until(said)
    return found


# --- waiting


async def test_a_full_quota_is_a_queue_and_who_leaves_makes_room_for_the_next() -> None:
    async with own_namespace(replace(ROOM, pods=1)) as (_admin, config), running(config) as provider:
        await provider.acquire(Request("first", limits=SMALL))
        assert (await settled(provider, "first")).phase is Phase.READY
        await provider.acquire(Request("second", limits=SMALL))
        status = await reason(provider, "second", Reason.QUOTA_EXCEEDED)
        assert (status.phase, status.queue_position) == (Phase.QUEUED, 1)
        assert "pods=1" in status.message
        third = await provider.acquire(Request("third", limits=SMALL))
        assert (third.phase, third.queue_position) == (Phase.QUEUED, 2)
        await provider.release("first")
        assert (await settled(provider, "second")).phase is Phase.READY
        assert (await provider.status("third")).queue_position == 1
        await provider.release("third")
        await provider.release("second")


async def test_a_gpu_that_becomes_free_starts_the_next_by_itself(provider: PodsProvider, place: Any) -> None:
    admin, _config = place
    async with seats(admin, 1):
        try:
            for name in ("seated", "waiting"):
                await provider.acquire(Request(name, gpu=1, machine=GPU, limits=SMALL))
                if name == "seated":
                    assert (await settled(provider, name)).phase is Phase.READY
            status = await reason(provider, "waiting", Reason.ACCELERATOR_WAIT)
            assert status.phase is Phase.QUEUED
            assert "Insufficient nvidia.com/gpu" in status.message
            await provider.release("seated")
            assert (await settled(provider, "waiting")).phase is Phase.READY
        finally:
            await provider.release("seated")
            await provider.release("waiting")


async def test_where_nodes_are_added_everyone_asks_for_one_and_after_a_while_waits_for_those_that_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with own_namespace(adds_nodes=True) as (admin, config), seats(admin, 1), running(config) as provider:
        await provider.acquire(Request("seated", gpu=1, machine=GPU, limits=SMALL))
        assert (await settled(provider, "seated")).phase is Phase.READY
        for name in ("one", "another"):
            await provider.acquire(Request(name, gpu=1, machine=GPU, limits=SMALL))
            assert (await reason(provider, name, Reason.SCALING_UP)).phase is Phase.QUEUED
        monkeypatch.setattr(unplaced, "GROWTH_PATIENCE", timedelta(0))
        for name in ("one", "another"):
            await reason(provider, name, Reason.ACCELERATOR_WAIT)
        for name in ("one", "another", "seated"):
            await provider.release(name)


async def test_a_gpu_that_no_node_has_is_told_apart_from_one_that_is_in_use(provider: PodsProvider, place: Any) -> None:
    admin, _config = place
    async with seats(admin, None):
        try:
            await provider.acquire(Request("unserved", gpu=1, machine=GPU, limits=SMALL))
            status = await reason(provider, "unserved", Reason.NO_MACHINE)
            assert status.phase is Phase.QUEUED
            assert "Insufficient nvidia.com/gpu" in status.message
        finally:
            await provider.release("unserved")


async def test_one_larger_than_every_node_or_than_the_whole_quota_has_no_machine(
    provider: PodsProvider, place: Any
) -> None:
    huge = Limits(memory_bytes=90 * GIB)
    try:
        await provider.acquire(Request("large", limits=huge))
        assert "Insufficient memory" in (await reason(provider, "large", Reason.NO_MACHINE)).message
        await provider.acquire(Request("larger", limits=replace(huge, memory_bytes=101 * GIB)))
        assert "exceeded quota" in (await reason(provider, "larger", Reason.NO_MACHINE)).message
    finally:
        for name in ("large", "larger"):
            await provider.release(name)


async def test_a_node_that_is_not_there_is_told_apart_from_one_that_is_full(provider: PodsProvider) -> None:
    try:
        await provider.acquire(Request("lost", machine=Machine("lost", node_selector={"pool": "chep"}), limits=SMALL))
        status = await reason(provider, "lost", Reason.NO_MACHINE)
        assert status.phase is Phase.QUEUED
        assert "node affinity/selector" in status.message
    finally:
        await provider.release("lost")


async def test_a_kernel_finds_its_gpu_as_the_device_plugin_says_and_hears_nothing_of_the_api(
    provider: PodsProvider, place: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin, _config = place
    plain = manifests.pod

    def told_by_a_plugin(*asked: Any, **more: Any) -> dict[str, Any]:
        """There is no device plugin here: the kubelet hears otherwise what it would hear from one."""
        pod = plain(*asked, **more)
        pod["spec"]["containers"][0]["env"] = [{"name": "NVIDIA_VISIBLE_DEVICES", "value": "GPU-1"}]
        return pod

    monkeypatch.setattr(manifests, "pod", told_by_a_plugin)
    async with seats(admin, 1):
        notebook = await start_notebook(provider, "seeing", gpu=1, machine=GPU, limits=SMALL)
        names = "('NVIDIA_VISIBLE_DEVICES', 'LD_LIBRARY_PATH', 'KUBERNETES_SERVICE_HOST')"
        found = await notebook.value(f"import os; R = [os.environ.get(name) for name in {names}]")
        assert found == ["GPU-1", "/opt/py/lib:/usr/local/nvidia/lib64", None]
        # Of the process that started the agent, which the kernel can read.
        assert await notebook.value("R = 'KUBERNETES' in open('/proc/1/environ').read()") is False
        await notebook.close()
        await provider.release("seeing")


# --- what ends or hurts one


async def test_an_image_that_is_not_there_is_said_at_once_and_given_up_after_a_while(
    provider: PodsProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = Machine("broken", image=f"localhost/nothing@sha256:{'0' * 64}")
    await provider.acquire(Request("no-image", machine=nowhere, limits=SMALL))
    status = await reason(provider, "no-image", Reason.IMAGE_PULL)
    assert status.phase is Phase.STARTING
    assert "localhost/nothing" in status.message
    monkeypatch.setattr(conditions, "IMAGE_PATIENCE", timedelta(0))
    assert (await settled(provider, "no-image", Phase.LOST)).reason is Reason.IMAGE_PULL
    await provider.release("no-image")


async def test_memory_that_runs_out_takes_the_kernel_and_leaves_the_files(provider: PodsProvider) -> None:
    notebook = await start_notebook(provider, "greedy", limits=SMALL)
    await notebook.run("open('kept.txt', 'w').write('kept')")
    notebook.client.execute("x = bytearray(2 << 30)")

    async def told() -> bool:
        """By the agent where the kernel alone is killed (cgroup v1), else by the pod, which starts again (v2)."""
        status = await provider.status("greedy")
        if status.reason is Reason.OUT_OF_MEMORY:
            return status.phase is Phase.READY
        kernel = (await notebook.agent.status()).kernel(0)
        return kernel is not None and kernel.exit_reason is ExitReason.OUT_OF_MEMORY

    await until(told)
    assert (await notebook.agent.restart_kernel(0)).state == "idle"
    again = await notebook.connect(0)
    assert await notebook.run("print(open('kept.txt').read())", client=again) == "kept\n"
    await notebook.close()
    await provider.release("greedy")


async def test_an_agent_that_is_killed_comes_back_with_the_disk_and_tells_its_kernels_as_dead(
    provider: PodsProvider,
) -> None:
    notebook = await start_notebook(provider, "beheaded", limits=SMALL, machine=Machine("s", scratch_bytes=GIB))
    await notebook.run("for name in ('kept.txt', '.local/kept.txt'): open(name, 'w').write('kept')")
    notebook.client.execute("import os\nos.kill(-1, 9)")
    status = await reason(provider, "beheaded", Reason.KERNEL_CRASH)
    assert "started again" in status.message
    assert (await settled(provider, "beheaded")).phase is Phase.READY
    kernel = (await notebook.agent.status()).kernel(0)
    assert kernel is not None
    assert kernel.state == "dead"
    await notebook.agent.restart_kernel(0)
    again = await notebook.connect(0)
    again.execute("import os\nos.kill(-1, 9)")
    # The second time within minutes its kubelet waits before it starts it, and a restart that is asked for waits, too.

    async def held_back() -> bool:
        status = await provider.status("beheaded")
        return status.phase is Phase.STARTING and "ended 2 times" in status.message

    await until(held_back)
    assert (await notebook.agent.restart_kernel(0)).state == "idle"
    assert (await settled(provider, "beheaded")).reason is Reason.KERNEL_CRASH
    assert (await notebook.agent.pull()).files == {"kept.txt": b"kept", ".local/kept.txt": b"kept"}
    await notebook.close()
    await provider.release("beheaded")


async def test_the_place_of_packages_is_emptied_and_stays_and_nothing_is_moved_out_of_it(
    provider: PodsProvider,
) -> None:
    notebook = await start_notebook(provider, "unpacks", limits=SMALL, machine=Machine("s", scratch_bytes=GIB))
    await notebook.agent.push({".local/lib/a": b"a"})
    # It is another disk than that of home: the site then copies what it has and removes this (`disk._apply`).
    with pytest.raises(AgentRefused):
        await notebook.agent.rename(".local/lib/a", "a")
    await notebook.agent.remove([".local"], only_known=False)
    assert await notebook.value("import os; R = os.listdir('.local')") == []
    await notebook.close()
    await provider.release("unpacks")


@pytest.mark.timeout(TO_MEASURE + 240)
async def test_who_writes_more_than_the_disk_holds_is_evicted_and_told_so(provider: PodsProvider) -> None:
    scratch = Machine("scratch", scratch_bytes=8 * MIB)
    notebook = await start_notebook(provider, "writer", machine=scratch, limits=SMALL)
    await notebook.run("open('/scratch/big', 'wb').write(bytes(64 << 20))")
    status = await settled(provider, "writer", Phase.LOST, patience=TO_MEASURE)
    assert status.reason is Reason.DISK_FULL
    await notebook.close()
    await provider.release("writer")


async def test_sigterm_reaches_the_kernels_and_a_grace_lets_them_finish(provider: PodsProvider) -> None:
    notebook = await start_notebook(provider, "graceful", limits=SMALL)
    await notebook.run(
        "import os, signal, sys, time\n"
        "def finish(*_):\n"
        "    print('finished', flush=True); time.sleep(0.5); os._exit(0)\n"
        "signal.signal(signal.SIGTERM, finish)"
    )
    releasing = asyncio.create_task(provider.release("graceful", grace=timedelta(seconds=10)))
    async with asyncio.timeout(WAIT):
        while True:
            message = await notebook.client.get_iopub_msg(timeout=WAIT)
            if message["content"].get("text") == "finished\n":
                break
    await releasing
    await notebook.close()


async def test_a_pod_whose_site_is_silent_ends_by_its_own_switch(provider: PodsProvider, place: Any) -> None:
    limits = replace(SMALL, idle=timedelta(seconds=2))
    await provider.acquire(Request("forgotten", kernels=1, limits=limits))
    status = await settled(provider, "forgotten", Phase.STOPPED)
    assert status.reason is Reason.IDLE
    await provider.release("forgotten")


async def test_a_pod_that_somebody_deletes_is_over_and_takes_its_secret_along(
    provider: PodsProvider, place: Any
) -> None:
    admin, _config = place
    await provider.acquire(Request("deleted", limits=SMALL))
    await settled(provider, "deleted")
    name = (await provider.endpoint("deleted")).identity
    assert name in await admin.names("Secret")
    await admin.delete_pod(name, 1)
    status = await settled(provider, "deleted", Phase.LOST)
    assert (status.phase, status.reason) == (Phase.LOST, Reason.DELETED)
    await provider.release("deleted")

    async def collected() -> bool:
        return name not in await admin.names("Secret")

    await until(collected)


async def test_a_secret_made_for_a_pod_that_is_gone_already_is_collected(place: Any) -> None:
    admin, config = place
    request, name = Request("late", limits=SMALL), labels.new_name()
    pod = await admin.create(manifests.pod(request, config, name=name))
    await admin.delete_pod(name, 0)
    keys = manifests.Keys("", "", "")
    await admin.create(manifests.secret(request, config, name=name, uid=pod["metadata"]["uid"], keys=keys))

    async def collected() -> bool:
        return name not in await admin.names("Secret")

    await until(collected)
