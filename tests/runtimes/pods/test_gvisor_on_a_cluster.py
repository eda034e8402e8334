"""Kernels under gVisor (on GKE: GKE Sandbox), where the cluster has it: a kernel of its own, which ends as a whole."""

from __future__ import annotations

import pytest

from runtimes import storage
from runtimes.machine import Machine
from runtimes.models import Profile, Runtime, Workspace
from runtimes.pods.cluster import Refused
from runtimes.provider import Reason
from tests.runtimes import waiting
from tests.runtimes.pods.real import SMALL, Admin, needs_cluster, own_namespace, running, site_settings
from tests.runtimes.process import RuntimesProcess
from tests.runtimes.sandbox.notebook import start_notebook
from tests.runtimes.waiting import at_work, run, state_is

pytestmark = [needs_cluster, pytest.mark.timeout(300)]
GVISOR = "gvisor"


async def needs_gvisor(admin: Admin) -> None:
    try:
        await admin.call("GET", "RuntimeClass", GVISOR)
    except Refused:
        pytest.skip(f"NO GVISOR: this cluster has no RuntimeClass {GVISOR}")


async def test_a_kernel_runs_is_interrupted_gives_files_and_says_its_memory_under_gvisor() -> None:
    async with own_namespace() as (admin, config):
        await needs_gvisor(admin)
        async with running(config) as provider:
            request = {"machine": Machine("shut-in", runtime_class=GVISOR), "limits": SMALL}
            notebook = await start_notebook(provider, "shut-in", **request)
            assert "gvisor" in await notebook.run("import os\nprint(os.uname().release)")
            await notebook.agent.push({"a.txt": b"pushed"})
            assert await notebook.run("print(open('a.txt').read())\nopen('b.txt', 'w').write('made')") == "pushed\n"
            assert (await notebook.agent.pull()).files == {"b.txt": b"made"}
            status = await notebook.agent.status()
            assert status.memory_limit_bytes == SMALL.memory_bytes
            assert 0 < (status.memory_bytes or 0) < SMALL.memory_bytes
            cell = notebook.client.execute("print('on', flush=True)\nwhile True: pass")
            while (await notebook.client.get_iopub_msg(timeout=40))["msg_type"] != "stream":
                pass
            await notebook.agent.interrupt(0)
            reply = await notebook.client.get_shell_msg(timeout=40)
            assert (reply["parent_header"]["msg_id"], reply["content"]["ename"]) == (cell, "KeyboardInterrupt")
            await notebook.close()
            await provider.release("shut-in")


@pytest.mark.django_db(transaction=True)
async def test_memory_that_runs_out_ends_the_whole_sandbox_and_the_work_goes_on_elsewhere_with_its_files() -> None:
    profile = await Profile.objects.acreate(
        slug="shut-in", memory_bytes=SMALL.memory_bytes, home_bytes=SMALL.memory_bytes // 4, runtime_class=GVISOR
    )
    workspace = await Workspace.objects.acreate(profile=profile, account="x")
    async with own_namespace() as (admin, config):
        await needs_gvisor(admin)
        with RuntimesProcess(**site_settings(config)):
            runtime, kernel = await at_work(workspace)
            await run(runtime, kernel, "open('kept.txt', 'w').write('kept')")
            assert await storage.pull(runtime) == ["kept.txt"]
            with pytest.raises(TimeoutError):
                await run(runtime, kernel, "x = bytearray(2 << 30)", timeout=20)
            row = await waiting.until(state_is(runtime, Runtime.State.LOST))
            assert row.reason == Reason.OUT_OF_MEMORY
            again, kernel = await at_work(workspace)
            assert await run(again, kernel, "print(open('kept.txt').read())") == "kept\n"
