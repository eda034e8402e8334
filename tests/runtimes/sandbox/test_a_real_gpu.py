"""CUDA in sandboxes, on a GPU that is none of ours. Where there is none, nothing of this runs, and it says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from runtimes.job import job
from runtimes.machine import Gpu, Machine
from runtimes.models import GIB, MIB, Profile, Runtime
from runtimes.provider import Isolation, Limits, Phase, Reason, Request
from runtimes.sandboxes import gpus
from runtimes.sandboxes.config import SandboxConfig
from runtimes.sandboxes.provider import LocalProvider
from tests.runtimes.fakes import running
from tests.runtimes.providers import UID, sandbox_config
from tests.runtimes.sandbox import cuda
from tests.runtimes.sandbox.attacks import ATTACKS, NODES, PREAMBLE, Attack
from tests.runtimes.sandbox.notebook import WAIT, Notebook, attempt, close_notebooks, settled, start_notebook
from tests.runtimes.test_borrow import say

REAL = gpus.find(uid=UID)
WHOLE = [gpu for gpu in REAL.gpus if not gpu.part]
pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.skipif(not WHOLE, reason=f"NO REAL GPU HERE, CUDA IN A SANDBOX IS NOT TESTED: {REAL.lack or REAL}"),
]
LIMITS = Limits(memory_bytes=8 * GIB, processes=512, cpu_cores=4)
OWN = {"gpu": 1, "machine": Machine(accelerator=Gpu()), "limits": LIMITS}
SHARED = {**OWN, "machine": Machine(accelerator=Gpu(sharing="time-sharing", clients=2))}
DEVICES = "import os; R = sorted(name for name in os.listdir('/dev') if name.startswith('nvidia'))"


@asynccontextmanager
async def started(config: SandboxConfig) -> AsyncIterator[LocalProvider]:
    """With the first GPU and no other, so that the second who wants one waits."""
    provider = LocalProvider(replace(config, gpus=WHOLE[0].name))
    await provider.start()
    try:
        yield provider
    finally:
        await close_notebooks(provider)
        await provider.close()


async def with_cuda(provider: LocalProvider, name: str, request: dict[str, Any] = OWN) -> Notebook:
    notebook = await start_notebook(provider, name, **request)
    assert await notebook.run(cuda.PREAMBLE) == ""
    return notebook


async def test_code_runs_on_the_gpu_and_sees_that_one_by_its_models_name(own_config: SandboxConfig) -> None:
    async with started(own_config) as provider:
        notebook = await with_cuda(provider, "cuda")
        assert await notebook.value(cuda.SQUARES) == cuda.RIGHT
        assert await notebook.value("R = [count, model]") == [1, WHOLE[0].model]
        query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        listed = await notebook.value(f"import subprocess; R = subprocess.check_output({query}, text=True)")
        assert listed == f"{WHOLE[0].model}\n"
        await notebook.close()


async def test_a_second_kernel_of_the_runtime_has_the_gpu_too(own_config: SandboxConfig) -> None:
    async with started(own_config) as provider:
        notebook = await with_cuda(provider, "two", {**OWN, "kernels": 2})
        second = await notebook.connect(1)
        assert await notebook.run(cuda.PREAMBLE, client=second) == ""
        said = await notebook.run(f"{cuda.SQUARES}\nprint(R)", client=second)
        assert said == f"{cuda.RIGHT}\n"
        assert await notebook.value(cuda.SQUARES) == cuda.RIGHT
        await notebook.close()


TORCH = """
import torch
from torch.utils.data import DataLoader, TensorDataset
a, b = torch.randn(2, 1024, 1024, dtype=torch.float64)
there = (a.cuda() @ b.cuda()).cpu()
rows = DataLoader(TensorDataset(torch.arange(1000)), batch_size=100, num_workers=2, pin_memory=True)
R = [torch.cuda.device_count(), torch.cuda.get_device_name(), bool(torch.allclose(there, a @ b)),
     sum(int(batch.cuda().sum()) for [batch] in rows)]
"""


async def test_torch_multiplies_matrices_and_loads_data_in_processes_of_its_own(own_config: SandboxConfig) -> None:
    async with started(own_config) as provider:
        notebook = await start_notebook(provider, "torch", **OWN)
        if not await notebook.value("import importlib.util; R = importlib.util.find_spec('torch') is not None"):
            pytest.skip("NO TORCH in the kernels' environment: only CUDA itself was tested")
        assert await notebook.value(TORCH, timeout=4 * WAIT) == [1, WHOLE[0].model, True, 499500]
        await notebook.close()


async def test_without_one_there_is_no_device_and_cuda_does_not_start(
    own_config: SandboxConfig, isolation: Isolation
) -> None:
    async with started(own_config) as provider:
        has = await with_cuda(provider, "has")
        notebook = await start_notebook(provider, "plain", isolation=isolation)
        assert await notebook.value(DEVICES) == []
        assert await notebook.value(cuda.INIT) != 0
        assert await has.value(cuda.INIT) == 0
        for each in (has, notebook):
            await each.close()


async def test_the_next_starts_by_itself_when_the_gpu_is_freed(own_config: SandboxConfig) -> None:
    async with started(own_config) as provider:
        first = await with_cuda(provider, "first")
        waits = await provider.acquire(Request("next", kernels=1, **OWN))
        assert (waits.reason, waits.queue_position) == (Reason.ACCELERATOR_WAIT, 1)
        await first.close()
        await provider.release("first")
        assert (await settled(provider, "next")).phase is Phase.READY
        second = await with_cuda(provider, "next")
        assert await second.value(cuda.SQUARES) == cuda.RIGHT
        await second.close()


async def test_two_who_share_it_run_at_once(own_config: SandboxConfig) -> None:
    async with started(own_config) as provider:
        one, two = [await with_cuda(provider, name, SHARED) for name in ("one", "two")]
        third = await provider.acquire(Request("three", **SHARED))
        assert third.reason is Reason.ACCELERATOR_WAIT
        # One keeps the GPU for a second while the other computes.
        await one.run("start('busy', ctypes.c_uint64(10**9))")
        assert await two.value(cuda.SQUARES) == cuda.RIGHT
        await one.run("wait()")
        assert await one.value(cuda.SQUARES) == cuda.RIGHT
        for each in (one, two):
            await each.close()


async def test_who_is_ended_in_the_middle_of_a_long_computation_leaves_the_gpu_empty(
    own_config: SandboxConfig,
) -> None:
    async with started(own_config) as provider:
        first = await with_cuda(provider, "long")
        left, total = await first.value("R = free()")
        await first.run(f"{cuda.TAKE_MOST}; fill(held, most, {cuda.SECRET})")
        assert await first.value(cuda.SAMPLE) == [1 << 22, 1 << 22]
        # It would go on for five minutes.
        await first.run("start('busy', ctypes.c_uint64(300 * 10**9))")
        first.client.execute("print('waits'); wait()")
        await heard(first, "waits")
        await first.close()
        await provider.release("long")
        second = await with_cuda(provider, "after")
        now_left, now_total = await second.value("R = free()")
        assert (now_left > left - 64 * MIB, now_total) == (True, total)
        assert await second.run(cuda.TAKE_MOST) == ""
        # Nor can what the other had there be read.
        assert await second.value(cuda.SAMPLE) == [0, 1 << 22]
        assert await second.value(cuda.SQUARES) == cuda.RIGHT
        await second.close()


async def heard(notebook: Notebook, word: str) -> None:
    """Once its kernel has said so."""
    async with asyncio.timeout(WAIT):
        while (await notebook.client.get_iopub_msg())["content"].get("text") != f"{word}\n":
            pass


# --- sealed as without one


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def besieged() -> AsyncIterator[tuple[Notebook, Notebook]]:
    """Who attacks, with CUDA at work, and whose secrets are looked for, on the same GPU."""
    with sandbox_config() as config:
        async with started(config) as provider:
            victim, attacker = [await with_cuda(provider, name, SHARED) for name in ("victim", "attacker")]
            await victim.run("secret = 'of the victim'; open('/dev/shm/victim', 'w').write(secret)")
            await attacker.run(PREAMBLE)
            yield attacker, victim
            assert await victim.run("print(secret)") == "of the victim\n"
            for each in (victim, attacker):
                await each.close()


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.sentence.replace(" ", "_"))
async def test_attack_with_a_gpu(attack: Attack, besieged: tuple[Notebook, Notebook], host_port: int) -> None:
    found = await attempt(attack, *besieged, host_port)
    if attack.code == NODES:
        found = sorted(set(found) - {Path(node).name for node in (*REAL.common, *WHOLE[0].nodes)})
    assert attack.fails(found), found


@pytest.mark.asyncio(loop_scope="module")
async def test_other_devices_of_the_driver_are_not_there_and_none_can_be_made(
    besieged: tuple[Notebook, Notebook],
) -> None:
    attacker, _victim = besieged
    mine = sorted(Path(node).name for node in (*REAL.common, *WHOLE[0].nodes))
    assert await attacker.value(DEVICES) == mine
    making = (
        "R = [tried(lambda: os.mknod('/tmp/nvidia9', 0o20666, os.makedev(195, 9))), "
        "tried(lambda: os.chmod('/dev/nvidiactl', 0))]"
    )
    assert all("Error" in each for each in await attacker.value(making))


# --- rows


@pytest.mark.django_db(transaction=True)
async def test_what_is_graded_computes_on_the_gpu(settings) -> None:
    profile = await Profile.objects.acreate(slug="gpu", name="GPU", gpu=1, memory_bytes=8 * GIB, processes=512)
    with sandbox_config() as config:
        settings.RUN_DIR, settings.GPUS = config.run_dir, WHOLE[0].name
        provider = LocalProvider(SandboxConfig.from_settings())
        async with running(provider), job(profile=profile, account="course", files={"x": b"1"}) as borrowed:
            said = await say(await borrowed.client(), f"{cuda.PREAMBLE}\n{cuda.SQUARES}\nprint(R)")
            assert said == f"{cuda.RIGHT}\n"
            row = await Runtime.objects.aget(pk=borrowed.runtime.pk)
            assert (row.purpose, "gpu-own" in row.isolation.split(",")) == (Runtime.Purpose.GRADING, True)
            assert row.profile_id == profile.pk
