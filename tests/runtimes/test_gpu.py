"""Rows that want a GPU of this host, from the queue to code that sees it: at work and graded alike. Real sandboxes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from asgiref.sync import sync_to_async

from runtimes import launch
from runtimes.errors import RuntimeFailed
from runtimes.job import job
from runtimes.models import Profile, Runtime, Workspace
from runtimes.provider import Reason
from runtimes.sandboxes.config import SandboxConfig
from runtimes.sandboxes.provider import LocalProvider
from tests.runtimes.fakes import running
from tests.runtimes.providers import sandbox_config
from tests.runtimes.sandbox import gpu_box
from tests.runtimes.test_borrow import say
from tests.runtimes.waiting import state_is, until

pytestmark = [pytest.mark.sandbox, pytest.mark.django_db(transaction=True)]
State = Runtime.State


@pytest.fixture
def provider(settings) -> Iterator[LocalProvider]:
    """A host with one GPU."""
    with sandbox_config() as config:
        box = config.run_dir / "box"
        box.mkdir(mode=0o755)
        gpu_box.make(box, nodes=("nvidia0", "nvidiactl", "nvidia-uvm"))
        settings.RUN_DIR = config.run_dir
        yield LocalProvider(replace(SandboxConfig.from_settings(), gpu_root=box))


@pytest.fixture
def gpu(db) -> Profile:
    return Profile.objects.create(slug="gpu", name="GPU", gpu=1)


@sync_to_async
def space(profile: Profile) -> Workspace:
    return Workspace.objects.create(profile=profile, account="x")


async def test_what_is_graded_has_the_gpu_as_what_is_worked_on_has(provider: LocalProvider, gpu: Profile) -> None:
    async with running(provider), job(profile=gpu, account="course", files={"x": b"1"}) as borrowed:
        client = await borrowed.client()
        code = "import os; print(os.path.exists('/dev/nvidia0'), os.environ['CUDA_VISIBLE_DEVICES'], open('x').read())"
        assert await say(client, code) == "True 0 1\n"
        row = await Runtime.objects.aget(pk=borrowed.runtime.pk)
        assert row.purpose == Runtime.Purpose.GRADING
        assert {"strict", "gpu-own"} <= set(row.isolation.split(","))


async def test_the_next_in_the_queue_starts_by_itself_when_the_gpu_is_freed(
    provider: LocalProvider, gpu: Profile, profile: Profile
) -> None:
    async with running(provider):
        first, second = [await launch.alaunch(await space(gpu)) for _ in range(2)]
        await launch.ready(first, timeout=60)
        await until(lambda: Runtime.objects.filter(pk=second.pk, reason=Reason.ACCELERATOR_WAIT).exists())
        await launch.ready(await launch.alaunch(await space(profile)), timeout=60)
        await launch.astop(first)
        await launch.ready(second, timeout=60)
        await until(state_is(first, State.STOPPED))


async def test_a_profile_that_asks_for_more_than_the_machine_has_is_refused_with_the_reason(
    provider: LocalProvider, db
) -> None:
    many = await Profile.objects.acreate(slug="many", name="Many", gpu=4)
    async with running(provider):
        with pytest.raises(RuntimeFailed) as refused:
            await launch.ready(await launch.alaunch(await space(many)), timeout=60)
    assert str(refused.value.user_message).startswith("The assignment asks for more GPUs than this machine has")
