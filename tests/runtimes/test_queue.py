"""Who waits for a machine starts in the database's order, and is told the place, the reason and an estimate."""

from __future__ import annotations

from datetime import timedelta
from itertools import count, pairwise

import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone

from runtimes import launch, queue, usage
from runtimes.admission import admit
from runtimes.fallback import use_fallback
from runtimes.models import Profile, Runtime, Workspace
from runtimes.provider import REASON_SENTENCES, Phase, Reason, Status
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


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr("runtimes.reconcile.ROOM_PATIENCE", timedelta(0))
    monkeypatch.setattr("runtimes.reconcile.LOOK_SECONDS", 0.02)


async def without_room(provider: FakeProvider, profile: Profile) -> Runtime:
    """One that waits at the provider, which has no room for it."""
    provider.hold = True
    first = await launch.alaunch(await aspace(profile))
    await until(lambda: first.name in provider.statuses)
    provider.say(
        first.name, Status(Phase.QUEUED, Reason.CAPACITY_WAIT, "0/1 nodes are available: 1 Insufficient memory")
    )
    await until(lambda: waiting_for(Reason.CAPACITY_WAIT)() == 1)
    provider.hold = False
    return first


@pytest.fixture
def large(db) -> Profile:
    return Profile.objects.create(slug="large", name="Large", memory_bytes=2**40)


async def test_one_that_may_be_too_large_for_every_machine_keeps_others_waiting_for_a_while_only(
    provider, profile, large, impatient
):
    async with running(provider):
        first = await without_room(provider, large)
        like = await launch.alaunch(await aspace(large))
        await launch.ready(await launch.alaunch(await aspace(profile)), timeout=20)
        await until(lambda: waiting_for(Reason.CAPACITY_WAIT)() == 2)
        assert like.name not in provider.statuses
        assert provider.statuses[first.name].phase is Phase.QUEUED


async def test_where_one_as_large_had_a_machine_small_ones_wait_behind_it(provider, profile, large, impatient):
    await sync_to_async(ended)(large, 30, reserved=usage.reserved(large))
    async with running(provider):
        first = await without_room(provider, large)
        second = await launch.alaunch(await aspace(profile))
        await until(lambda: waiting_for(Reason.CAPACITY_WAIT)() == 2)
        assert second.name not in provider.statuses
        provider.let_go(first.name)
        await launch.ready(second, timeout=20)


@pytest.mark.parametrize(
    ("reason", "had", "enough"),
    [
        (Reason.CAPACITY_WAIT, {"memory_bytes": 2**40}, True),
        (Reason.CAPACITY_WAIT, {"memory_bytes": 2**40 - 1}, False),
        (Reason.CAPACITY_WAIT, {"memory_bytes": 2**41, "cpu": 0.5}, False),
        (Reason.ACCELERATOR_WAIT, {"memory_bytes": 1, "cpu": 0.5}, True),
        (Reason.ACCELERATOR_WAIT, {"gpu": 0}, False),
    ],
)
def test_what_lately_had_as_much_shows_that_there_are_such_machines(reason, had, enough):
    wants = Profile.objects.create(slug="two", name="Two", gpu=2, memory_bytes=2**40, cpu=2)
    other = Profile.objects.create(slug="other", name="Other", gpu=2)
    ended(other, 30, reserved={**usage.reserved(wants), **had})
    assert queue.had_room(waits(wants, reason)) is enough
    Runtime.objects.update(ready_at=timezone.now() - timedelta(days=8))
    assert not queue.had_room(waits(wants, reason))


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


LABELLED = Profile(slug="labelled", node_selector={"pool": "chep"})
LARGE = Profile(slug="large", memory_bytes=2**40)


def stuck(profile: Profile, reason: Reason) -> Runtime:
    return row(profile, State.STARTING, reason)


@pytest.mark.parametrize("reason", [Reason.CAPACITY_WAIT, Reason.NO_MACHINE])
def test_who_waits_for_other_nodes_holds_up_nobody(reason):
    elsewhere, one, another, same = stuck(LABELLED, reason), row(CPU), row(CPU), row(LABELLED)
    found = admit([elsewhere, one, another, same], most=0)
    assert (found.begin, found.held, found.back) == ([one, another], [(same, reason)], [])


@pytest.mark.parametrize(
    "placement",
    [
        {"node_selector": {"pool": "old"}},
        {"tolerations": [{"key": "old", "operator": "Exists"}]},
        {"runtime_class": "gvisor"},
        {"gpu": 1},
        {"gpu": 1, "accelerator_model": "nvidia-l4"},
        {"gpu": 1, "accelerator_sharing": "time-sharing", "accelerator_clients": 4},
    ],
)
def test_profiles_compete_where_their_nodes_are_the_same(placement):
    profile = Profile(slug="there", **placement)
    assert queue.kind(profile) != queue.kind(CPU)
    assert queue.kind(profile) == queue.kind(Profile(slug="larger", memory_bytes=2**35, **placement))


def test_the_order_of_tolerations_says_nothing():
    first, second = {"key": "a", "operator": "Exists"}, {"operator": "Exists", "key": "b"}
    one, another = Profile(tolerations=[first, second]), Profile(tolerations=[second, first])
    assert queue.kind(one) == queue.kind(another)


def test_a_large_one_is_not_starved_by_small_ones_that_came_later():
    large, small = stuck(LARGE, Reason.CAPACITY_WAIT), row(CPU)
    assert admit([large, small], most=0).held == [(small, Reason.CAPACITY_WAIT)]


@pytest.mark.parametrize(("reason", "doubtful"), [(Reason.NO_MACHINE, False), (Reason.CAPACITY_WAIT, True)])
def test_one_that_no_machine_may_be_large_enough_for_holds_up_its_like_alone(reason, doubtful):
    large, small, like = stuck(LARGE, reason), row(CPU), row(LARGE)
    found = admit([large, small, like], most=0, doubtful={large.pk} if doubtful else ())
    assert (found.begin, found.held) == ([small], [(like, reason)])


def test_a_quota_is_kept_for_who_came_first_wherever_a_pod_would_be():
    first, other, gpu = stuck(LABELLED, Reason.QUOTA_EXCEEDED), row(CPU), row(GPU)
    found = admit([first, other, gpu], most=0)
    assert (found.begin, found.held) == ([gpu], [(other, Reason.QUOTA_EXCEEDED)])


def test_one_goes_back_that_asked_while_an_earlier_one_lacks_the_same_seat():
    early, in_vain, late = stuck(CPU, Reason.CAPACITY_WAIT), stuck(LARGE, Reason.NO_MACHINE), row(LARGE)
    found = admit([early, in_vain, late], most=0)
    assert (found.back, found.held) == ([in_vain], [(late, Reason.CAPACITY_WAIT)])


# --- the outlook


def ended(profile: Profile, minutes: float, purpose: str = Runtime.Purpose.INTERACTIVE, **fields: object) -> None:
    now = timezone.now()
    Runtime.objects.create(
        profile=profile, account="x", state=State.STOPPED, purpose=purpose, stopped_at=now,
        ready_at=now - timedelta(minutes=minutes), **fields,
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


def waits(profile: Profile, reason: str = "", state: str = State.STARTING) -> Runtime:
    return Runtime.objects.create(profile=profile, account="x", state=state, reason=reason)


def test_who_waits_for_a_machine_that_is_not_there_is_before_nobody_of_another_profile(profile):
    large = Profile.objects.create(slug="large", name="Large", memory_bytes=2**40)
    in_vain, like = waits(large, Reason.NO_MACHINE), waits(large, Reason.NO_MACHINE, State.QUEUED)
    other, next_one = waits(profile, Reason.CAPACITY_WAIT), waits(profile, Reason.CAPACITY_WAIT, State.QUEUED)
    rows = [in_vain, like, other, next_one]
    assert [queue.queue_position(one) for one in rows] == [1, 2, 1, 2]
    assert queue.positions(rows) == {in_vain.pk: 1, like.pk: 2, other.pk: 1, next_one.pk: 2}
    assert (queue.newcomer(profile).position, queue.newcomer(large).position) == (3, 5)


@pytest.mark.parametrize("reason", [Reason.SCALING_UP, Reason.NO_MACHINE])
def test_no_number_is_told_where_nobody_is_served_in_the_databases_order(gpu, reason):
    waits(gpu, reason)
    row = waits(gpu, reason)
    assert queue.outlook(row) is None
    assert launch.sentence(row) == REASON_SENTENCES[reason]


def test_how_many_seats_could_become_free_is_told_beside_the_estimate(gpu):
    for _ in range(5):
        ended(gpu, 30)
    first = waits(gpu, Reason.ACCELERATOR_WAIT)
    found = queue.outlook(first)
    assert (found.left, found.measured, found.seats) == (None, 5, 0)
    up(gpu, age=10)
    assert queue.outlook(first).seats == 1


def test_who_does_not_wait_is_told_nothing(profile):
    assert queue.outlook(up(profile, age=1)) is None
    assert queue.newcomer(profile) is None
