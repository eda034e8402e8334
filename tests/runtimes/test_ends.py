"""How the site ends a runtime where something is away meanwhile: what is said of its files, for how long it is charged,
and that nobody loses one that they have just begun to use again."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone

from runtimes import blobs, bus, keeper, launch, load, reconcile, rows, storage
from runtimes.errors import StorageAway
from runtimes.models import Profile, Runtime, Usage, Workspace
from runtimes.provider import Phase, Reason, Status
from tests.runtimes.fakes import FakeProvider, running
from tests.runtimes.waiting import state_is, until

pytestmark = pytest.mark.django_db(transaction=True)
State = Runtime.State
LAST_SAVED = "Your files are kept as last saved: start the kernel again."


@pytest.fixture
def provider():
    fake = FakeProvider()
    yield fake
    fake.clean_up()


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(keeper, "RETRY_SECONDS", (0.01,) * 3)
    monkeypatch.setattr("runtimes.idle.PULL_EVERY", timedelta(0))
    monkeypatch.setattr("runtimes.last_pull.STORAGE_RETRY_SECONDS", 0.02)
    monkeypatch.setattr(reconcile, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(reconcile, "COMPARE_SECONDS", 0.02)
    monkeypatch.setattr(reconcile, "AFTER_ERROR_SECONDS", 0.02)


class Store:
    """What stores files, which may be away."""

    def __init__(self) -> None:
        self.away, self.asked = False, 0
        self._save = blobs.save_bytes

    def save_bytes(self, *given: Any) -> object:
        if self.away:
            self.asked += 1
            raise StorageAway("no answer")
        return self._save(*given)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    store = Store()
    monkeypatch.setattr(blobs, "save_bytes", store.save_bytes)
    return store


def ago(**length: float) -> datetime:
    return timezone.now() - timedelta(**length)


async def told(row: Runtime) -> str:
    return await sync_to_async(launch.sentence)(row)


async def make_idle(provider: FakeProvider, runtime: Runtime) -> None:
    """Nobody has used it for a day, and the reconciler sees its row so."""
    provider.agents[runtime.name].idle_seconds = 1e6
    await Runtime.objects.filter(pk=runtime.pk).aupdate(last_active_at=ago(days=1), executed_at=ago(days=1))
    await bus.publish("runtimes")


async def ready(workspace: Workspace) -> Runtime:
    return await launch.ready(await launch.alaunch(workspace), timeout=20)


# --- files


@pytest.mark.parametrize("reason", [Reason.REQUESTED, Reason.OPERATOR, Reason.LIFETIME, Reason.YIELDED])
async def test_what_could_not_be_fetched_is_not_said_to_be_kept(
    provider: FakeProvider, workspace: Workspace, store: Store, reason: Reason, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtimes.last_pull.FINAL_PULL_SECONDS", 0.3)
    words = {Reason.OPERATOR: "GPU is needed for the exam"}.get(reason, "")
    async with running(provider):
        runtime = await ready(workspace)
        provider.agents[runtime.name].files["new.txt"] = b"new"
        store.away = True
        if reason in (Reason.LIFETIME, Reason.YIELDED):
            over = {"deadline": timezone.now(), "yields": reason == Reason.YIELDED}
            await Runtime.objects.filter(pk=runtime.pk).aupdate(**over)
            await bus.publish("runtimes")
        else:
            await launch.astop(runtime, reason=reason, message=words)
        row = await until(state_is(runtime, State.STOPPED))
        assert row.reason == reason
        said = await told(row)
        assert said.endswith(LAST_SAVED)
        assert said.startswith(f"An administrator stopped the machine: {words}." if words else said[:10])
        assert said.count("kept") == 1


async def test_what_was_fetched_is_said_to_be_kept_also_where_the_site_itself_ends(
    provider: FakeProvider, workspace: Workspace
) -> None:
    async with running(provider):
        runtime = await ready(workspace)
        provider.agents[runtime.name].files["new.txt"] = b"new"
        await launch.astop(runtime, reason=Reason.OPERATOR, message="Noon.")
        row = await until(state_is(runtime, State.STOPPED))
        assert await told(row) == "An administrator stopped the machine: Noon. Your files are kept."
        second = await ready(workspace)
    row = await Runtime.objects.aget(pk=second.pk)
    assert (row.state, row.reason) == (State.STOPPED, Reason.OWNER_GONE)
    assert "as they were at that moment" in await told(row)


async def test_what_ended_by_its_own_switch_while_nobody_watched_has_its_files_as_last_saved(
    provider: FakeProvider, workspace: Workspace
) -> None:
    async with running(provider):
        runtime = await ready(workspace)
        provider.say(runtime.name, Status(Phase.STOPPED, Reason.IDLE, "its agent ended in good order"))
        row = await until(state_is(runtime, State.STOPPED))
        assert await told(row) == f"The kernel was stopped because nothing ran for a while. {LAST_SAVED}"


async def test_one_that_never_was_ready_had_nothing_to_lose(provider: FakeProvider, workspace: Workspace) -> None:
    provider.hold = True
    async with running(provider):
        runtime = await launch.alaunch(workspace)
        await until(lambda: runtime.name in provider.statuses)
        await launch.astop(runtime)
        row = await until(state_is(runtime, State.STOPPED))
        assert "last saved" not in await told(row)


async def test_an_idle_machine_is_not_stopped_before_its_files_can_be_stored(
    provider: FakeProvider, workspace: Workspace, store: Store
) -> None:
    async with running(provider):
        runtime = await ready(workspace)
        provider.agents[runtime.name].files["new.txt"] = b"new"
        store.away = True
        await make_idle(provider, runtime)
        await until(lambda: store.asked > 3)
        assert (await Runtime.objects.aget(pk=runtime.pk)).state == State.READY
        store.away = False
        row = await until(state_is(runtime, State.STOPPED))
        assert await told(row) == (
            "The kernel was stopped because nothing ran for a while. Your files are kept: start it again."
        )
    assert [file.path for file in await storage.afiles(workspace)] == ["new.txt"]


# --- an API that is away


@pytest.mark.parametrize("times", [2, 100], ids=["for a moment", "for long"])
async def test_a_stop_while_the_provider_is_away_stays_a_stop_with_its_reason(
    provider: FakeProvider, workspace: Workspace, times: int
) -> None:
    async with running(provider):
        runtime = await ready(workspace)
        provider.agents[runtime.name].files["new.txt"] = b"new"
        provider.deaf = times
        await launch.astop(runtime, reason=Reason.OPERATOR, message="GPU is needed for the exam")
        row = await until(state_is(runtime, State.STOPPED, State.FAILED))
        assert (row.state, row.reason) == (State.STOPPED, Reason.OPERATOR)
        assert "GPU is needed for the exam. Your files are kept." in await told(row)
        provider.deaf = 0
        # What could not be ended then is ended once it is seen that no row wants it.
        await until(lambda: runtime.name not in provider.statuses)


async def test_who_changes_the_machine_that_they_wait_for_while_the_provider_is_away_goes_on_waiting(
    provider: FakeProvider, workspace: Workspace
) -> None:
    provider.hold = True
    async with running(provider):
        runtime = await launch.alaunch(workspace)
        await until(lambda: runtime.name in provider.statuses)
        provider.deaf = 1
        other = await Profile.objects.acreate(slug="other", name="Other")
        await Runtime.objects.filter(pk=runtime.pk).aupdate(profile=other)
        await bus.publish("runtimes")
        await until(lambda: provider.requests[runtime.name].machine.slug == "other")
        assert (await Runtime.objects.aget(pk=runtime.pk)).state == State.STARTING


# --- idle, and used again just then


@pytest.mark.parametrize("act", ["goes on using it", "begins a cell", "does nothing"])
async def test_who_comes_back_at_the_last_moment_keeps_the_machine(workspace: Workspace, act: str) -> None:
    seen = await Runtime.objects.acreate(
        workspace=workspace, profile=workspace.profile, account="x", state=State.READY, ready_at=ago(days=2),
        last_active_at=ago(days=1), executed_at=ago(days=1),
    )  # fmt: skip
    mine = Runtime.objects.filter(pk=seen.pk)
    if act == "goes on using it":
        await launch.atouch(seen)
    elif act == "begins a cell":
        await sync_to_async(load.began)(mine)
    assert await rows.stop_idle(seen) is (act == "does nothing")
    row = await mine.aget()
    assert (row.state, row.reason) == ((State.STOPPING, Reason.IDLE) if act == "does nothing" else (State.READY, ""))


async def test_one_that_is_used_while_its_files_are_fetched_is_not_stopped(
    provider: FakeProvider, workspace: Workspace
) -> None:
    async with running(provider):
        runtime = await ready(workspace)
        agent = provider.agents[runtime.name]

        async def comes_back() -> None:
            agent.idle_seconds = 0.0
            await launch.atouch(runtime)

        agent.during = {"pull": comes_back}
        await make_idle(provider, runtime)
        await until(lambda: "pull" not in agent.during)
        asked = agent.asked
        asked.clear()
        await until(lambda: asked.count("status") > 3)
        assert (await Runtime.objects.aget(pk=runtime.pk)).state == State.READY


# --- what is charged


@pytest.mark.parametrize(
    ("status", "ended", "minutes"),
    [
        (Status(Phase.STOPPED, Reason.IDLE), 40, 40),
        (Status(Phase.STOPPED, Reason.LIFETIME), None, 10),
        (Status(Phase.LOST, Reason.EVICTED), 5, 10),
        (Status(Phase.LOST, Reason.NODE_LOST), None, 10),
    ],
    ids=["its end is known", "nobody knows when", "counted beyond its end", "lost, nobody knows when"],
)
@pytest.mark.parametrize("state", [State.READY, State.STOPPING])
async def test_what_ended_while_the_site_was_away_is_charged_until_its_end(
    provider: FakeProvider, workspace: Workspace, status: Status, ended: int | None, minutes: int, state: str
) -> None:
    """It was ready ten hours ago, was last seen ten minutes after that, and ended after so many."""
    row = await Runtime.objects.acreate(
        workspace=workspace, profile=workspace.profile, account="x", state=state, ready_at=ago(hours=10),
        reason=Reason.REQUESTED if state == State.STOPPING else "", reserved={"cpu": 1, "memory_bytes": 0, "gpu": 2},
        endpoint={"transport": "ipc", "host": "/nowhere", "identity": "x", "key_version": 1},
    )  # fmt: skip
    await Usage.objects.acreate(
        runtime=row, account="x", wall_seconds=600, gpu_seconds=1200, recorded_at=ago(hours=9, minutes=50)
    )
    ended_at = None if ended is None else row.ready_at + timedelta(minutes=ended)
    provider.statuses[row.name] = replace(status, ended_at=ended_at)
    async with running(provider):
        await until(state_is(row, State.STOPPED, State.LOST))
    used = await Usage.objects.aget(runtime=row)
    assert used.wall_seconds == pytest.approx(minutes * 60, abs=30)
    assert used.gpu_seconds == pytest.approx(2 * minutes * 60, abs=60)


async def test_what_ends_while_it_is_watched_is_charged_until_now(provider: FakeProvider, workspace: Workspace) -> None:
    async with running(provider):
        runtime = await ready(workspace)
        await Runtime.objects.filter(pk=runtime.pk).aupdate(ready_at=ago(hours=1))
        await bus.publish("runtimes")
        provider.say(runtime.name, Status(Phase.LOST, Reason.NODE_LOST))
        await until(state_is(runtime, State.LOST))
    assert (await Usage.objects.aget()).wall_seconds == pytest.approx(3600, abs=60)
