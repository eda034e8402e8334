"""The `runtimes` process with real sandboxes: launched, killed, restarted. Nothing leaks, no work is lost."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from asgiref.sync import sync_to_async

from runtimes import launch, storage
from runtimes.agent.archive import MAX_FILES
from runtimes.models import MIB, Kernel, Runtime, Usage, Workspace
from runtimes.provider import Reason
from tests.runtimes.process import RuntimesProcess
from tests.runtimes.waiting import at_work, run, state_is, until

pytestmark = [pytest.mark.sandbox, pytest.mark.kill, pytest.mark.django_db(transaction=True)]
State = Runtime.State


@pytest.fixture
def process():
    """One that each test starts itself."""
    one = RuntimesProcess()
    yield one
    one.__exit__()
    print(one.output)


def sandboxes_of(run_dir) -> list[int]:
    """This test's sandbox processes, found by looking at the whole machine."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (process / "cmdline").read_bytes()
            if b"bwrap" in words and str(run_dir).encode() in words:
                found.append(int(process.name))
    return found


async def test_a_launched_kernel_runs_code_on_the_workspaces_files_and_what_it_writes_is_kept(process, workspace):
    process.start()
    await storage.awrite(workspace, "d/x.txt", b"from the site", source="saved")
    runtime = await launch.ready(await launch.alaunch(workspace), timeout=60)
    kernel = await launch.astart_kernel(runtime)
    assert await run(runtime, kernel, "print(open('d/x.txt').read())") == "from the site\n"
    await run(runtime, kernel, "open('d/out.txt', 'w').write('from code')")
    assert await storage.pull(runtime) == ["d/out.txt"]
    await run(runtime, kernel, "open('d/late.txt', 'w').write('later')")
    await launch.astop(runtime)
    await until(state_is(runtime, State.STOPPED))
    kept = {row.path: await storage.aread(row.blob) for row in await storage.afiles(workspace)}
    assert kept == {"d/x.txt": b"from the site", "d/out.txt": b"from code", "d/late.txt": b"later"}
    assert (await Usage.objects.aget()).wall_seconds > 0


async def test_work_of_any_number_of_small_files_starts(process, profile, workspace):
    # On a disk of memory, each takes a page of it.
    profile.home_bytes, profile.memory_bytes = 128 * MIB, 512 * MIB
    await profile.asave()
    files = {f"data/{number}.txt": b"%d" % (number % 10) for number in range(MAX_FILES + 1)}
    await storage.afill(workspace, await storage.asnapshot_of(files))
    process.start()
    runtime = await launch.ready(await launch.alaunch(workspace), timeout=180)
    kernel = await launch.astart_kernel(runtime)
    assert await run(runtime, kernel, "import os; print(len(os.listdir('data')))") == f"{len(files)}\n"
    assert await storage.pull(runtime) == []


async def test_an_idle_sandbox_is_stopped_with_its_files_and_a_busy_one_is_not(process, profile, workspace):
    # Enough for a cell to begin in what is ready.
    profile.idle_timeout = timedelta(seconds=10)
    await profile.asave()
    process.start()
    other = await Workspace.objects.acreate(profile=profile, account="course-1", title="Ben: ps1")
    busy, working = await at_work(other)
    begun = asyncio.Event()
    endless = "print('begun', flush=True)\nimport time\nwhile True: time.sleep(1)"
    works = asyncio.create_task(run(busy, working, endless, timeout=180, begun=begun))
    await asyncio.wait_for(begun.wait(), 40)
    # Only now: whenever this one is stopped, the other has been at it for longer.
    idle, kernel = await at_work(workspace)
    await run(idle, kernel, "open('kept.txt', 'w').write('typed')")
    stopped = await until(state_is(idle, State.STOPPED))
    assert stopped.reason == Reason.IDLE
    assert [row.path for row in await storage.afiles(workspace)] == ["kept.txt"]
    assert not works.done()
    assert (await Runtime.objects.aget(pk=busy.pk)).state == State.READY
    await launch.ainterrupt(working)
    assert "KeyboardInterrupt" in await works


async def test_two_kernels_of_one_runtime_share_a_disk_and_restart_and_interrupt_apart(process, workspace):
    process.start()
    runtime = await launch.alaunch(workspace)
    first, second = await launch.astart_kernel(runtime), await launch.astart_kernel(runtime)
    first, second = [await launch.kernel_ready(kernel, timeout=60) for kernel in (first, second)]
    runtime = first.runtime
    await run(runtime, first, "x = 1; open('shared', 'w').write('x')")
    assert await run(runtime, second, "print(open('shared').read())") == "x\n"
    begun = asyncio.Event()
    endless = "print('begun', flush=True)\nimport time\nwhile True: time.sleep(1)"
    sleeping = asyncio.create_task(run(runtime, second, endless, begun=begun))
    await asyncio.wait_for(begun.wait(), 40)
    await launch.ainterrupt(second)
    assert "KeyboardInterrupt" in await sleeping
    first = await launch.arestart(first)
    assert "NameError" in await run(runtime, first, "x")
    assert await run(runtime, first, "print(open('shared').read())") == "x\n"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", Reason.KERNEL_CRASH),
        ("import os; os._exit(3)", Reason.KERNEL_CRASH),
        ("b = bytearray(10**9); b[:] = b'x' * 10**9", Reason.OUT_OF_MEMORY),
    ],
)
async def test_a_kernel_that_dies_in_a_cell_says_why_and_starts_again_with_the_files(process, workspace, code, reason):
    process.start()
    runtime = await launch.ready(await launch.alaunch(workspace), timeout=60)
    kernel = await launch.astart_kernel(runtime)
    await run(runtime, kernel, "open('kept', 'w').write('kept')")
    dying = asyncio.create_task(run(runtime, kernel, code))
    row = await until(lambda: Kernel.objects.filter(pk=kernel.pk, state=Kernel.State.DEAD).first())
    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)
    assert row.reason == reason
    assert await sync_to_async(launch.sentence)(row)
    kernel = await launch.arestart(row)
    assert await run(runtime, kernel, "print(open('kept').read())") == "kept\n"


async def test_after_kill_9_with_live_kernels_rows_settle_and_a_new_launch_has_the_files(process, workspace, run_dir):
    process.start()
    runtime = await launch.ready(await launch.alaunch(workspace), timeout=60)
    kernel = await launch.astart_kernel(runtime)
    await run(runtime, kernel, "open('kept', 'w').write('kept')")
    await storage.pull(runtime)
    await asyncio.to_thread(process.kill)
    await asyncio.to_thread(process.start)
    lost = await until(state_is(runtime, State.LOST))
    assert lost.reason == Reason.OWNER_GONE
    assert (await Kernel.objects.aget()).state == Kernel.State.DEAD
    again = await launch.ready(await launch.alaunch(workspace), timeout=60)
    kernel = await launch.astart_kernel(again)
    assert await run(again, kernel, "print(open('kept').read())") == "kept\n"
    await asyncio.to_thread(process.stop)
    assert await asyncio.to_thread(sandboxes_of, run_dir) == []


async def test_after_kill_9_mid_launch_the_launch_succeeds_and_nothing_is_left_twice(process, workspace, run_dir):
    process.start()
    runtime = await launch.alaunch(workspace)
    await until(state_is(runtime, State.STARTING, State.READY))
    await asyncio.to_thread(process.kill)
    await Runtime.objects.filter(pk=runtime.pk, state=State.READY).aupdate(state=State.STARTING)
    await asyncio.to_thread(process.start)
    ready = await launch.ready(runtime, timeout=60)
    kernel = await launch.astart_kernel(ready)
    assert await run(ready, kernel, "print(1 + 1)") == "2\n"
    await asyncio.to_thread(process.stop)
    assert await asyncio.to_thread(sandboxes_of, run_dir) == []
    assert await sync_to_async(lambda: list(Runtime.objects.values_list("state", flat=True)))() == [State.STOPPED]


async def test_sigterm_pulls_files_ends_sandboxes_and_settles_rows(process, workspace, run_dir):
    process.start()
    runtime = await launch.ready(await launch.alaunch(workspace), timeout=60)
    kernel = await launch.astart_kernel(runtime)
    await run(runtime, kernel, "open('kept', 'w').write('kept')")
    assert await asyncio.to_thread(process.stop) == 0
    row = await Runtime.objects.aget()
    assert (row.state, row.reason) == (State.STOPPED, Reason.OWNER_GONE)
    assert [file.path for file in await storage.afiles(workspace)] == ["kept"]
    assert await asyncio.to_thread(sandboxes_of, run_dir) == []


async def test_a_second_process_says_that_there_is_one_already(process, settings):
    if settings.DATABASES["default"]["ENGINE"].endswith("postgresql"):
        pytest.skip("there it waits for the lease")
    process.start()
    with pytest.raises(AssertionError, match="runs already"):
        RuntimesProcess().start()


async def test_a_sandbox_that_is_killed_from_outside_is_lost_and_replaced(process, workspace, run_dir):
    process.start()
    runtime = await launch.ready(await launch.alaunch(workspace), timeout=60)
    pids = await asyncio.to_thread(sandboxes_of, run_dir)
    assert pids
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    row = await until(state_is(runtime, State.LOST))
    assert launch.sentence(row)
    assert (await launch.ready(await launch.alaunch(workspace), timeout=60)).pk != runtime.pk
