"""Rows ⇄ running things, on a provider without sandboxes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone

from runtimes import bus, launch, profiles, reconcile, rows, storage, transfer
from runtimes.models import MIB, Document, FileVersion, Kernel, Profile, ProviderReport, Runtime, Usage, Workspace
from runtimes.provider import NotOffered, Phase, ProviderUnavailable, Reason, Status
from runtimes.status import LAST_SAVED
from runtimes.timetable import DAYS
from tests.runtimes.fakes import FakeProvider, running

pytestmark = pytest.mark.django_db(transaction=True)
State = Runtime.State


@pytest.fixture
def provider():
    fake = FakeProvider()
    yield fake
    fake.clean_up()


async def until(what: Callable[[], Any], *, topic: str = "*") -> Any:
    """What `what` (a query) returns, once it is true."""
    async with asyncio.timeout(20), bus.subscribe(topic) as news:
        while True:
            found = await sync_to_async(what)()
            if found:
                return found
            await news.next(0.05)


def state_is(runtime: Runtime, *states: str) -> Callable[[], Runtime | None]:
    return lambda: Runtime.objects.filter(pk=runtime.pk, state__in=states).first()


async def test_a_launched_runtime_gets_ready_with_the_files_of_its_workspace(provider, workspace):
    await storage.awrite(workspace, "d/x.csv", b"1,2", source="saved")
    async with running(provider):
        runtime = await launch.ready(await launch.alaunch(workspace), timeout=20)
        assert provider.agents[runtime.name].files == {"d/x.csv": b"1,2"}
        assert (runtime.isolation, runtime.provider) == ("forked,network-none", "fake")
        assert runtime.environment_digest == "digest-1"
        assert runtime.deadline - runtime.ready_at == timedelta(hours=12)
        assert provider.requests[runtime.name].limits.memory_bytes == 256 * MIB


async def test_a_start_that_took_minutes_ends_early_enough_for_its_files_to_be_pulled(provider, workspace):
    """A pod's own limit counts from when a node took it on, before its image was fetched."""
    began = timezone.now() - timedelta(minutes=10)
    provider.deadline = began + timedelta(hours=12) + profiles.LIFETIME_MARGIN
    async with running(provider):
        runtime = await launch.ready(await launch.alaunch(workspace), timeout=20)
        assert runtime.deadline == began + timedelta(hours=12)


async def test_what_may_live_longer_as_a_pod_that_waited_has_a_lifetime_from_when_it_is_ready(provider, workspace):
    provider.deadline = timezone.now() + timedelta(hours=24)
    async with running(provider):
        runtime = await launch.ready(await launch.alaunch(workspace), timeout=20)
        assert runtime.deadline - runtime.ready_at == timedelta(hours=12)


async def test_two_launches_at_once_give_one_runtime(provider, workspace):
    async with running(provider):
        launched = await asyncio.gather(
            *[asyncio.to_thread(_in_own_connection, launch.launch, workspace) for _ in range(6)]
        )
        assert len({runtime.pk for runtime in launched}) == 1
        ready = await asyncio.gather(*[launch.ready(runtime, timeout=20) for runtime in launched])
        assert len({runtime.pk for runtime in ready}) == 1
    assert len(provider.order) == 1


def _in_own_connection(function, *args):
    from django.db import connection

    try:
        return function(*args)
    finally:
        connection.close()


async def test_kernels_wanted_before_the_runtime_is_ready_start_with_it(provider, workspace):
    provider.hold = True
    async with running(provider):
        runtime = await launch.alaunch(workspace)
        first = await launch.astart_kernel(runtime)
        second = await launch.astart_kernel(runtime, cwd="d")
        assert (first.index, first.state, second.index) == (0, Kernel.State.REQUESTED, 1)
        await until(lambda: runtime.name in provider.statuses)
        provider.let_go(runtime.name)
        for kernel in (first, second):
            assert (await launch.kernel_ready(kernel, timeout=20)).state == Kernel.State.RUNNING
        assert set(provider.agents[runtime.name].kernels) == {0, 1}


async def test_kernels_started_at_once_get_an_index_each(provider, workspace):
    async with running(provider):
        runtime = await launch.ready(await launch.alaunch(workspace), timeout=20)
        kernels = await asyncio.gather(*[launch.astart_kernel(runtime) for _ in range(4)])
        assert sorted(kernel.index for kernel in kernels) == [0, 1, 2, 3]
        assert {kernel.state for kernel in kernels} == {Kernel.State.RUNNING}


async def test_a_stopped_kernels_index_is_used_again_and_seventeen_at_once_are_too_many(provider, workspace):
    async with running(provider):
        runtime = await launch.ready(await launch.alaunch(workspace), timeout=20)
        kernels = [await launch.astart_kernel(runtime) for _ in range(16)]
        with pytest.raises(launch.KernelRefused) as caught:
            await launch.astart_kernel(runtime)
        assert "Shut one down" in str(caught.value.user_message)
        await launch.astop_kernel(kernels[3])
        assert (await launch.astart_kernel(runtime)).index == 3


async def test_a_dead_kernel_says_why_and_can_be_restarted_as_itself(provider, workspace):
    async with running(provider):
        runtime = await launch.ready(await launch.alaunch(workspace), timeout=20)
        kernel = await launch.astart_kernel(runtime)
        agent = provider.agents[runtime.name]
        await until(lambda: agent.watchers)
        await agent.die(0, "out of memory", -9)
        dead = Kernel.objects.select_related("runtime__profile").filter(pk=kernel.pk, state=Kernel.State.DEAD)
        row = await until(dead.all().first)
        assert (row.reason, row.died_of) == (Reason.OUT_OF_MEMORY, Reason.OUT_OF_MEMORY)
        assert "memory" in launch.sentence(row)
        with pytest.raises(launch.KernelRefused):
            await launch.kernel_ready(row, timeout=20)
        again = await launch.arestart(row)
        assert (again.pk, again.index, again.restarts) == (kernel.pk, 0, 1)
        runs = await launch.kernel_ready(again, timeout=20)
        assert (runs.reason, runs.died_of) == ("", Reason.OUT_OF_MEMORY)


async def test_a_dead_kernel_whose_index_was_taken_restarts_on_another(provider, workspace):
    async with running(provider):
        runtime = await launch.ready(await launch.alaunch(workspace), timeout=20)
        first = await launch.astart_kernel(runtime)
        await Kernel.objects.filter(pk=first.pk).aupdate(state=Kernel.State.DEAD, reason=Reason.KERNEL_CRASH)
        second = await launch.astart_kernel(runtime)
        again = await launch.arestart(first)
        assert (second.index, again.index) == (0, 1)


async def test_a_stop_keeps_what_code_wrote_and_records_the_use(provider, workspace):
    async with running(provider):
        runtime = await launch.ready(await launch.alaunch(workspace), timeout=20)
        await launch.astart_kernel(runtime)
        provider.agents[runtime.name].files["out.txt"] = b"result"
        await launch.astop(runtime)
        row = await until(state_is(runtime, State.STOPPED))
        assert row.reason == Reason.REQUESTED
        assert provider.released == [(runtime.name, Reason.REQUESTED)]
    assert [file.path for file in await storage.afiles(workspace)] == ["out.txt"]
    kernel, usage = await Kernel.objects.aget(), await Usage.objects.aget()
    assert (kernel.state, kernel.reason) == (Kernel.State.DEAD, Reason.REQUESTED)
    assert usage.account == "course-1"
    assert usage.cpu_seconds == pytest.approx(usage.wall_seconds)
    assert usage.memory_gib_seconds == pytest.approx(usage.wall_seconds / 4)


async def test_a_launch_while_the_former_runtime_stops_waits_for_a_new_one_with_all_files(provider, workspace):
    async with running(provider):
        first = await launch.ready(await launch.alaunch(workspace), timeout=20)
        provider.agents[first.name].files["late.txt"] = b"late"
        await launch.astop(first)
        second = await launch.ready(await launch.alaunch(workspace), timeout=20)
        assert second.pk != first.pk
        assert provider.agents[second.name].files == {"late.txt": b"late"}


async def test_without_room_a_runtime_waits_and_knows_its_place(provider, profile, settings):
    settings.RUNTIMES_MOST = 1
    spaces = [await Workspace.objects.acreate(profile=profile, account="x") for _ in range(3)]
    async with running(provider):
        first, second, third = [await launch.alaunch(space) for space in spaces]
        await launch.ready(first, timeout=20)
        with pytest.raises(launch.StillWaiting) as caught:
            await launch.ready(third, timeout=0.2)
        assert caught.value.retryable
        assert "Number 2" in str(caught.value.user_message)
        assert await sync_to_async(launch.queue_position)(second) == 1
        await launch.astop(first)
        await launch.ready(second, timeout=20)
        await launch.astop(second)
        await launch.ready(third, timeout=20)
    assert provider.order == [first.name, second.name, third.name]


async def test_one_that_waits_can_be_stopped_without_a_trace(provider, profile, settings):
    settings.RUNTIMES_MOST = 1
    spaces = [await Workspace.objects.acreate(profile=profile, account="x") for _ in range(2)]
    async with running(provider):
        first, second = [await launch.alaunch(space) for space in spaces]
        await launch.ready(first, timeout=20)
        await launch.astop(second)
        with pytest.raises(launch.RuntimeFailed):
            await launch.ready(second, timeout=20)
    assert provider.order == [first.name]


async def test_a_runtime_that_dies_is_lost_with_its_reason_and_its_kernels(provider, workspace):
    async with running(provider):
        runtime = await launch.ready(await launch.alaunch(workspace), timeout=20)
        await launch.astart_kernel(runtime)
        provider.say(runtime.name, Status(Phase.LOST, Reason.NODE_LOST, "gone"))
        row = await until(state_is(runtime, State.LOST))
        assert row.reason == Reason.NODE_LOST
        assert "machine was lost" in launch.sentence(row)
        assert (await Kernel.objects.aget()).state == Kernel.State.DEAD
        with pytest.raises(launch.RuntimeFailed) as caught:
            await launch.astart_kernel(runtime)
        assert caught.value.reason == Reason.NODE_LOST
        assert (await launch.ready(await launch.alaunch(workspace), timeout=20)).pk != runtime.pk


@pytest.mark.parametrize(
    "reason",
    [Reason.EVICTED, Reason.PREEMPTED, Reason.NODE_LOST, Reason.OUT_OF_MEMORY, Reason.DISK_FULL, Reason.KERNEL_CRASH],
)
async def test_whatever_takes_a_machine_away_is_on_its_row_and_the_next_one_has_the_files(provider, workspace, reason):
    async with running(provider):
        runtime = await launch.ready(await launch.alaunch(workspace), timeout=20)
        await launch.astart_kernel(runtime)
        provider.agents[runtime.name].files["kept.txt"] = b"kept"
        await storage.pull(runtime)
        provider.say(runtime.name, Status(Phase.LOST, reason, "the cluster's own words"))
        row = await until(state_is(runtime, State.LOST))
        assert (row.reason, row.detail) == (reason, "the cluster's own words")
        assert (await Kernel.objects.aget()).reason == reason
        told = await sync_to_async(lambda: launch.sentence(Runtime.objects.select_related("profile").get(pk=row.pk)))()
        assert told
        assert "cluster's" not in told
        again = await launch.ready(await launch.alaunch(workspace), timeout=20)
        assert provider.agents[again.name].files == {"kept.txt": b"kept"}


async def test_what_is_ended_by_others_has_its_files_fetched_while_it_answers(provider, workspace):
    async with running(provider):
        runtime = await launch.ready(await launch.alaunch(workspace), timeout=20)
        agent = provider.agents[runtime.name]
        agent.files["last.txt"] = b"written a moment ago"
        provider.say(runtime.name, Status(Phase.ENDING, Reason.EVICTED, "drained"))
        row = await until(state_is(runtime, State.LOST))
        assert (row.reason, row.detail) == (Reason.EVICTED, "drained")
        assert agent.asked[-1] == "dismiss"
        assert launch.sentence(row) == (
            "The machine needed the place. Your files are kept as they were at that moment: start the kernel again."
        )
        again = await launch.ready(await launch.alaunch(workspace), timeout=20)
        assert provider.agents[again.name].files == {"last.txt": b"written a moment ago"}


async def test_an_agent_that_says_first_that_it_is_ended_has_its_files_fetched_once(provider, workspace):
    async with running(provider):
        runtime = await launch.ready(await launch.alaunch(workspace), timeout=20)
        agent = provider.agents[runtime.name]
        await until(lambda: agent.watchers)
        agent.files["last.txt"] = b"written a moment ago"
        await agent.tell_of_its_end()
        await until(lambda: "dismiss" in agent.asked)
        await agent.close()
        # Why is the provider's to say, which may be when the agent is gone.
        provider.say(runtime.name, Status(Phase.LOST, Reason.EVICTED, "NodeShutdown"))
        row = await until(state_is(runtime, State.LOST))
        assert "as they were at that moment" in launch.sentence(row)
        assert agent.asked.count("pull") == 1


async def test_what_could_not_be_fetched_at_the_end_is_kept_as_last_saved(provider, workspace, monkeypatch):
    monkeypatch.setattr("runtimes.signs.ANSWER_SECONDS", 0.2)
    async with running(provider):
        runtime = await launch.ready(await launch.alaunch(workspace), timeout=20)
        await provider.agents[runtime.name].close()
        provider.say(runtime.name, Status(Phase.ENDING, Reason.EVICTED))
        row = await until(state_is(runtime, State.LOST))
        assert launch.sentence(row) == (
            "The machine needed the place. Your files are kept as last saved: start the kernel again."
        )


@pytest.mark.parametrize(
    ("phase", "reason", "told"),
    [
        (Phase.STOPPED, Reason.LIFETIME, "The longest time a kernel may run was reached. "),
        (Phase.STOPPED, Reason.IDLE, "The kernel was stopped because nothing ran for a while. "),
        (Phase.LOST, Reason.KERNEL_CRASH, "The kernel crashed. "),
        (Phase.LOST, Reason.OUT_OF_MEMORY, "that it may have (256 MB) and was stopped. "),
    ],
)
async def test_what_ended_with_its_disk_does_not_say_that_all_files_are_kept(provider, workspace, phase, reason, told):
    """A pod's own end of life, say: nobody could fetch what was there."""
    async with running(provider):
        runtime = await launch.ready(await launch.alaunch(workspace), timeout=20)
        await launch.astart_kernel(runtime)
        # What it had is what counts, whatever its profile says by now.
        await Profile.objects.filter(pk=workspace.profile_id).aupdate(memory_bytes=512 * MIB)
        provider.say(runtime.name, Status(phase, reason, "the cluster's own words"))
        await until(state_is(runtime, State.STOPPED, State.LOST))
        row = await Runtime.objects.select_related("profile").aget(pk=runtime.pk)
        kernel = await Kernel.objects.select_related("runtime__profile").afirst()
        for ended in (row, kernel):
            assert f"{told}{LAST_SAVED}" in launch.sentence(ended)


async def test_what_ends_and_comes_back_keeps_its_machine_and_says_which_kernels_died(provider, workspace):
    """A pod whose agent was killed for memory twice: its kubelet waits before it goes on with the same disk."""
    async with running(provider):
        runtime = await launch.ready(await launch.alaunch(workspace), timeout=20)
        kernel = await launch.astart_kernel(runtime)
        words = "ended 2 times and is started again: OOMKilled"
        provider.say(runtime.name, Status(Phase.STARTING, Reason.OUT_OF_MEMORY, words))
        dead = Kernel.objects.select_related("runtime__profile").filter(pk=kernel.pk, state=Kernel.State.DEAD)
        row = await until(dead.first)
        assert "(256 MB) and was stopped. Your files are kept. Use less data" in launch.sentence(row)
        await launch.arestart(row)
        provider.say(runtime.name, Status(Phase.READY, Reason.OUT_OF_MEMORY, words))
        provider.agents[runtime.name].files["kept.txt"] = b"kept"
        await launch.astop(runtime)
        await until(state_is(runtime, State.STOPPED))
    assert await Kernel.objects.filter(pk=kernel.pk, died_of=Reason.OUT_OF_MEMORY, restarts=1).aexists()
    assert [file.path for file in await storage.afiles(workspace)] == ["kept.txt"]


async def test_what_can_never_start_fails_with_the_providers_own_words(provider, workspace):
    provider.errors = [NotOffered("no GPU")]
    async with running(provider):
        with pytest.raises(launch.RuntimeFailed) as caught:
            await launch.ready(await launch.alaunch(workspace), timeout=20)
    assert "does not have what the assignment asks for" in str(caught.value.user_message)


async def test_a_provider_that_cannot_now_is_asked_again(provider, workspace):
    provider.errors = [ProviderUnavailable("away")]
    async with running(provider):
        await launch.ready(await launch.alaunch(workspace), timeout=20)


async def test_a_start_that_the_provider_gives_up_fails(provider, workspace):
    provider.hold = True
    async with running(provider):
        runtime = await launch.alaunch(workspace)
        await until(lambda: runtime.name in provider.statuses)
        provider.say(runtime.name, Status(Phase.LOST, Reason.IMAGE_PULL))
        with pytest.raises(launch.RuntimeFailed) as caught:
            await launch.ready(runtime, timeout=20)
        assert caught.value.reason == Reason.IMAGE_PULL
    assert runtime.name not in provider.statuses


async def test_stopping_while_it_starts_leaves_nothing(provider, workspace):
    provider.hold = True
    async with running(provider):
        runtime = await launch.alaunch(workspace)
        await until(lambda: runtime.name in provider.statuses)
        await launch.astop(runtime)
        await until(state_is(runtime, State.STOPPED))
        assert provider.statuses == {}


async def _make_old(runtime: Runtime) -> None:
    """Nobody touched it for a day, and the reconciler sees its row so."""
    await Runtime.objects.filter(pk=runtime.pk).aupdate(last_active_at=timezone.now() - timedelta(days=1))
    await bus.publish("runtimes")


@pytest.fixture
def brisk(monkeypatch):
    monkeypatch.setattr("runtimes.keeper.LOOK_SECONDS", 0.02)
    monkeypatch.setattr("runtimes.idle.PULL_EVERY", timedelta(0))
    monkeypatch.setattr(reconcile, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(reconcile, "COMPARE_SECONDS", 0.02)
    monkeypatch.setattr(reconcile, "USAGE_SECONDS", 0.02)
    monkeypatch.setattr(reconcile, "AFTER_ERROR_SECONDS", 0.02)


async def test_an_idle_runtime_is_stopped_with_its_files_kept_and_a_busy_one_is_not(provider, profile, brisk):
    spaces = [await Workspace.objects.acreate(profile=profile, account="x") for _ in range(2)]
    async with running(provider):
        idle, busy = [await launch.ready(await launch.alaunch(space), timeout=20) for space in spaces]
        provider.agents[idle.name].files["kept.txt"] = b"kept"
        provider.agents[idle.name].idle_seconds = 1e6
        provider.agents[busy.name].kernels[0]["state"] = "busy"
        await _make_old(idle)
        await _make_old(busy)
        row = await until(state_is(idle, State.STOPPED))
        assert row.reason == Reason.IDLE
        assert (await Runtime.objects.aget(pk=busy.pk)).state == State.READY
    assert [file.path for file in await storage.afiles(spaces[0])] == ["kept.txt"]


async def test_a_runtime_ends_at_its_deadline_also_when_busy(provider, workspace, brisk):
    async with running(provider):
        runtime = await launch.ready(await launch.alaunch(workspace), timeout=20)
        provider.agents[runtime.name].kernels[0]["state"] = "busy"
        await Runtime.objects.filter(pk=runtime.pk).aupdate(deadline=timezone.now())
        assert (await until(state_is(runtime, State.STOPPED))).reason == Reason.LIFETIME


async def test_a_borrowed_runtime_whose_borrower_is_gone_is_stopped(provider, profile, brisk):
    async with running(provider):
        past = timezone.now() - timedelta(seconds=1)
        grading = {"profile": profile, "account": "x", "purpose": Runtime.Purpose.GRADING}
        waiting = await Runtime.objects.acreate(**grading, lease_until=past)
        lent = await Runtime.objects.acreate(**grading, lease_until=timezone.now() + timedelta(hours=1))
        await bus.publish("runtimes")
        await launch.ready(lent, timeout=20)
        await Runtime.objects.filter(pk=lent.pk).aupdate(lease_until=past)
        for runtime in (waiting, lent):
            assert (await until(state_is(runtime, State.STOPPED))).reason == Reason.OWNER_GONE
    assert provider.order == [lent.name]


async def test_what_no_row_wants_is_ended_and_what_a_row_wants_is_not(provider, workspace, brisk):
    from runtimes.provider import Request

    async with running(provider):
        runtime = await launch.ready(await launch.alaunch(workspace), timeout=20)
        await provider.acquire(Request(name="stranger"))
        await until(lambda: ("stranger", Reason.OWNER_GONE) in provider.released)
        assert runtime.name in provider.statuses


async def test_a_runtime_that_vanished_without_a_word_is_lost(provider, workspace, brisk):
    async with running(provider):
        runtime = await launch.ready(await launch.alaunch(workspace), timeout=20)
        await provider.agents.pop(runtime.name).close()
        del provider.statuses[runtime.name]
        assert (await until(state_is(runtime, State.LOST))).reason == Reason.OWNER_GONE


async def test_a_machine_that_nobody_sees_is_lost_once_it_answers_nobody_either(
    provider, workspace, profile, monkeypatch
):
    monkeypatch.setattr("runtimes.keeper.LOOK_SECONDS", 0.02)
    monkeypatch.setattr("runtimes.signs.ANSWER_SECONDS", 0.2)
    monkeypatch.setattr("runtimes.signs.SILENCE", timedelta(seconds=0.3))
    other = await Workspace.objects.acreate(profile=profile, account="x")
    async with running(provider):
        silent, cut_off = [await launch.ready(await launch.alaunch(space), timeout=20) for space in (workspace, other)]
        await provider.agents[silent.name].close()
        for runtime in (silent, cut_off):
            provider.say(runtime.name, Status(Phase.UNREACHABLE, Reason.NODE_LOST, "its node is not heard of"))
        row = await until(state_is(silent, State.LOST))
        assert (row.reason, row.detail) == (Reason.NODE_LOST, "its node is not heard of")
        assert "machine was lost" in launch.sentence(row)
        # Its node is cut off from the cluster alone: whoever works there goes on.
        asked = provider.agents[cut_off.name].asked
        asked.clear()
        await until(lambda: asked.count("status") > 3)
        assert (await Runtime.objects.aget(pk=cut_off.pk)).state == State.READY
        assert (await launch.ready(await launch.alaunch(workspace), timeout=20)).pk != silent.pk


async def test_use_is_recorded_while_a_runtime_runs(provider, workspace, brisk):
    async with running(provider):
        await launch.ready(await launch.alaunch(workspace), timeout=20)
        await until(lambda: Usage.objects.filter(wall_seconds__gt=0).exists())


async def test_whatever_ends_a_runtime_its_use_until_then_is_charged_and_one_that_never_ran_costs_nothing(
    provider, profile
):
    await Profile.objects.filter(pk=profile.pk).aupdate(gpu=2)
    spaces = [await Workspace.objects.acreate(profile=profile, account="x") for _ in range(3)]
    async with running(provider):
        lost, died = [await launch.ready(await launch.alaunch(space), timeout=20) for space in spaces[:2]]
        ago = timezone.now() - timedelta(hours=1)
        await Runtime.objects.aupdate(ready_at=ago)
        # What runs has what it was started with.
        await Profile.objects.filter(pk=profile.pk).aupdate(gpu=8)
        provider.say(lost.name, Status(Phase.LOST, Reason.NODE_LOST))
        provider.say(died.name, Status(Phase.LOST, Reason.OUT_OF_MEMORY))
        for runtime in (lost, died):
            await until(state_is(runtime, State.LOST))
            usage = await Usage.objects.aget(runtime=runtime)
            assert usage.gpu_seconds == pytest.approx(2 * 3600, abs=60)
        provider.hold = True
        failed = await launch.alaunch(spaces[2])
        await until(lambda: failed.name in provider.statuses)
        provider.say(failed.name, Status(Phase.LOST, Reason.IMAGE_PULL))
        await until(state_is(failed, State.FAILED))
        assert not await Usage.objects.filter(runtime=failed).aexists()


@pytest.mark.parametrize("trusted", [True, False], ids=["its provider counts", "its agent alone can tell"])
async def test_what_was_measured_is_charged_beside_what_was_reserved(provider, workspace, trusted):
    async with running(provider):
        runtime = await launch.ready(await launch.alaunch(workspace), timeout=20)
        provider.agents[runtime.name].cpu_seconds = 7.5
        provider.counted = {runtime.name: 3.5} if trusted else {}
        await launch.astop(runtime)
        await until(state_is(runtime, State.STOPPED))
    assert (await Usage.objects.aget()).cpu_used_seconds == (3.5 if trusted else 7.5)


async def test_what_vanished_while_nobody_watched_is_charged_until_it_was_last_seen(provider, profile, workspace):
    now = timezone.now()
    rows = [
        await Runtime.objects.acreate(
            workspace=space, profile=profile, account="x", state=State.READY, ready_at=now - timedelta(hours=2),
            endpoint={"transport": "ipc", "host": "/nowhere", "identity": "x", "key_version": 1},
        )
        for space in (workspace, await Workspace.objects.acreate(profile=profile, account="x"))
    ]  # fmt: skip
    seen = now - timedelta(hours=1, minutes=50)
    await Usage.objects.acreate(runtime=rows[0], account="x", wall_seconds=600, recorded_at=seen)
    async with running(provider):
        for row in rows:
            await until(state_is(row, State.LOST))
    charged = [(await Usage.objects.aget(runtime=row)).wall_seconds for row in rows]
    assert charged == [pytest.approx(600), 0]


async def test_files_are_pulled_while_a_kernel_works(provider, workspace, brisk):
    async with running(provider):
        runtime = await launch.ready(await launch.alaunch(workspace), timeout=20)
        provider.agents[runtime.name].files["half.txt"] = b"half"
        await until(lambda: storage.files(workspace).filter(path="half.txt").exists())


async def test_the_end_of_the_process_settles_every_row_and_a_new_process_takes_up_what_waits(
    provider, profile, settings
):
    settings.RUNTIMES_MOST = 2
    spaces = [await Workspace.objects.acreate(profile=profile, account="x") for _ in range(3)]
    async with running(provider):
        first = await launch.ready(await launch.alaunch(spaces[0]), timeout=20)
        provider.agents[first.name].files["kept.txt"] = b"kept"
        provider.hold = True
        second = await launch.alaunch(spaces[1])
        await until(lambda: second.name in provider.statuses)
        third = await launch.alaunch(spaces[2])
        await until(lambda: Runtime.objects.filter(pk=third.pk, reason=Reason.CAPACITY_WAIT).exists())
    states = {row.pk: (row.state, row.reason) async for row in Runtime.objects.all()}
    assert states == {
        first.pk: (State.STOPPED, Reason.OWNER_GONE),
        second.pk: (State.QUEUED, ""),
        third.pk: (State.QUEUED, Reason.CAPACITY_WAIT),
    }
    assert provider.closed
    assert [file.path for file in await storage.afiles(spaces[0])] == ["kept.txt"]
    provider.hold = False
    async with running(provider):
        for runtime in (second, third):
            await launch.ready(runtime, timeout=20)


async def test_rows_of_a_killed_process_settle_when_the_next_one_starts(provider, profile):
    spaces = [await Workspace.objects.acreate(profile=profile, account="x") for _ in range(3)]
    ready, starting, stopping = [
        await Runtime.objects.acreate(
            workspace=space, profile=profile, account="x", state=state, ready_at=timezone.now(),
            endpoint={"transport": "ipc", "host": "/nowhere", "identity": "x", "key_version": 1},
        )
        for space, state in zip(spaces, [State.READY, State.STARTING, State.STOPPING], strict=True)
    ]  # fmt: skip
    await Kernel.objects.acreate(runtime=ready, index=0, state=Kernel.State.RUNNING)
    async with running(provider):
        lost = await until(state_is(ready, State.LOST))
        assert lost.reason == Reason.OWNER_GONE
        assert (await Kernel.objects.aget()).state == Kernel.State.DEAD
        await launch.ready(starting, timeout=20)
        await until(state_is(stopping, State.STOPPED))
        assert (await launch.ready(await launch.alaunch(spaces[0]), timeout=20)).pk != ready.pk


async def test_warm_runtimes_are_wished_for_as_the_profiles_say(provider, profile, workspace, brisk):
    await Profile.objects.filter(pk=profile.pk).aupdate(warm=3)
    async with running(provider):
        await until(lambda: provider.warm)
        [(template, count)] = provider.warm
        runtime = await launch.ready(await launch.alaunch(workspace), timeout=20)
        wanted = provider.requests[runtime.name]
        assert count == 3
        assert (template.limits, template.preload, template.kernels) == (wanted.limits, wanted.preload, wanted.kernels)
        assert (template.env, template.purpose, template.network) == (wanted.env, wanted.purpose, wanted.network)


async def test_operators_hear_of_each_pool_how_many_of_how_many_are_ready(provider, profile, brisk):
    await Profile.objects.filter(pk=profile.pk).aupdate(warm=3)
    other_day = DAYS[(timezone.now().weekday() + 3) % len(DAYS)]
    hours = [{"day": other_day, "from": "09:00", "to": "10:00", "warm": 5}]
    await Profile.objects.acreate(slug="class", name="In class hours", timetable=hours)
    provider.ready = {profile.slug: 1}
    async with running(provider):
        report = await until(lambda: ProviderReport.objects.exclude(pools={}).first())
    assert report.pools == {profile.slug: {"wished": 3, "ready": 1}, "class": {"wished": 0, "ready": 0}}


async def test_a_provider_that_is_no_longer_used_is_told_of_no_more(provider, brisk):
    await ProviderReport.objects.acreate(provider="former", warm=3, lacks={"gpu": "no room"})
    async with running(provider):
        await until(lambda: ProviderReport.objects.filter(provider=provider.slug).exists())
        await until(lambda: not ProviderReport.objects.filter(provider="former").exists())


async def test_operators_hear_of_the_process_also_while_none_can_be_kept_warm(provider, profile, brisk, monkeypatch):
    async def away(_templates):
        raise ProviderUnavailable("the cluster cannot be reached")

    monkeypatch.setattr(provider, "keep_warm", away)
    await Profile.objects.filter(pk=profile.pk).aupdate(warm=3)
    async with running(provider):
        report = await until(ProviderReport.objects.first)
    assert report.pools == {profile.slug: {"wished": 3, "ready": 0}}


async def test_why_a_pool_is_not_full_is_on_the_report_as_long_as_it_is_so(provider, profile, brisk):
    provider.lacks = {profile.slug: "OutOfMemory: its memory limit is 300Mi. " + "x" * 5000}
    reports = ProviderReport.objects.filter(provider=provider.slug)
    async with running(provider):
        await until(lambda: reports.exclude(lacks={}).exists())
        told = (await reports.aget()).lacks[profile.slug]
        assert told.startswith("OutOfMemory: its memory limit is 300Mi.")
        assert len(told) == rows.MOST_WORDS
        provider.lacks = {}
        await until(lambda: reports.filter(lacks={}).exists())


async def test_a_notebook_that_code_rewrote_becomes_a_version_beside_the_open_document(provider, workspace):
    await storage.awrite(workspace, "n.ipynb", b"mine", source="saved")
    await Document.objects.acreate(workspace=workspace, path="n.ipynb", format="json", type="notebook")
    async with running(provider):
        runtime = await launch.ready(await launch.alaunch(workspace), timeout=20)
        files = provider.agents[runtime.name].files
        files["n.ipynb"], files["other.ipynb"] = b"theirs", b"new"
        assert await storage.pull(runtime) == ["other.ipynb"]
        assert await storage.pull(runtime) == []
    kept = {file.path: storage.read(file.blob) for file in await storage.afiles(workspace)}
    assert kept == {"n.ipynb": b"mine", "other.ipynb": b"new"}
    [version] = [version async for version in FileVersion.objects.select_related("blob")]
    assert (version.path, version.source) == ("n.ipynb", FileVersion.Source.CODE)
    assert await storage.aread(version.blob) == b"theirs"


async def test_what_does_not_fit_is_named_told_again_and_kept_once_there_is_room(provider, workspace):
    await storage.awrite(workspace, "old.bin", b"o" * (MIB // 2), source="saved")
    async with running(provider):
        runtime = await launch.ready(await launch.alaunch(workspace), timeout=20)
        provider.agents[runtime.name].files |= {"big.bin": b"b" * MIB, "small.txt": b"s"}
        changed = await storage.pull(runtime)
        assert changed == ["small.txt"]
        assert list(changed.left_out) == ["big.bin"]
        row = await Runtime.objects.aget(pk=runtime.pk)
        assert list(row.left_out) == ["big.bin"]
        assert "Delete files" in row.left_out["big.bin"]
        # A quarter of it is for what people type.
        await Workspace.objects.aupdate(quota_bytes=3 * MIB)
        assert await storage.pull(runtime) == ["big.bin"]
        assert (await Runtime.objects.aget(pk=runtime.pk)).left_out == {}


async def test_code_deletes_data_but_never_a_notebook_and_caches_are_not_kept(provider, workspace):
    for path in ("a.csv", "n.ipynb"):
        await storage.awrite(workspace, path, b"x", source="saved")
    async with running(provider):
        runtime = await launch.ready(await launch.alaunch(workspace), timeout=20)
        files = provider.agents[runtime.name].files
        files.clear()
        files[".cache/x"] = b"cache"
        assert await storage.pull(runtime) == ["a.csv"]
    assert [file.path for file in await storage.afiles(workspace)] == ["n.ipynb"]
    assert (await FileVersion.objects.aget()).path == "a.csv"


async def test_a_file_that_someone_uploads_during_a_pull_wins(workspace, profile):
    await storage.awrite(workspace, "a.csv", b"uploaded", source="uploaded")
    before = timezone.now() - timedelta(seconds=5)
    stored = await transfer._store(workspace.pk, "a.csv", storage.put.__globals__["digest"](b"code"), b"code", before)
    assert stored is False
    assert (await FileVersion.objects.aget()).source == FileVersion.Source.CODE
