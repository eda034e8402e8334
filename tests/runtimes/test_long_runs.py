"""One execution that lasts for hours is told to operators, and its seat given on when somebody waits for it."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from runtimes.long_runs import NOTICE, long_runs, make_way
from runtimes.models import Document, Kernel, Profile, Run, Runtime, Workspace
from runtimes.provider import Reason
from tests.runtimes.fakes import FakeProvider, running
from tests.runtimes.waiting import state_is, until

State = Runtime.State


@pytest.fixture
def gpu(db) -> Profile:
    return Profile.objects.create(slug="gpu", name="GPU", gpu=1)


def busy(profile: Profile, hours: float, **fields: object) -> Runtime:
    """Somebody whose kernel has been busy for so long."""
    now = timezone.now()
    space = Workspace.objects.create(profile=profile, account="x")
    usual = {"state": State.READY, "ready_at": now - timedelta(hours=hours), "deadline": now + timedelta(hours=5)}
    runtime = Runtime.objects.create(workspace=space, profile=profile, account="x", **{**usual, **fields})
    Kernel.objects.create(
        runtime=runtime, workspace=space, index=0, state=Kernel.State.RUNNING, execution_state="busy",
        last_activity=now - timedelta(hours=hours),
    )  # fmt: skip
    return runtime


def began(runtime: Runtime, at: datetime) -> None:
    document = Document.objects.create(workspace=runtime.workspace, path="n.ipynb", format="json", type="notebook")
    kernel = runtime.kernels.get()
    Run.objects.create(kernel=kernel, document=document, cell_id="a", state=Run.State.RUNNING, started_at=at)


def flagged() -> list[int]:
    return [run.runtime.pk for run in long_runs(timezone.now())]


def test_hours_at_one_cell_are_flagged_longest_first(profile):
    short, long, longest = busy(profile, 1.9), busy(profile, 2.1), busy(profile, 7)
    assert flagged() == [longest.pk, long.pk]
    assert short.pk not in flagged()


def test_cells_that_follow_each_other_at_once_are_new_executions(profile):
    runtime = busy(profile, 5)
    began(runtime, timezone.now() - timedelta(minutes=10))
    assert flagged() == []


def test_an_idle_kernel_and_a_machine_that_grades_are_not_flagged(profile):
    Kernel.objects.filter(runtime=busy(profile, 5)).update(execution_state="idle")
    busy(profile, 5, purpose=Runtime.Purpose.GRADING)
    assert flagged() == []


def test_nothing_happens_while_nobody_waits_for_that_kind(gpu, profile):
    runtime = busy(gpu, 5)
    Runtime.objects.create(profile=profile, account="x")
    assert make_way() == 0
    runtime.refresh_from_db()
    assert not runtime.yields


def test_as_many_seats_are_given_on_as_people_wait_with_notice(gpu):
    longest, long, last = busy(gpu, 7), busy(gpu, 5), busy(gpu, 3)
    for _ in range(2):
        Runtime.objects.create(profile=gpu, account="x")
    assert (make_way(), make_way()) == (2, 0)
    for runtime, yields in ((longest, True), (long, True), (last, False)):
        runtime.refresh_from_db()
        assert runtime.yields is yields
    assert abs(longest.deadline - timezone.now() - NOTICE) < timedelta(minutes=1)


def test_nothing_is_ended_for_who_could_not_have_that_seat(profile):
    busy(profile, 5)
    elsewhere = Profile.objects.create(slug="old", name="Old", node_selector={"pool": "old"})
    Runtime.objects.create(profile=elsewhere, account="x", reason=Reason.CAPACITY_WAIT)
    Runtime.objects.create(profile=profile, account="x", reason=Reason.NO_MACHINE)
    assert make_way() == 0
    Runtime.objects.update(profile=profile)
    assert make_way() == 1


def test_a_seat_is_given_on_to_who_waits_for_the_quota_on_other_nodes_too(profile, gpu):
    longest, long, other = busy(profile, 7), busy(profile, 5), busy(gpu, 9)
    elsewhere = Profile.objects.create(slug="sandboxed", name="gVisor", runtime_class="gvisor")
    Runtime.objects.create(profile=elsewhere, account="x", reason=Reason.QUOTA_EXCEEDED)
    assert (make_way(), make_way()) == (1, 0)
    # One that leaves is nobody's twice: who needs its own nodes, and who needs the quota.
    Runtime.objects.create(profile=profile, account="x", reason=Reason.CAPACITY_WAIT)
    assert (make_way(), make_way()) == (1, 0)
    for runtime, yields in ((longest, True), (long, True), (other, False)):
        runtime.refresh_from_db()
        assert runtime.yields is yields


def test_who_stops_soon_anyway_is_left_alone(gpu):
    busy(gpu, 5, deadline=timezone.now() + timedelta(minutes=5))
    Runtime.objects.create(profile=gpu, account="x")
    assert make_way() == 0


@pytest.mark.django_db(transaction=True)
async def test_it_is_stopped_with_its_files_and_the_next_one_starts(gpu, monkeypatch):
    from asgiref.sync import sync_to_async

    from runtimes import launch

    monkeypatch.setattr("runtimes.keeper.LOOK_SECONDS", 0.02)
    monkeypatch.setattr("runtimes.reconcile.USAGE_SECONDS", 0.02)
    monkeypatch.setattr("runtimes.long_runs.NOTICE", timedelta(seconds=0.1))
    provider = FakeProvider()
    provider.gpus = 1
    make = sync_to_async(lambda: Workspace.objects.create(profile=gpu, account="x"))
    async with running(provider):
        first = await launch.ready(await launch.alaunch(await make()), timeout=20)
        kernel = await launch.astart_kernel(first)
        provider.agents[first.name].kernels[0]["state"] = "busy"
        long_ago = timezone.now() - timedelta(hours=3)
        await Kernel.objects.filter(pk=kernel.pk).aupdate(execution_state="busy", last_activity=long_ago)
        second = await launch.alaunch(await make())
        row = await until(state_is(first, State.STOPPED))
        assert row.reason == Reason.YIELDED
        await launch.ready(second, timeout=20)
    provider.clean_up()
