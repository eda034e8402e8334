"""A runtime's disk follows what people remove and rename, whenever they do so: nothing comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone

from runtimes import describe, disk, launch, packages, storage, transfer
from runtimes import rows as disk_rows
from runtimes.agent_client import FILES_AT_ONCE, AgentClient
from runtimes.agent_replies import AgentUnreachable, Pulled
from runtimes.models import Document, Kernel, Runtime, TreeChange, Workspace
from tests.runtimes.fakes import FakeAgent, FakeProvider, running

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def provider():
    fake = FakeProvider()
    yield fake
    fake.clean_up()


@asynccontextmanager
async def started(provider: FakeProvider, workspace: Workspace) -> AsyncIterator[tuple[Runtime, FakeAgent]]:
    """The workspace's runtime once it is ready, kept by a `runtimes` process."""
    async with running(provider):
        runtime = await launch.ready(await launch.alaunch(workspace), timeout=20)
        yield runtime, provider.agents[runtime.name]


async def paths(workspace: Workspace) -> list[str]:
    return [row.path for row in await storage.afiles(workspace)]


async def fill(workspace: Workspace, **files: bytes) -> None:
    for name, data in files.items():
        await storage.awrite(workspace, name.replace("__", "/"), data)


async def test_a_file_removed_or_renamed_while_its_runtime_starts_is_not_on_its_disk(provider, workspace):
    await fill(workspace, old=b"1", d__x=b"2", kept=b"3")

    async def meanwhile() -> None:
        await storage.aremove(workspace, "old")
        await storage.arename(workspace, "d", "e")
        await fill(workspace, late=b"4", kept=b"5")

    provider.during["push"] = meanwhile
    async with started(provider, workspace) as (_runtime, agent):
        assert agent.files == {"e/x": b"2", "late": b"4", "kept": b"5"}
    assert await paths(workspace) == ["e/x", "kept", "late"]


async def test_what_happens_just_before_the_runtime_is_ready_is_followed_too(provider, workspace, monkeypatch):
    await fill(workspace, old=b"1", kept=b"2")
    mark_ready = disk_rows.mark_ready

    async def late(*arguments):
        await storage.aremove(workspace, "old")
        await fill(workspace, late=b"3")
        return await mark_ready(*arguments)

    monkeypatch.setattr(disk_rows, "mark_ready", late)
    async with started(provider, workspace) as (_runtime, agent):
        async with asyncio.timeout(20):
            while agent.files != {"kept": b"2", "late": b"3"}:
                await asyncio.sleep(0.01)


async def test_a_file_removed_while_it_is_pulled_does_not_come_back(provider, workspace):
    await fill(workspace, old=b"1", out__a=b"1")
    async with started(provider, workspace) as (runtime, agent):
        agent.files |= {"old": b"changed by code", "out/made": b"by code"}

        async def meanwhile() -> None:
            await storage.aremove(workspace, "old")
            await storage.aremove(workspace, "out")
            await storage.settle(runtime)

        agent.during["pull"] = meanwhile
        assert await storage.pull(runtime) == []
        assert await paths(workspace) == []
        assert agent.files == {}
        assert await storage.pull(runtime) == []


async def test_a_file_renamed_while_it_is_pulled_is_there_once_with_what_code_wrote(provider, workspace):
    await fill(workspace, old=b"1")
    async with started(provider, workspace) as (runtime, agent):
        agent.files["old"] = b"changed by code"

        async def meanwhile() -> None:
            await storage.arename(workspace, "old", "new")
            await storage.settle(runtime)

        agent.during["pull"] = meanwhile
        assert await storage.pull(runtime) == []
        assert await storage.pull(runtime) == ["new"]
        assert [(row.path, storage.read(row.blob)) for row in await storage.afiles(workspace)] == [
            ("new", b"changed by code")
        ]


async def test_what_code_makes_again_after_the_removal_is_a_new_file(provider, workspace):
    await fill(workspace, old=b"1")
    async with started(provider, workspace) as (runtime, agent):
        await storage.aremove(workspace, "old")
        await storage.settle(runtime)
        agent.files["old"] = b"made again"
        assert await storage.pull(runtime) == ["old"]


async def test_a_removal_that_the_machine_did_not_hear_of_is_told_before_the_next_pull(provider, workspace):
    await fill(workspace, old=b"1")
    async with started(provider, workspace) as (runtime, agent):
        await storage.aremove(workspace, "old")
        agent.files["old"] = b"changed by code"
        assert await storage.pull(runtime) == []
        assert (agent.files, await paths(workspace)) == ({}, [])


async def test_what_code_deletes_is_not_deleted_again_when_it_is_back(provider, workspace):
    await fill(workspace, old=b"1")
    async with started(provider, workspace) as (runtime, agent):
        del agent.files["old"]
        assert await storage.pull(runtime) == ["old"]
        agent.files["old"] = b"again"
        assert await storage.pull(runtime) == ["old"]
        assert agent.files == {"old": b"again"}


async def test_changes_are_followed_in_their_order_by_one_at_a_time(provider, workspace):
    await fill(workspace, a=b"1")
    async with started(provider, workspace) as (runtime, agent):
        await storage.arename(workspace, "a", "b")
        await storage.arename(workspace, "b", "a")
        await storage.aremove(workspace, "a")
        await fill(workspace, a=b"2")
        await asyncio.gather(*[storage.settle(runtime) for _ in range(4)])
        await storage.push(runtime, ["a"])
        assert agent.files == {"a": b"2"}
        assert agent.asked.count("rename") == 2


async def test_a_change_that_somebody_left_half_done_is_taken_over(provider, workspace, monkeypatch):
    monkeypatch.setattr(disk, "LEASE", timedelta(seconds=-1))
    await fill(workspace, a=b"1")
    async with started(provider, workspace) as (runtime, agent):
        await storage.aremove(workspace, "a")
        assert await disk._claim(workspace.pk) is not None
        await storage.settle(runtime)
        assert agent.files == {}


async def test_a_machine_that_does_not_answer_leaves_the_change_for_the_next_one(provider, workspace, monkeypatch):
    monkeypatch.setattr(disk, "FOLLOW_SECONDS", 0.05)
    await fill(workspace, a=b"1")
    async with started(provider, workspace) as (runtime, agent):
        await storage.aremove(workspace, "a")

        async def never() -> None:
            await asyncio.Event().wait()

        agent.during["remove"] = never
        with pytest.raises(AgentUnreachable):
            await storage.settle(runtime)
        await storage.settle(runtime)
        assert agent.asked.count("remove") == 2


async def test_changes_of_long_ago_are_forgotten(provider, workspace):
    await fill(workspace, a=b"1", b=b"2")
    await storage.aremove(workspace, "a")
    await TreeChange.objects.aupdate(made_at=timezone.now() - timedelta(hours=1))
    async with started(provider, workspace) as (runtime, agent):
        assert "remove" not in agent.asked
        assert not await TreeChange.objects.aexists()
        await TreeChange.objects.acreate(workspace=workspace, path="z", applied_at=timezone.now() - timedelta(hours=2))
        await storage.aremove(workspace, "b")
        await storage.settle(runtime)
        assert [change.path async for change in TreeChange.objects.all()] == ["b"]


async def test_a_kernel_of_a_renamed_folder_starts_again_in_it(provider, workspace):
    await fill(workspace, d__x=b"1", dd__x=b"1")
    async with started(provider, workspace) as (runtime, agent):
        kernels = [await launch.astart_kernel(runtime, cwd=cwd) for cwd in ("d", "d/deep", "dd")]
        await storage.arename(workspace, "d", "e")
        await storage.settle(runtime)
        for kernel in kernels:
            await launch.arestart(kernel)
        assert list(agent.folders.values()) == ["e", "e/deep", "dd"]
        rows = Kernel.objects.filter(pk__in=[kernel.pk for kernel in kernels]).order_by("index")
        assert await sync_to_async(list)(rows.values_list("cwd", flat=True)) == ["e", "e/deep", "dd"]


async def test_what_does_not_fit_into_a_pull_of_several_parts_is_named_every_time(provider, workspace):
    await Workspace.objects.aupdate(quota_bytes=10)
    async with started(provider, workspace) as (runtime, agent):
        agent.most_files = 1
        agent.skipped = {"huge.bin": "too-large", "link": "not-a-file", "away": "gone", ".cache/x": "too-large"}
        agent.files |= {"a.bin": b"x" * 11, "b.txt": b"b", "c.txt": b"c"}
        for changed in (["b.txt", "c.txt"], []):
            pulled = await storage.pull(runtime)
            assert pulled == changed
            assert list(pulled.left_out) == ["huge.bin", "link", "a.bin"]
            row = await Runtime.objects.aget(pk=runtime.pk)
            assert row.left_out == {
                "a.bin": "There is no room left for this. Delete files that you no longer need and try again.",
                "huge.bin": "A file may have at most 64 MB.",
                "link": "Links, devices and files with unusual names are not kept.",
            }
        async with AgentClient.of(row) as own:
            assert list((await own.pull()).files) == ["a.bin"]


async def test_what_may_be_run_may_be_run_on_the_next_disk_wherever_a_person_moved_it(provider, workspace):
    await fill(workspace, typed=b"#!/bin/sh", plain=b"p")
    async with started(provider, workspace) as (runtime, agent):
        agent.files |= {"bin/tool": b"#!/bin/sh", "also": b"a"}
        agent.executable = {"bin/tool", "also"}
        assert await storage.pull(runtime) == ["also", "bin/tool"]
        # A mode that changed alone is told with the same content, which is no change of it.
        agent.executable = {"bin/tool", "typed"}
        agent.known = {}
        assert await storage.pull(runtime) == []
        assert await executable(workspace) == {"bin/tool", "typed"}
        await storage.awrite(workspace, "typed", b"#!/bin/sh\ntrue")
        await storage.push(runtime, ["typed"])
        assert agent.executable == {"bin/tool", "typed"}
        await storage.arename(workspace, "bin", "tools")
        await storage.settle(runtime)
        await launch.astop(runtime)
    async with started(provider, workspace) as (_runtime, agent):
        assert agent.executable == await executable(workspace) == {"tools/tool", "typed"}


async def test_a_script_that_is_open_for_editing_may_be_run_once_code_says_so(provider, workspace):
    await fill(workspace, **{"run.sh": b"#!/bin/sh"})
    await Document.objects.acreate(workspace=workspace, path="run.sh", format="text", type="file")
    async with started(provider, workspace) as (runtime, agent):
        agent.executable, agent.known = {"run.sh"}, {}
        assert await storage.pull(runtime) == []
        assert await executable(workspace) == {"run.sh"}


async def test_what_an_earlier_pull_saw_does_not_take_back_that_a_file_may_be_run(provider, workspace):
    await fill(workspace, tool=b"t")
    async with started(provider, workspace) as (runtime, agent):
        agent.executable, agent.known = {"tool"}, {}
        begun = timezone.now()
        await storage.pull(runtime)
        changed = transfer.Changed()
        for moment, left in ((begun, {"tool"}), (timezone.now(), set())):
            earlier = Pulled({"tool": b"t"}, (), {}, "t", more=False)
            assert await transfer._take(workspace.pk, earlier, moment, changed) == changed == []
            assert await executable(workspace) == left


async def test_in_work_that_is_closed_nothing_becomes_runnable(provider, workspace):
    await fill(workspace, tool=b"t")
    async with started(provider, workspace) as (runtime, agent):
        await Workspace.objects.aupdate(read_only=True)
        agent.executable, agent.known = {"tool"}, {}
        assert await storage.pull(runtime) == []
        assert await executable(workspace) == set()


async def executable(workspace: Workspace) -> set[str]:
    return {row.path for row in await storage.afiles(workspace) if row.executable}


# --- what pip installed

SITE = ".local/lib/python3.13/site-packages"


def installed(name: str, **files: bytes) -> dict[str, bytes]:
    """What pip writes of a distribution, version 1.0; two names are shared by all of this."""
    paths = [f"{name}/{file.replace('__', '.')}" for file in files]
    names = [*paths, "shared/one.py", "../../../bin/tool", f"{name}/__pycache__/a.pyc", f"{name}-1.0.dist-info/RECORD"]
    record = "".join(f"{path},sha256=x,1\r\n" for path in names).encode()
    data = {f"{SITE}/{path}": content for path, content in zip(paths, files.values(), strict=True)}
    return {
        **data,
        f"{SITE}/{name}-1.0.dist-info/RECORD": record,
        f"{SITE}/shared/one.py": b"1",
        ".local/bin/tool": b"t",
    }


async def test_a_package_that_lacks_a_file_is_not_brought_and_named_until_it_is_installed_again(provider, workspace):
    half, whole = installed("torch", a__py=b"a", large__so=b"so"), installed("small", b__py=b"b")
    for path, data in {**half, **whole}.items():
        await storage.awrite(workspace, path, data)
    await storage.aremove(workspace, f"{SITE}/torch/large.so")
    async with started(provider, workspace) as (runtime, agent):
        assert agent.files.keys() == whole.keys()
        assert runtime.not_brought == {f"{SITE}/torch-1.0.dist-info/RECORD": "torch 1.0"}
        assert describe.not_brought(runtime.not_brought) == [
            "Install again, where you need it: torch 1.0. It could not be kept whole."
        ]
        assert await storage.pull(runtime) == []
        assert (await Runtime.objects.aget(pk=runtime.pk)).not_brought == runtime.not_brought
        agent.files |= half
        assert await storage.pull(runtime) == [f"{SITE}/torch/large.so"]
        assert (await Runtime.objects.aget(pk=runtime.pk)).not_brought == {}
    # Nothing of it was taken for removed meanwhile.
    assert {row.path for row in await storage.afiles(workspace)} == half.keys() | whole.keys()


@pytest.mark.parametrize("record", [b"\xff\xfe", b'"', b"../../../../../../etc/passwd,sha256=x,1", b""])
def test_a_record_that_says_nothing_keeps_nothing_back(record: bytes) -> None:
    path = f"{SITE}/odd-1.0.dist-info/RECORD"
    assert packages.partial([path], {path: record}) == {}


async def test_a_file_for_which_there_is_no_room_is_named_and_not_carried_until_there_is(provider, workspace):
    await Workspace.objects.aupdate(quota_bytes=80)
    await fill(workspace, **{"old.bin": b"o" * 40})
    async with started(provider, workspace) as (runtime, agent):
        agent.files["new.bin"] = b"n" * 30
        pulled = await storage.pull(runtime)
        assert (pulled, pulled.left_out.keys()) == ([], {"new.bin"})
        # What is there already may grow in its place, as far as there is room.
        agent.files["old.bin"] = b"p" * 50
        assert await storage.pull(runtime) == ["old.bin"]
        # Renamed by code: what it was makes room for what it is.
        agent.files["moved.bin"] = agent.files.pop("old.bin")
        pulled = await storage.pull(runtime)
        # The smaller one goes first, and 80 bytes less a quarter for people are not enough for both.
        assert (pulled, pulled.left_out.keys()) == (["old.bin", "new.bin"], {"moved.bin"})


async def test_all_that_one_pull_could_not_store_is_told_again_by_the_next(provider, workspace, monkeypatch):
    async def full(*_arguments: object) -> bool:
        raise storage.QuotaExceeded

    monkeypatch.setattr(transfer, "_store", full)
    async with started(provider, workspace) as (runtime, agent):
        agent.most_files = FILES_AT_ONCE
        agent.files |= {f"{number}.txt": b"1" for number in range(FILES_AT_ONCE)}
        assert await storage.pull(runtime) == []
        async with AgentClient.of(runtime) as own:
            assert (await own.pull()).files == agent.files
