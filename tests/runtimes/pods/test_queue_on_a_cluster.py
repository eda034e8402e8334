"""One GPU in the cluster and several people who want it: the database's order, and a way on without one."""

from __future__ import annotations

import pytest
from asgiref.sync import sync_to_async

from runtimes import launch, queue
from runtimes.fallback import use_fallback
from runtimes.models import Profile, Runtime, Workspace
from runtimes.pods import labels
from runtimes.provider import Reason
from tests.runtimes.pods.real import Admin, needs_cluster, own_namespace, seats, site_settings
from tests.runtimes.process import RuntimesProcess
from tests.runtimes.waiting import run, state_is, until

pytestmark = [needs_cluster, pytest.mark.kill, pytest.mark.django_db(transaction=True), pytest.mark.timeout(240)]


def now(runtime: Runtime) -> Runtime:
    return Runtime.objects.select_related("profile__fallback").get(pk=runtime.pk)


def waiting(count: int) -> bool:
    """So many wait, and the cluster has said that it has no GPU."""
    told = Runtime.objects.filter(queue.WAITING, reason=Reason.ACCELERATOR_WAIT)
    return told.count() == count


async def with_pods(admin: Admin) -> set[str]:
    """Names of runtimes that have a pod which nobody ends."""
    found, _version = await admin.pods("")
    return {labels.label(pod, labels.RUNTIME) for pod in found if "deletionTimestamp" not in pod["metadata"]}


async def test_people_get_the_one_gpu_in_their_order_and_may_go_on_without_it(profile: Profile) -> None:
    gpu = await Profile.objects.acreate(
        slug="gpu",
        name="GPU",
        gpu=1,
        memory_bytes=profile.memory_bytes,
        home_bytes=profile.home_bytes,
        fallback=profile,
    )
    spaces = [await Workspace.objects.acreate(profile=gpu, account="x") for _ in range(4)]
    async with own_namespace() as (admin, config), seats(admin, 1):
        with RuntimesProcess(**site_settings(config)):
            first, second, third, fourth = [await launch.alaunch(space) for space in spaces]
            await launch.ready(first, timeout=60)
            await until(lambda: waiting(3))
            assert await sync_to_async(
                lambda: [queue.queue_position(now(one)) for one in (second, third, fourth)]
            )() == [1, 2, 3]
            # The second goes on at once, in a pod without a GPU and on the same row.
            assert await sync_to_async(lambda: use_fallback(now(second)))()
            on_cpu = await launch.ready(second, timeout=60)
            kernel = await launch.astart_kernel(on_cpu)
            assert await run(on_cpu, kernel, "print('on')") == "on\n"
            # Of those who still wait only one has a pod: no scheduler can choose among them.
            await until(lambda: waiting(2))
            assert await with_pods(admin) == {first.name, second.name, third.name}
            await launch.astop(first)
            await launch.ready(third, timeout=60)
            await launch.astop(third)
            await launch.ready(fourth, timeout=60)
            for one in (second, fourth):
                await launch.astop(one)
                await until(state_is(one, Runtime.State.STOPPED))
