"""Who waits for a machine starts in the database's order, and is told the place, the reason and an estimate."""

from __future__ import annotations

from datetime import timedelta
from itertools import count, pairwise

import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone

from runtimes import launch, queue
from runtimes.admission import admit
from runtimes.fallback import use_fallback
from runtimes.models import Profile, Runtime, Workspace
from runtimes.provider import Phase, Reason, Status
from tests.runtimes.fakes import FakeProvider, running
from tests.runtimes.waiting import state_is, until

pytestmark = pytest.mark.django_db(transaction=True)
State = Runtime.State
NUMBER = count()


@pytest.fixture
def provider():
    fake = FakeProvider()
    yield fake
    fake.clean_up()


@pytest.fixture
def gpu(db) -> Profile:
    return Profile.objects.create(slug="gpu", name="GPU", gpu=1)


def space(profile: Profile) -> Workspace:
    return Workspace.objects.create(profile=profile, account="x")


aspace = sync_to_async(space)


def waiting_for(reason: str):
    """A query for rows that wait for that reason."""
    return lambda: Runtime.objects.filter(queue.WAITING, reason=reason).count()


async def test_a_freed_gpu_starts_the_next_by_itself_in_the_databases_order(provider, gpu):
    provider.gpus = 1
    async with running(provider):
        rows = [await launch.alaunch(await aspace(gpu)) for _ in range(4)]
        await launch.ready(rows[0], timeout=20)
        await until(lambda: waiting_for(Reason.ACCELERATOR_WAIT)() == 3)
        # The provider would serve who came last: only the next one waits there.
        await until(lambda: [name for name in provider.statuses if name != rows[0].name] == [rows[1].name])
        for before, after in pairwise(rows):
            await until(lambda after=after: launch.queue_position(again(after)) == 1)
            await launch.astop(before)
            await launch.ready(after, timeout=20)
            await until(state_is(before, State.STOPPED))


def again(row: Runtime) -> Runtime:
    return Runtime.objects.select_related("profile").get(pk=row.pk)


async def test_who_wants_no_gpu_is_not_held_up_by_those_who_wait_for_one(provider, gpu, profile):
    provider.gpus = 0
    async with running(provider):
        waits = await launch.alaunch(await aspace(gpu))
        await until(lambda: waiting_for(Reason.ACCELERATOR_WAIT)() == 1)
        await launch.ready(await launch.alaunch(await aspace(profile)), timeout=20)
        told = await sync_to_async(lambda: launch.sentence(again(waits)))()
        assert told == "Next in the queue. All GPUs or TPUs are in use. It starts by itself when one is free."


async def test_without_a_general_place_the_queue_says_so(provider, profile, settings):
    settings.RUNTIMES_MOST = 1
    async with running(provider):
        await launch.ready(await launch.alaunch(await aspace(profile)), timeout=20)
        await launch.alaunch(await aspace(profile))
        await until(lambda: waiting_for(Reason.CAPACITY_WAIT)() == 1)


async def test_who_goes_on_without_a_gpu_gives_the_place_in_the_clusters_queue_back(provider, gpu, profile):
    provider.gpus = 1
    await Profile.objects.filter(pk=gpu.pk).aupdate(fallback=profile)
    async with running(provider):
        first, second, third = [await launch.alaunch(await aspace(gpu)) for _ in range(3)]
        await launch.ready(first, timeout=20)
        kernel = await launch.astart_kernel(second)
        await until(lambda: second.name in provider.statuses and waiting_for(Reason.ACCELERATOR_WAIT)() == 2)
        assert await sync_to_async(lambda: use_fallback(again(second)))()
        row = await launch.ready(second, timeout=20)
        assert (row.profile_id, provider.requests[second.name].gpu) == (profile.pk, 0)
        assert (await launch.kernel_ready(kernel, timeout=20)).pk == kernel.pk
        assert not await sync_to_async(lambda: use_fallback(again(second)))()
        # And the place at the provider is the next one's.
        await until(lambda: third.name in provider.statuses)


async def test_a_gpu_that_comes_at_the_moment_of_the_change_is_given_back(provider, gpu, profile):
    provider.gpus = 0
    await Profile.objects.filter(pk=gpu.pk).aupdate(fallback=profile)
    async with running(provider):
        runtime = await launch.alaunch(await aspace(gpu))
        await until(lambda: waiting_for(Reason.ACCELERATOR_WAIT)() == 1)
        # The keeper does not look before it is told.
        provider.statuses[runtime.name] = Status(Phase.STARTING)
        assert await sync_to_async(lambda: use_fallback(again(runtime)))()
        provider.let_go(runtime.name)
        row = await launch.ready(runtime, timeout=20)
        assert (row.profile_id, provider.requests[runtime.name].gpu) == (profile.pk, 0)


# --- what follows for all live rows


def row(profile: Profile, state: str = State.QUEUED, reason: str = "") -> Runtime:
    number = next(NUMBER)
    at = timezone.now() + timedelta(seconds=number)
    return Runtime(pk=number, profile=profile, state=state, reason=reason, requested_at=at)


GPU, CPU = Profile(slug="g", gpu=1), Profile(slug="c")


def test_only_the_first_of_a_kind_waits_at_the_provider():
    rows = [row(GPU, State.STARTING, Reason.ACCELERATOR_WAIT) for _ in range(3)]
    found = admit(rows, most=0)
    assert (found.begin, found.held, found.back) == ([], [], rows[1:])


def test_one_that_came_earlier_than_who_waits_there_may_still_ask():
    early, late, later = row(GPU), row(GPU, State.STARTING, Reason.QUOTA_EXCEEDED), row(GPU)
    found = admit([early, late, later], most=0)
    assert (found.begin, found.held) == ([early], [(later, Reason.QUOTA_EXCEEDED)])


def test_while_a_machine_is_being_added_others_ask_too():
    first, second = row(GPU, State.STARTING, Reason.SCALING_UP), row(GPU)
    found = admit([first, second], most=0)
    assert (found.begin, found.back) == ([second], [])


def test_the_general_limit_holds_for_all_kinds_together():
    up, waits, gpu = row(CPU, State.READY), row(CPU), row(GPU)
    found = admit([up, waits, gpu], most=2)
    assert (found.begin, found.held) == ([waits], [(gpu, Reason.CAPACITY_WAIT)])


# --- the outlook


def ended(profile: Profile, minutes: float, purpose: str = Runtime.Purpose.INTERACTIVE) -> None:
    now = timezone.now()
    Runtime.objects.create(
        profile=profile, account="x", state=State.STOPPED, purpose=purpose, stopped_at=now,
        ready_at=now - timedelta(minutes=minutes),
    )  # fmt: skip


def up(profile: Profile, age: float) -> Runtime:
    now = timezone.now()
    return Runtime.objects.create(
        profile=profile, account="x", state=State.READY, ready_at=now - timedelta(minutes=age),
        deadline=now + timedelta(hours=1),
    )  # fmt: skip


def test_the_estimate_is_unknown_until_five_runs_of_that_kind_were_measured(gpu, profile):
    up(gpu, age=10)
    waits = Runtime.objects.create(profile=gpu, account="x")
    for _ in range(4):
        ended(gpu, 30)
    for _ in range(6):
        ended(profile, 30)
        ended(gpu, 1, Runtime.Purpose.GRADING)
    found = queue.outlook(waits)
    assert (found.position, found.left, found.measured) == (1, None, 4)
    ended(gpu, 30)
    found = queue.outlook(waits)
    assert found.measured == 5
    assert found.left.total_seconds() == pytest.approx(20 * 60, abs=30)


def test_profiles_of_one_kind_of_machine_share_its_queue(gpu):
    other = Profile.objects.create(slug="large", name="Large GPU", gpu=1, memory_bytes=2**34)
    first = Runtime.objects.create(profile=gpu, account="x")
    second = Runtime.objects.create(profile=other, account="x")
    assert (queue.queue_position(first), queue.queue_position(second)) == (1, 2)
    assert queue.newcomer(gpu).position == 3


def test_who_does_not_wait_is_told_nothing(profile):
    assert queue.outlook(up(profile, age=1)) is None
    assert queue.newcomer(profile) is None
