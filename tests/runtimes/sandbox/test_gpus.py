"""GPUs of this host in sandboxes: what is found, who gets which, and what is seen inside."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runtimes.machine import Gpu, Machine, Tpu
from runtimes.provider import Isolation, Limits, NotOffered, Phase, Reason, Request
from runtimes.sandboxes import gpus, offers
from runtimes.sandboxes.config import SandboxConfig
from runtimes.sandboxes.gpu_driver import cached_folders
from runtimes.sandboxes.provider import LocalProvider
from tests.runtimes.providers import UID
from tests.runtimes.sandbox import gpu_box
from tests.runtimes.sandbox.notebook import KILL_AGENT_FOR_EVER, close_notebooks, settled, start_notebook

ANY = Machine(accelerator=Gpu())
SHARED = Machine(accelerator=Gpu(sharing="time-sharing", clients=2))
DEVICES = "import os; R = sorted(name for name in os.listdir('/dev') if name.startswith('nvidia'))"
COMMON = ["nvidia-uvm", "nvidia-uvm-tools", "nvidiactl"]


def found(root: Path, chosen: str = "") -> gpus.HostGpus:
    return gpus.find(uid=UID, chosen=chosen, root=root)


# --- what is found


def test_gpus_are_found_with_their_models_and_the_drivers_files(tmp_path: Path) -> None:
    box = found(gpu_box.make(tmp_path))
    assert [(gpu.name, gpu.model, gpu.uuid) for gpu in box.gpus] == [
        ("0", "NVIDIA L4", "GPU-0-ab"),
        ("1", "NVIDIA H100 80GB HBM3", "GPU-1-ab"),
    ]
    assert sorted(box.driver.files) == [
        f"{name}.so.{gpu_box.VERSION}" for name in ("libcuda", "libnvidia-ml", "libnvidia-ptxjitcompiler")
    ]
    assert box.driver.links["libcuda.so.1"] == f"libcuda.so.{gpu_box.VERSION}"
    assert str(box) == "0 (NVIDIA L4), 1 (NVIDIA H100 80GB HBM3)"


@pytest.mark.parametrize(
    ("machine", "lack"),
    [
        ({"nodes": (), "version": "", "libraries": ""}, "has no NVIDIA GPU, or no driver"),
        ({"nodes": (), "version": ""}, "kernel module is not loaded: run “modprobe nvidia”"),
        ({"nodes": ("nvidiactl", "nvidia-uvm")}, "no /dev/nvidia0: run “nvidia-modprobe -c 0”"),
        ({"nodes": ("nvidia0", "nvidia-uvm")}, "/dev/nvidiactl is missing: run “nvidia-modprobe”"),
        ({"nodes": ("nvidia0", "nvidiactl")}, "/dev/nvidia-uvm is missing"),
        ({"libraries": ""}, r"libraries are missing \(libcuda.so.1, libnvidia-ml.so.1\): install them of version 550"),
        ({"libraries": "560.35.03"}, "runs driver 550.54.15, and the libraries are of 560.35.03: restart"),
    ],
)
def test_a_driver_that_is_missing_or_half_installed_is_told_in_a_sentence(
    machine: dict[str, Any], lack: str, tmp_path: Path
) -> None:
    box = found(gpu_box.make(tmp_path, **machine))
    assert box.gpus == ()
    with pytest.raises(AssertionError, match=lack):
        raise AssertionError(str(box))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a device that others may not open")
def test_a_node_that_the_sandboxes_user_may_not_open_is_named(tmp_path: Path) -> None:
    gpu_box.make(tmp_path)
    tmp_path.joinpath("dev", "nvidia1").chmod(0o660)
    assert f"the sandboxes' user (uid {UID}) may not open /dev/nvidia1" in found(tmp_path).lack
    assert [gpu.name for gpu in found(tmp_path, "0").gpus] == ["0"]


def test_an_administrator_chooses_which_gpus_runtimes_may_have(tmp_path: Path) -> None:
    gpu_box.make(tmp_path)
    assert [gpu.name for gpu in found(tmp_path, " 1 ").gpus] == ["1"]
    assert found(tmp_path, "none").gpus == ()
    assert found(tmp_path, "1,7").lack == (
        "GPUS names 7, and this machine has 0 (NVIDIA L4), 1 (NVIDIA H100 80GB HBM3)"
    )


def test_parts_of_a_divided_gpu_stand_for_it_and_are_had_one_at_a_time(tmp_path: Path) -> None:
    gpu_box.divide(gpu_box.make(tmp_path, nodes=("nvidia0", "nvidiactl", "nvidia-uvm")), [1, 2])
    box = found(tmp_path)
    assert [(gpu.name, gpu.nodes[1:]) for gpu in box.gpus] == [
        ("0:1/0", ("/dev/nvidia-caps/nvidia-cap10", "/dev/nvidia-caps/nvidia-cap11")),
        ("0:2/0", ("/dev/nvidia-caps/nvidia-cap20", "/dev/nvidia-caps/nvidia-cap21")),
    ]
    assert box.most("") == 1
    tmp_path.joinpath("dev", "nvidia-caps", "nvidia-cap21").unlink()
    assert "/dev/nvidia-caps/nvidia-cap21 is missing, which opens a part of GPU 0" in found(tmp_path).lack


@pytest.mark.parametrize(
    ("model", "names"), [("", "01"), ("nvidia-l4", "0"), ("nvidia-h100-80gb", "1"), ("H100", "1"), ("nvidia-t4", "")]
)
def test_a_profiles_model_is_found_by_its_words(model: str, names: str, tmp_path: Path) -> None:
    assert "".join(gpu.name for gpu in found(gpu_box.make(tmp_path)).of(model)) == names


def test_libraries_are_looked_for_where_the_loaders_cache_has_them_for_this_processor() -> None:
    listing = (
        "3 libs found in cache `/etc/ld.so.cache'\n"
        "\tlibnvidia-ml.so.1 (libc6,x86-64) => /opt/driver/lib/libnvidia-ml.so.1\n"
        "\tlibcuda.so.1 (libc6,x86-64) => /opt/driver/lib/libcuda.so.1\n"
        "\tlibcuda.so.1 (libc6) => /usr/lib/i386-linux-gnu/libcuda.so.1\n"
    )
    assert cached_folders(listing, "x86_64") == ["opt/driver/lib"]
    assert cached_folders(listing, "aarch64") == []


# --- in real sandboxes


@pytest.fixture
def config(own_config: SandboxConfig) -> SandboxConfig:
    """A host with two GPUs, in a folder that the sandboxes' user may enter."""
    box = own_config.run_dir / "box"
    box.mkdir(mode=0o755)
    return replace(own_config, gpu_root=gpu_box.make(box))


@asynccontextmanager
async def started(config: SandboxConfig) -> AsyncIterator[LocalProvider]:
    provider = LocalProvider(config)
    await provider.start()
    try:
        yield provider
    finally:
        await close_notebooks(provider)
        await provider.close()


@pytest.mark.sandbox
async def test_inside_are_the_devices_and_the_driver_of_the_gpu_that_it_has_and_of_no_other(
    config: SandboxConfig, isolation: Isolation
) -> None:
    async with started(config) as provider:
        first = await start_notebook(provider, "first", gpu=1, machine=ANY, isolation=isolation)
        second = await start_notebook(provider, "second", gpu=1, machine=ANY, isolation=isolation)
        assert await first.value(DEVICES) == [*COMMON[:2], "nvidia0", COMMON[2]]
        assert await second.value(DEVICES) == [*COMMON[:2], "nvidia1", COMMON[2]]
        # They can be opened: nothing has taken that from their mounts.
        assert await second.value("R = open('/dev/nvidia1', 'rb').read(3)") == b"\0\0\0"
        assert await first.value("R = open('/dev/nvidia0', 'wb').write(b'to null')") == 7
        # What loads data in processes of its own needs more than the usual 64 MiB to pass it on.
        room = "info = os.statvfs('/dev/shm'); R = info.f_blocks * info.f_frsize"
        assert await first.value(room) == Limits().memory_bytes // 2
        assert await second.value("R = os.minor(os.stat('/dev/nvidiactl').st_rdev)") == gpu_box.MINORS["full"]
        told = "R = [os.environ[f'{name}_VISIBLE_DEVICES'] for name in ('CUDA', 'NVIDIA')]"
        assert await second.value(told) == ["0", "GPU-1-ab"]
        loaded = "import ctypes; ctypes.CDLL('libcuda.so.1'); R = [line.split()[-1] for line in open('/proc/self/maps')"
        assert f"/opt/pupitre/gpu/lib/libcuda.so.{gpu_box.VERSION}" in await second.value(f"{loaded} if '/' in line]")
        child = "import subprocess; R = subprocess.check_output(['nvidia-smi'], text=True)"
        assert await second.value(child) == "from the driver\n"
        writing = "open('/opt/pupitre/gpu/lib/libcuda.so.1', 'wb')"
        assert "Read-only file system" in await second.run(writing)
        assert (await provider.status("second")).isolation[0] == "strict"
        assert "gpu-own" in (await provider.status("second")).isolation
        for notebook in (first, second):
            await notebook.close()


@pytest.mark.sandbox
async def test_without_one_there_is_none_inside(config: SandboxConfig, isolation: Isolation) -> None:
    async with started(config) as provider:
        notebook = await start_notebook(provider, "plain", isolation=isolation)
        assert await notebook.value(DEVICES) == []
        assert await notebook.value("R = os.path.exists('/opt/pupitre/gpu')") is False
        assert await notebook.value("R = [name for name in os.environ if 'VISIBLE_DEVICES' in name]") == []
        await notebook.close()


@pytest.mark.sandbox
async def test_parts_of_a_gpu_are_seen_by_who_has_them(own_config: SandboxConfig) -> None:
    box = own_config.run_dir / "box"
    box.mkdir(mode=0o755)
    gpu_box.divide(gpu_box.make(box, nodes=("nvidia0", "nvidiactl", "nvidia-uvm")), [1, 2])
    async with started(replace(own_config, gpu_root=box)) as provider:
        notebook = await start_notebook(provider, "part", gpu=1, machine=ANY)
        caps = "import os; R = sorted(os.listdir('/dev/nvidia-caps'))"
        assert await notebook.value(caps) == ["nvidia-cap10", "nvidia-cap11"]
        await notebook.close()


@pytest.mark.sandbox
async def test_who_waits_for_a_gpu_holds_up_nobody_else_and_starts_by_itself_when_one_is_freed(
    config: SandboxConfig,
) -> None:
    async with started(replace(config, gpus="0")) as provider:
        await provider.acquire(Request("has", gpu=1, machine=ANY))
        waits = [await provider.acquire(Request(name, gpu=1, machine=ANY)) for name in ("next", "later")]
        assert [(status.reason, status.queue_position) for status in waits] == [
            (Reason.ACCELERATOR_WAIT, 1),
            (Reason.ACCELERATOR_WAIT, 2),
        ]
        await provider.acquire(Request("without"))
        assert (await settled(provider, "without")).phase is Phase.READY
        assert (await settled(provider, "has")).phase is Phase.READY
        await provider.release("has")
        assert (await settled(provider, "next")).phase is Phase.READY
        assert (await provider.status("later")).queue_position == 1
        await provider.release("later")
        await provider.release("next")
        await provider.acquire(Request("last", gpu=1, machine=ANY))
        assert (await settled(provider, "last")).phase is Phase.READY


@pytest.mark.sandbox
async def test_a_gpu_comes_back_from_a_runtime_that_died_did_not_start_or_was_not_wanted_any_more(
    config: SandboxConfig,
) -> None:
    async with started(replace(config, gpus="0")) as provider:
        notebook = await start_notebook(provider, "dies", gpu=1, machine=ANY)
        await provider.acquire(Request("next", gpu=1, machine=ANY))
        notebook.client.execute(KILL_AGENT_FOR_EVER)
        assert (await settled(provider, "dies", Phase.LOST)).phase is Phase.LOST
        assert (await settled(provider, "next")).phase is Phase.READY
        await notebook.close()
        await provider.release("next")
        for _ in range(3):
            await provider.acquire(Request("unwanted", gpu=1, machine=ANY))
            await provider.release("unwanted")
        program = config.gpu_root / "usr" / "bin" / "nvidia-smi"
        aside = program.rename(program.with_suffix(".aside"))
        await provider.acquire(Request("fails", gpu=1, machine=ANY))
        assert (await settled(provider, "fails")).phase is Phase.LOST
        aside.rename(program)
        await provider.acquire(Request("works", gpu=1, machine=ANY))
        assert (await settled(provider, "works")).phase is Phase.READY


@pytest.mark.sandbox
async def test_a_gpu_is_shared_where_profiles_say_so_and_by_as_many_as_they_say(
    config: SandboxConfig,
) -> None:
    async with started(config) as provider:
        for name in ("one", "two"):
            await provider.acquire(Request(name, gpu=1, machine=SHARED))
            assert "gpu-shared" in (await settled(provider, name)).isolation
        # Both are on the first: the second is free for somebody who shares with nobody.
        await provider.acquire(Request("alone", gpu=1, machine=ANY))
        assert (await settled(provider, "alone")).phase is Phase.READY
        third = await provider.acquire(Request("three", gpu=1, machine=SHARED))
        assert third.reason is Reason.ACCELERATOR_WAIT
        await provider.release("one")
        assert (await settled(provider, "three")).phase is Phase.READY


@pytest.mark.sandbox
@pytest.mark.parametrize(
    ("count", "machine", "why"),
    [
        (3, ANY, "3 GPUs are asked for, and a runtime on this machine can have 2"),
        (1, Machine(accelerator=Gpu("nvidia-t4")), "of the model nvidia-t4 are asked for"),
        (1, Machine(accelerator=Gpu(partition="1g.5gb")), "not told apart by size"),
        (4, Machine(accelerator=Tpu("tpu-v6e-slice", "2x2")), "no TPU"),
    ],
)
async def test_what_the_machine_cannot_give_is_refused_with_the_reason(
    count: int, machine: Machine, why: str, config: SandboxConfig
) -> None:
    async with started(config) as provider:
        request = Request("much", gpu=count, machine=machine)
        assert why in await provider.refusal(request)
        assert why in await LocalProvider(config).refusal(request)
        with pytest.raises(NotOffered, match=why) as refused:
            await provider.acquire(request)
        assert str(refused.value.user_message)


@pytest.mark.sandbox
async def test_none_is_kept_warm_with_a_gpu_and_none_is_lent(config: SandboxConfig) -> None:
    async with started(replace(config, gpus="0")) as provider:
        machine = replace(ANY, slug="lab")
        assert await provider.keep_warm([(Request("warm", gpu=1, machine=machine), 2)]) == {}
        assert await provider.warm_lacks() == {"lab": offers.IDLE_GPU}
        with pytest.raises(NotOffered):
            await provider.lend(Request("job", gpu=1, machine=ANY, purpose="grading"))
        notebook = await start_notebook(provider, "works", gpu=1, machine=ANY)
        await notebook.close()
