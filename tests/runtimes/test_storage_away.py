"""An object store that is away for a while: people are told, and nothing that code wrote is lost."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from runtimes import blobs, keeper, launch, storage
from runtimes.errors import RuntimeFailed, StorageAway
from runtimes.models import Runtime, Workspace
from tests.runtimes.fakes import FakeProvider, running
from tests.runtimes.test_reconcile import state_is, until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def provider():
    fake = FakeProvider()
    yield fake
    fake.clean_up()


class Away:
    """A verb of storage that fails the first times."""

    def __init__(self, verb: Callable[..., object], times: int) -> None:
        self._verb, self.left = verb, times

    def __call__(self, *given: object) -> object:
        if self.left:
            self.left -= 1
            raise StorageAway("no answer")
        return self._verb(*given)


async def test_files_that_code_wrote_meanwhile_come_with_the_next_pull(
    provider: FakeProvider, workspace: Workspace, monkeypatch
):
    async with running(provider):
        runtime = await launch.ready(await launch.alaunch(workspace), timeout=20)
        provider.agents[runtime.name].files |= {"a.txt": b"a", "b.txt": b"b"}
        monkeypatch.setattr(blobs, "save_bytes", Away(blobs.save_bytes, 1))
        with pytest.raises(StorageAway):
            await storage.pull(runtime)
        assert sorted(await storage.pull(runtime)) == ["a.txt", "b.txt"]


async def test_a_machine_that_ends_waits_until_its_files_are_stored(
    provider: FakeProvider, workspace: Workspace, monkeypatch
):
    monkeypatch.setattr(keeper, "AGENT_RETRY_SECONDS", 0.01)
    async with running(provider):
        runtime = await launch.ready(await launch.alaunch(workspace), timeout=20)
        provider.agents[runtime.name].files["a.txt"] = b"a"
        away = Away(blobs.save_bytes, 3)
        monkeypatch.setattr(blobs, "save_bytes", away)
        await launch.astop(runtime)
        await until(state_is(runtime, Runtime.State.STOPPED))
    assert away.left == 0
    assert [await storage.aread(row.blob_id) for row in await storage.afiles(workspace)] == [b"a"]


async def test_a_machine_whose_files_cannot_be_had_says_why_and_the_next_one_has_them(
    provider: FakeProvider, workspace: Workspace, monkeypatch
):
    await storage.awrite(workspace, "a.txt", b"a")
    monkeypatch.setattr(blobs, "read", Away(blobs.read, 1))
    async with running(provider):
        with pytest.raises(RuntimeFailed) as failed:
            await launch.ready(await launch.alaunch(workspace), timeout=20)
        assert "Files cannot be stored or fetched" in str(failed.value.user_message)
        runtime = await launch.ready(await launch.alaunch(workspace), timeout=20)
        assert provider.agents[runtime.name].files == {"a.txt": b"a"}
