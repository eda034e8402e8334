"""The `runtimes` process with pods: people work, jobs borrow; it is restarted and killed, and rows and pods agree."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from runtimes import launch, storage
from runtimes.borrow import borrow
from runtimes.models import Profile, Runtime, Workspace
from runtimes.pods import labels
from runtimes.provider import Reason
from tests.runtimes.pods.real import Admin, needs_cluster, own_namespace, site_settings
from tests.runtimes.process import RuntimesProcess
from tests.runtimes.waiting import at_work, run, state_is, until

pytestmark = [needs_cluster, pytest.mark.kill, pytest.mark.django_db(transaction=True), pytest.mark.timeout(240)]
State = Runtime.State


@dataclass
class Site:
    """A namespace and the process that owns what is in it."""

    admin: Admin
    process: RuntimesProcess

    async def pods(self) -> set[str]:
        """Names of runtimes that have a pod which nobody ends."""
        found, _version = await self.admin.pods("")
        return {labels.label(pod, labels.RUNTIME) for pod in found if "deletionTimestamp" not in pod["metadata"]}


@pytest_asyncio.fixture
async def site() -> AsyncIterator[Site]:
    async with own_namespace() as (admin, config):
        process = RuntimesProcess(**site_settings(config))
        process.start()
        try:
            yield Site(admin, process)
        finally:
            process.__exit__()
            print(process.output)


async def seen(what: Any) -> None:
    """Until a question to the cluster is answered with yes."""
    async with asyncio.timeout(60):
        while not await what():
            await asyncio.sleep(0.1)


async def test_people_work_in_a_pod_as_they_do_in_a_sandbox(site: Site, workspace: Workspace) -> None:
    await storage.awrite(workspace, "d/x.txt", b"from the site", source="saved")
    runtime, kernel = await at_work(workspace)
    assert runtime.endpoint["transport"] == "tcp"
    assert runtime.environment_digest.startswith("sha256:")
    assert await run(runtime, kernel, "print(open('d/x.txt').read())") == "from the site\n"
    await run(runtime, kernel, "open('d/out.txt', 'w').write('from code')")
    assert await storage.pull(runtime) == ["d/out.txt"]
    await run(runtime, kernel, "open('d/late.txt', 'w').write('later')")
    await launch.astop(runtime)
    await until(state_is(runtime, State.STOPPED))
    kept = {row.path: await storage.aread(row.blob) for row in await storage.afiles(workspace)}
    assert kept == {"d/x.txt": b"from the site", "d/out.txt": b"from code", "d/late.txt": b"later"}
    assert await site.admin.names("Pod") == []


async def test_a_job_borrows_a_pod_and_gives_it_back(site: Site, profile: Profile) -> None:
    async with borrow(profile=profile, account="x", files={"x.csv": b"1,2"}, env={"JOB": "ps1"}) as borrowed:
        client = await borrowed.client()
        said: list[str] = []
        code = "import os; print(open('x.csv').read(), os.environ['JOB']); open('out', 'w').write('o')"
        await client.execute_interactive(
            code, timeout=60, allow_stdin=False, output_hook=lambda message: said.append(message["content"].get("text"))
        )
        assert "1,2 ps1\n" in said
        assert await borrowed.pull() == {"out": b"o"}
        runtime = borrowed.runtime
    await until(state_is(runtime, State.STOPPED))
    assert await site.admin.names("Pod") == []


async def test_a_job_that_takes_all_its_memory_is_told_why_it_ended(site: Site, profile: Profile) -> None:
    async with borrow(profile=profile, account="x") as borrowed:
        client = await borrowed.client()
        client.execute("x = bytearray(2 << 30)")

        async def ended() -> bool:
            return await borrowed.exit_reason() is not None

        await seen(ended)
        ending = await borrowed.exit_reason()
        assert ending is not None
        assert ending.kind == "out_of_memory"


async def test_kernels_go_on_when_the_process_is_restarted_or_killed(site: Site, workspace: Workspace) -> None:
    runtime, kernel = await at_work(workspace)
    await run(runtime, kernel, "x = 41")
    for end in (site.process.stop, site.process.kill):
        end()
        assert await site.pods() == {runtime.name}
        assert await run(runtime, kernel, "x += 1; print(x > 41)") == "True\n"
        site.process.start()
    assert await run(runtime, kernel, "print(x)") == "43\n"
    await launch.astop(runtime)
    await until(state_is(runtime, State.STOPPED))
    assert await site.pods() == set()


async def test_after_a_kill_rows_and_pods_agree_again(site: Site, workspace: Workspace, profile: Profile) -> None:
    kept, _kernel = await at_work(workspace)
    others = [await Workspace.objects.acreate(profile=profile, account="x", title=name) for name in "ab"]
    unwanted, podless = [(await at_work(each))[0] for each in others]
    site.process.kill()
    # Nobody wants one any more, and the other's pod is taken away, while nobody looks.
    await Runtime.objects.filter(pk=unwanted.pk).aupdate(state=State.STOPPED)
    await site.admin.delete_pod(podless.endpoint["identity"], 1)
    site.process.start()

    async def agree() -> bool:
        return await site.pods() == {kept.name}

    # What docs/operate.md promises of the process from when it is back.
    async with asyncio.timeout(30):
        lost = await until(state_is(podless, State.LOST))
        await seen(agree)
    assert lost.reason in (Reason.OWNER_GONE, Reason.DELETED)
    assert (await Runtime.objects.aget(pk=kept.pk)).state == State.READY


async def test_who_asked_while_the_process_was_away_is_served_when_it_is_back(site: Site, workspace: Workspace) -> None:
    site.process.kill()
    runtime = await launch.alaunch(workspace)
    site.process.start()
    assert (await launch.ready(runtime, timeout=60)).state == State.READY
    # Killed between asking and serving: the pod is there, its row says that it starts.
    site.process.kill()
    await Runtime.objects.filter(pk=runtime.pk).aupdate(state=State.STARTING, endpoint={})
    site.process.start()
    again = await launch.ready(runtime, timeout=60)
    assert again.endpoint["identity"]
    assert await site.pods() == {runtime.name}
