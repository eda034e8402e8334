"""Runtimes that outlive the process which asked for them, on a provider without sandboxes."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from runtimes import launch, reconcile, storage, strangers
from runtimes.models import Kernel, Profile, ProviderReport, Runtime, Workspace
from runtimes.provider import Endpoint, Phase, ProviderUnavailable, Reason, Request, Status
from tests.runtimes.fakes import FakeProvider, running
from tests.runtimes.waiting import state_is, until

pytestmark = pytest.mark.django_db(transaction=True)
State = Runtime.State


@pytest.fixture
def provider():
    fake = FakeProvider()
    fake.outlives = True  # type: ignore[misc]
    yield fake
    fake.clean_up()


async def test_they_go_on_when_the_process_ends_and_its_successor_keeps_them(
    provider: FakeProvider, workspace: Workspace
) -> None:
    async with running(provider):
        runtime = await launch.ready(await launch.alaunch(workspace), timeout=20)
    assert provider.released == []
    assert (await Runtime.objects.aget()).state == State.READY
    async with running(provider):
        await launch.astop(runtime)
        await until(state_is(runtime, State.STOPPED))
    assert provider.released == [(runtime.name, Reason.REQUESTED)]
    assert len(provider.order) == 1


async def test_one_that_fell_silent_while_nobody_looked_is_lost_for_the_successor(
    provider: FakeProvider, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtimes.keeper.LOOK_SECONDS", 0.02)
    monkeypatch.setattr("runtimes.signs.ANSWER_SECONDS", 0.1)
    monkeypatch.setattr("runtimes.signs.SILENCE", timedelta(seconds=0.2))
    async with running(provider):
        runtime = await launch.ready(await launch.alaunch(workspace), timeout=20)
    await provider.agents[runtime.name].close()
    provider.statuses[runtime.name] = Status(Phase.UNREACHABLE, Reason.NODE_LOST, "its node is not heard of")
    async with running(provider):
        row = await until(state_is(runtime, State.LOST))
        assert row.reason == Reason.NODE_LOST
    assert provider.released == [(runtime.name, Reason.REQUESTED)]


async def test_one_that_was_killed_for_memory_as_a_whole_tells_its_kernels_why_they_died(
    provider: FakeProvider, workspace: Workspace
) -> None:
    async with running(provider):
        runtime = await launch.ready(await launch.alaunch(workspace), timeout=20)
        kernels = [await launch.astart_kernel(runtime) for _ in range(2)]
        rows = Kernel.objects.filter(pk__in=[kernel.pk for kernel in kernels])
        await until(lambda: rows.filter(state=Kernel.State.RUNNING).count() == 2)
        # The agent, started again, only knows that they were killed; it may be heard before the provider or after.
        await provider.agents[runtime.name].die(0, "killed", -9)
        await until(lambda: rows.filter(state=Kernel.State.DEAD).exists())
        words = "ended 1 times and is started again: its memory limit is 268435456"
        provider.say(runtime.name, Status(Phase.READY, Reason.OUT_OF_MEMORY, words))
        await until(lambda: rows.filter(state=Kernel.State.DEAD, reason=Reason.OUT_OF_MEMORY).count() == 2)
        assert (await Runtime.objects.aget()).state == State.READY
        # Said once: a kernel that is started afterwards is none of those.
        again = await launch.arestart(kernels[0])
        await until(lambda: rows.filter(pk=again.pk, state=Kernel.State.RUNNING).exists())
        provider.say(runtime.name, Status(Phase.READY, Reason.OUT_OF_MEMORY, words))
        await launch.astop(runtime)
        await until(state_is(runtime, State.STOPPED))


async def test_a_job_hears_of_the_process_that_keeps_it(provider: FakeProvider, profile: Profile) -> None:
    async with running(provider):
        row = await Runtime.objects.acreate(profile=profile, account="x", purpose=Runtime.Purpose.GRADING)
        runtime = await launch.ready(row, timeout=20)
        await until(lambda: "status" in provider.agents[runtime.name].asked)
        await launch.astop(runtime)
        await until(state_is(runtime, State.STOPPED))


@pytest.mark.parametrize(
    ("reason", "expected"), [(Reason.OUT_OF_MEMORY, Reason.OUT_OF_MEMORY), (Reason.NONE, Reason.NODE_LOST)]
)
async def test_one_that_began_anew_at_another_address_is_lost_and_the_next_has_the_files(
    provider: FakeProvider, workspace: Workspace, reason: Reason, expected: Reason, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtimes.keeper.LOOK_SECONDS", 0.02)
    await storage.awrite(workspace, "x.csv", b"1,2", source="saved")
    async with running(provider):
        runtime = await launch.ready(await launch.alaunch(workspace), timeout=20)
        own = provider._endpoint
        moved = Endpoint("tcp", "10.0.0.9", runtime.name)
        monkeypatch.setattr(provider, "_endpoint", lambda name: moved if name == runtime.name else own(name))
        provider.say(runtime.name, Status(Phase.READY, reason, "its memory limit is 268435456"))
        row = await until(state_is(runtime, State.LOST))
        assert (row.reason, row.detail) == (expected, "its memory limit is 268435456; it went on at 10.0.0.9")
        assert provider.released == [(runtime.name, Reason.REQUESTED)]
        again = await launch.ready(await launch.alaunch(workspace), timeout=20)
        assert provider.agents[again.name].files == {"x.csv": b"1,2"}
        await launch.astop(again)
        await until(state_is(again, State.STOPPED))


async def test_one_that_began_anew_while_nobody_looked_is_lost_for_the_successor(
    provider: FakeProvider, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(provider):
        runtime = await launch.ready(await launch.alaunch(workspace), timeout=20)
    monkeypatch.setattr(provider, "_endpoint", lambda name: Endpoint("tcp", "10.0.0.9", name))
    async with running(provider):
        assert (await until(state_is(runtime, State.LOST))).reason == Reason.NODE_LOST


async def test_many_that_no_row_wants_are_ended_at_once_whichever_of_them_fails_or_hangs(
    provider: FakeProvider, profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a restore. Operators hear of the process meanwhile, and pools are looked after."""
    monkeypatch.setattr(reconcile, "COMPARE_SECONDS", 0.02)
    await Profile.objects.filter(pk=profile.pk).aupdate(warm=1)
    provider.hold = True
    for number in range(2 * strangers.AT_ONCE):
        await provider.acquire(Request(f"old-{number}"))
    provider.release_errors = {f"old-{number}": ProviderUnavailable("the cluster answers 500") for number in range(9)}
    provider.unending = {"old-10"}
    async with running(provider):
        await until(lambda: set(provider.statuses) == {"old-10"})
        assert {reason for _name, reason in provider.released} == {Reason.OWNER_GONE}
        now = timezone.now()
        await until(lambda: ProviderReport.objects.filter(seen_at__gt=now).exists())
        assert [count for _template, count in provider.warm] == [1]
