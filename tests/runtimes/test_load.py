"""What goes on using its processors for hours while nobody begins anything is told to operators and slowed down."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
import pytest_asyncio
from asgiref.sync import sync_to_async
from django.utils import timezone

from runtimes import launch, load
from runtimes.jupyter import runs
from runtimes.long_runs import make_way
from runtimes.meter import READINGS, Meter, Reading, is_load, is_over
from runtimes.models import Document, Kernel, Profile, Run, Runtime, Workspace
from runtimes.provider import ProviderUnavailable
from runtimes.sandboxes.provider import LocalProvider
from tests.runtimes.fakes import FakeProvider, running
from tests.runtimes.providers import environments_dir
from tests.runtimes.waiting import at_work, run, until

State = Runtime.State
LIMIT = timedelta(hours=2)


def metered(*cores: float) -> Meter:
    """So many processors were used in each of the last stretches between readings."""
    every = LIMIT / READINGS
    now = timezone.now()
    used, readings = 0.0, [Reading(now - len(cores) * every, 0.0)]
    for number, each in enumerate(cores, 1):
        used += each * every.total_seconds()
        readings.append(Reading(now - (len(cores) - number) * every, used))
    return Meter(used, readings=tuple(readings))


# --- the rule


def test_half_of_its_processors_for_hours_with_nothing_begun_is_a_load():
    assert is_load(metered(*[0.5] * READINGS), 1, LIMIT, LIMIT)
    assert is_load(metered(*[1.0, 0.0] * (READINGS // 2)), 1, LIMIT, LIMIT)
    assert not is_load(metered(*[0.5] * READINGS), 2, LIMIT, LIMIT)


def test_what_waits_is_none_and_neither_is_what_somebody_has_just_begun_or_nobody_has_watched_for_so_long():
    assert not is_load(metered(*[0.01] * READINGS), 1, LIMIT, 5 * LIMIT)
    assert not is_load(metered(*[1.0] * READINGS), 1, LIMIT / 2, LIMIT)
    assert not is_load(metered(*[1.0] * (READINGS - 1)), 1, LIMIT, LIMIT)


def test_it_is_over_when_hardly_anything_is_used_any_more():
    assert is_over(metered(*[1.0] * READINGS, 0.01), 1, LIMIT)
    assert not is_over(metered(*[1.0] * READINGS, 0.2), 1, LIMIT)
    # Of the little that it gets it still takes all.
    assert not is_over(metered(*[1.0] * READINGS, 0.04), 0.05, LIMIT)


# --- on the row


@pytest.fixture
def burning(workspace) -> Runtime:
    """Nobody has begun anything for three hours, and a core has been busy all the time."""
    now = timezone.now()
    ago = now - timedelta(hours=3)
    return Runtime.objects.create(
        workspace=workspace, profile=workspace.profile, account="x", state=State.READY, ready_at=ago, executed_at=ago,
        cpu_meter=metered(*[1.0] * READINGS).to_json(), deadline=now + timedelta(hours=9),
    )  # fmt: skip


def note(runtime: Runtime) -> Runtime:
    """After one more reading."""
    load.note(runtime, (runtime.cpu_meter["used"] or 0.0) + 1)
    return Runtime.objects.select_related("profile").get(pk=runtime.pk)


def test_a_load_says_since_when_nothing_was_begun(burning):
    assert note(burning).load_since == burning.executed_at
    assert [(one.runtime.pk, one.since) for one in load.loads()] == [(burning.pk, burning.executed_at)]


def test_a_count_that_tells_hardly_anything_new_is_written_nowhere(burning, django_assert_num_queries):
    load.note(burning, 1_000_000.0)
    written = dict(burning.cpu_meter)
    with django_assert_num_queries(0):
        load.note(burning, 1_000_009.0)
    assert burning.cpu_meter == written
    with django_assert_num_queries(1):
        load.note(burning, 1_000_010.0)
    assert Runtime.objects.get().cpu_meter["used"] == 1_000_010


def test_the_last_count_is_written_whatever_it_tells(burning):
    load.note(burning, 1_000_000.0)
    load.note(burning, 1_000_001.0, last=True)
    assert Runtime.objects.get().cpu_meter["used"] == 1_000_001


def test_what_was_used_before_a_container_began_again_is_not_forgotten(burning):
    for count in (1_000_000.0, 1.0, 2.0, 12.0):
        load.note(burning, count, last=count == 12)
    assert Runtime.objects.get().cpu_meter["used"] == 1_000_012


def test_of_what_is_stopped_nothing_is_a_load(burning):
    note(burning)
    Runtime.objects.update(state=State.STOPPING)
    assert load.loads(Runtime.objects.all()) == []


def test_what_grades_is_never_one(burning):
    Runtime.objects.update(purpose=Runtime.Purpose.GRADING)
    burning.refresh_from_db()
    assert note(burning).load_since is None


def test_who_begins_something_at_that_moment_has_begun_something(burning):
    load.began(Runtime.objects.filter(pk=burning.pk))
    assert note(burning).load_since is None


def test_an_execution_ends_it(burning, workspace):
    row = note(burning)
    load.note_slowed(row)
    kernel = Kernel.objects.create(runtime=row, workspace=workspace, index=0, state=Kernel.State.RUNNING)
    document = Document.objects.create(workspace=workspace, path="n.ipynb", format="json", type="notebook")
    begun = runs.queue(kernel, document, "a", subject="ada", after_seq=0)
    assert Runtime.objects.get().load_since
    assert runs.claim(begun.pk, batch=1, position=1)
    row.refresh_from_db()
    assert (row.load_since, row.slowed) == (None, False)
    assert row.executed_at > timezone.now() - timedelta(minutes=1)
    assert note(row).load_since is None


def test_one_that_is_no_longer_a_load_is_not_said_to_be_slowed(burning):
    stale = note(burning)
    load.began(Runtime.objects.filter(pk=burning.pk))
    load.note_slowed(stale)
    assert not Runtime.objects.get().slowed


def test_it_ends_by_itself_when_what_ran_is_gone(burning):
    row = note(burning)
    row.cpu_meter = metered(*[1.0] * READINGS, 0.0).to_json()
    assert note(row).load_since is None


def test_a_load_gives_its_seat_on_though_its_kernel_is_idle(burning, workspace):
    assert make_way() == 0
    Runtime.objects.create(profile=workspace.profile, account="x")
    assert make_way() == 0
    note(burning)
    assert (make_way(), make_way()) == (1, 0)
    burning.refresh_from_db()
    assert burning.yields


# --- in the process


@pytest.fixture
def brisk(monkeypatch, settings):
    monkeypatch.setattr("runtimes.keeper.LOOK_SECONDS", 0.05)
    monkeypatch.setattr("runtimes.idle.PULL_EVERY", timedelta(seconds=0.05))


@pytest_asyncio.fixture
async def provider() -> AsyncIterator[FakeProvider]:
    fake = FakeProvider()
    yield fake
    await fake.close()
    fake.clean_up()


def is_slowed(runtime: Runtime, slowed: bool = True):
    return lambda: Runtime.objects.filter(pk=runtime.pk, slowed=slowed, load_since__isnull=not slowed).first()


@pytest.mark.django_db(transaction=True)
async def test_it_is_slowed_down_also_by_a_successor_and_has_its_speed_back_at_once(provider, workspace, brisk):
    FakeProvider.outlives = True
    try:
        async with running(provider):
            runtime = await launch.ready(await launch.alaunch(workspace), timeout=20)
            await Runtime.objects.filter(pk=runtime.pk).aupdate(load_since=timezone.now() - timedelta(hours=3))
            await until(is_slowed(runtime))
        assert provider.shares == {runtime.name: 0.2}
        provider.shares.clear()
        async with running(provider):
            await until(lambda: provider.shares == {runtime.name: 0.2})
            await sync_to_async(load.began)(Runtime.objects.filter(pk=runtime.pk))
            await until(lambda: provider.shares == {runtime.name: None})
    finally:
        FakeProvider.outlives = False


@pytest.mark.django_db(transaction=True)
async def test_where_it_cannot_be_slowed_down_nobody_says_so(provider, workspace, brisk):
    provider.throttles = False
    async with running(provider):
        runtime = await launch.ready(await launch.alaunch(workspace), timeout=20)
        await Runtime.objects.filter(pk=runtime.pk).aupdate(load_since=timezone.now())
        await until(lambda: provider.shares == {runtime.name: 0.2})
        await launch.astop(runtime)
        await until(lambda: Runtime.objects.filter(state=State.STOPPED, slowed=False).exists())


@pytest.mark.django_db(transaction=True)
async def test_what_fails_now_is_tried_again_and_ends_nothing(provider, workspace, brisk):
    provider.throttle_errors = [ProviderUnavailable("the cluster cannot be reached")]
    async with running(provider):
        runtime = await launch.ready(await launch.alaunch(workspace), timeout=20)
        await Runtime.objects.filter(pk=runtime.pk).aupdate(load_since=timezone.now())
        await until(is_slowed(runtime))
        assert provider.throttle_errors == []


@pytest.mark.django_db(transaction=True)
async def test_all_of_its_speed_is_left_to_it_where_the_site_wants_that(provider, workspace, brisk, settings):
    settings.SLOWED_SHARE = 1.0
    async with running(provider):
        runtime = await launch.ready(await launch.alaunch(workspace), timeout=20)
        await Runtime.objects.filter(pk=runtime.pk).aupdate(load_since=timezone.now())
        await until(lambda: runtime.name in provider.shares)
        assert provider.shares == {runtime.name: None}


@pytest.mark.sandbox
@pytest.mark.django_db(transaction=True)
async def test_a_process_that_a_cell_left_behind_is_found_slowed_down_and_given_its_speed_back(
    brisk, settings, monkeypatch
):
    """A real sandbox, whose kernel is idle all the time."""
    # Where other tests run beside it, it may get little of what it may use.
    monkeypatch.setattr("runtimes.meter.HEAVY", 0.1)
    profile = await Profile.objects.acreate(slug="s", name="S", cpu=Decimal("0.5"), memory_bytes=256 << 20)
    quiet, loud = [await Workspace.objects.acreate(profile=profile, account="x", title=name) for name in "ab"]
    environments_dir()
    provider = LocalProvider.from_settings()
    async with running(provider):
        calm, _kernel = await at_work(quiet)
        runtime, kernel = await at_work(loud)
        await run(runtime, kernel, "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'while 1: pass'])")
        # Shorter than a kernel takes to start.
        settings.LONG_RUN = timedelta(seconds=1.2)
        row = await until(is_slowed(runtime))
        assert row.cpu_meter["used"] > 0
        assert (await Kernel.objects.aget(pk=kernel.pk)).execution_state == "idle"
        assert quota(provider, runtime) == pytest.approx(0.1)
        assert quota(provider, calm) == pytest.approx(0.5)
        settings.LONG_RUN = LIMIT
        document = await Document.objects.acreate(workspace=loud, path="n", format="json", type="notebook")
        begun = await Run.objects.acreate(kernel=kernel, document=document, cell_id="a")
        await sync_to_async(runs.claim)(begun.pk, batch=1, position=1)
        await until(lambda: quota(provider, runtime) == pytest.approx(0.5))
    assert not (await Runtime.objects.aget(pk=calm.pk)).load_since


def quota(provider: LocalProvider, runtime: Runtime) -> float:
    """How many processors its control group gives it."""
    sandbox = provider._places[runtime.name].sandbox
    assert sandbox is not None
    folder = sandbox.group.folders.get("cpu")
    if folder is None:
        pytest.skip("NO CONTROL GROUP of processors can be made here")
    if (folder / "cpu.max").exists():
        return int((folder / "cpu.max").read_text().split()[0]) / 100_000
    return int(Path(folder, "cpu.cfs_quota_us").read_text()) / 100_000
