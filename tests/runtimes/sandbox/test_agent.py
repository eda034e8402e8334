"""The agent inside a runtime: kernels, files, interrupts; in a forked sandbox and in a strict one alike."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from runtimes.agent.archive import MAX_FILES
from runtimes.agent_client import (
    FILES_AT_ONCE,
    AgentClient,
    AgentEvent,
    AgentRefused,
    AgentUnreachable,
    ExitReason,
    TransferRefused,
)
from runtimes.agent_replies import KernelState
from runtimes.keys import connection_keys
from runtimes.provider import MIB, Isolation, Limits, Phase, Reason
from runtimes.sandboxes.provider import LocalProvider
from tests.runtimes.providers import MASTER
from tests.runtimes.sandbox.conftest import Opener
from tests.runtimes.sandbox.notebook import KILL_AGENT_FOR_EVER, WAIT, Notebook, settled

pytestmark = [pytest.mark.sandbox, pytest.mark.asyncio(loop_scope="module")]


async def busy(notebook: Notebook, code: str) -> str:
    """Starts `code` and returns its message id once the kernel is at it."""
    message = notebook.client.execute(code, stop_on_error=False)
    async with asyncio.timeout(WAIT):
        while True:
            told = await notebook.client.iopub_channel.get_msg(timeout=WAIT)
            if told["msg_type"] == "stream" and told["parent_header"].get("msg_id") == message:
                return message


async def reply(notebook: Notebook, message: str) -> dict[str, Any]:
    while True:
        told = await notebook.client.shell_channel.get_msg(timeout=WAIT)
        if told["parent_header"].get("msg_id") == message:
            content: dict[str, Any] = told["content"]
            return content


async def dead(notebook: Notebook, index: int = 0) -> AgentEvent:
    """The event that kernel `index` died."""
    async with asyncio.timeout(WAIT):
        async for event in notebook.agent.watch():
            if event.kernel is not None and event.kernel.index == index and event.kernel.state == "dead":
                return event
    raise AssertionError("no event")


@asynccontextmanager
async def watched(notebook: Notebook, over: Callable[[list[KernelState]], bool]) -> AsyncIterator[list[KernelState]]:
    """Kernels as the agent tells of them, from the first on; at its end it waits until `over` is true of them."""
    told: list[KernelState] = []

    async def watch() -> None:
        async for event in notebook.agent.watch():
            assert event.kernel is not None
            told.append(event.kernel)
            if over(told):
                return

    watching = asyncio.create_task(watch())
    async with asyncio.timeout(WAIT):
        while not told:
            await asyncio.sleep(0.01)
        yield told
        await watching


async def test_files_come_and_go_through_the_agent(open_notebook: Opener, isolation: Isolation) -> None:
    notebook = await open_notebook("files", isolation=isolation)
    await notebook.agent.push({"data/numbers.csv": b"1,2\n", "ps1.ipynb": b"{}"})
    assert await notebook.run("print(open('data/numbers.csv').read())") == "1,2\n\n"
    assert (await notebook.agent.pull()).files == {}
    await notebook.run("import os; open('out.txt', 'w').write('made'); os.remove('data/numbers.csv')")
    pulled = await notebook.agent.pull()
    assert pulled.files == {"out.txt": b"made"}
    assert pulled.deleted == ("data/numbers.csv",)


async def test_whether_a_file_may_be_run_travels_both_ways_and_nothing_else_of_its_mode(open_notebook: Opener) -> None:
    notebook = await open_notebook("modes")
    files = dict.fromkeys(("tool", "text", "script"), b"#!/bin/sh\necho ran")
    await notebook.agent.push(files, executable={"tool"})
    assert await notebook.value(_MODES) == {"tool": 0o755, "text": 0o644, "script": 0o644}
    assert await notebook.value("import subprocess; R = subprocess.check_output(['./tool'], text=True)") == "ran\n"
    # ctime alone says so.
    await notebook.run("os.chmod('script', 0o4711); os.chmod('tool', 0o644)")
    pulled = await notebook.agent.pull()
    assert (pulled.files.keys(), pulled.executable) == ({"tool", "script"}, {"script"})
    await notebook.agent.acknowledge(pulled.token)
    assert (await notebook.agent.pull()).files == {}
    await notebook.agent.push(pulled.files, executable=pulled.executable)
    assert await notebook.value(_MODES) == {"tool": 0o644, "text": 0o644, "script": 0o755}


_MODES = "import os; R = {name: os.stat(name).st_mode & 0o7777 for name in os.listdir()}"


async def test_a_pull_is_repeated_until_it_is_acknowledged(open_notebook: Opener) -> None:
    notebook = await open_notebook("again")
    await notebook.run("open('result.txt', 'w').write('42')")
    first = await notebook.agent.pull()
    second = await notebook.agent.pull()
    assert first.files == second.files == {"result.txt": b"42"}
    await notebook.agent.acknowledge(second.token)
    assert (await notebook.agent.pull()).files == {}
    await notebook.run("open('result.txt', 'a').write('!')")
    assert (await notebook.agent.pull()).files == {"result.txt": b"42!"}


async def test_a_pull_follows_no_link_and_skips_caches(open_notebook: Opener) -> None:
    notebook = await open_notebook("links")
    await notebook.run(
        "import os\n"
        "os.symlink('/etc/passwd', 'passwd')\n"
        "os.symlink('/etc', 'etc')\n"
        "os.mkfifo('pipe')\n"
        "os.mkdir('__pycache__'); open('__pycache__/x.pyc', 'w').write('x')\n"
        "os.mkdir('.ipynb_checkpoints'); open('.ipynb_checkpoints/a.ipynb', 'w').write('x')\n"
        "open('kept.txt', 'w').write('kept')\n"
        "open(b'bad\\xff', 'w').write('x')\n"
    )
    pulled = await notebook.agent.pull()
    assert pulled.files == {"kept.txt": b"kept"}
    assert {"passwd", "etc", "pipe"} <= set(pulled.skipped)


async def test_a_pull_is_bounded_in_number_and_bytes(open_notebook: Opener) -> None:
    notebook = await open_notebook("bounds")
    await notebook.run("for i in range(5): open(f'{i}.txt', 'w').write('x' * 100)")
    await notebook.run("open('large.bin', 'wb').write(bytes(5000))")
    pulled = await notebook.agent.pull(max_files=3, max_bytes=1000, max_file_bytes=1000)
    assert len(pulled.files) == 3
    assert pulled.more
    assert pulled.skipped == {"large.bin": "too-large"}
    assert pulled.deleted == ()
    await notebook.agent.acknowledge(pulled.token)
    rest = await notebook.agent.pull(max_files=3, max_bytes=1000, max_file_bytes=1000)
    assert len(rest.files) == 2
    assert not rest.more


async def test_what_was_not_taken_is_told_in_the_next_round_of_pulls_and_not_in_this_one(open_notebook: Opener) -> None:
    notebook = await open_notebook("not-taken")
    await notebook.run("for i in range(3): open(f'{i}.txt', 'w').write('x')")
    first = await notebook.agent.pull(max_files=2)
    await notebook.agent.acknowledge(first.token, without=["0.txt", "never-told"])
    rest = await notebook.agent.pull(again=False, max_files=2)
    assert (list(rest.files), rest.more) == (["2.txt"], False)
    await notebook.agent.acknowledge(rest.token)
    assert list((await notebook.agent.pull()).files) == ["0.txt"]


async def test_a_renamed_folder_takes_along_who_works_in_it(open_notebook: Opener, isolation: Isolation) -> None:
    notebook = await open_notebook("renamed", isolation=isolation, kernels=0)
    await notebook.agent.push({"week 1/data.csv": b"1", "one.txt": b"o", "kept.txt": b"k"})
    await notebook.agent.start_kernel(0, cwd="week 1")
    notebook.client = await notebook.connect(0)
    await notebook.run("open('made.txt', 'w').write('by code'); open('data.csv', 'a').write('2')")
    await notebook.agent.rename("week 1", "unit/semaine 1")
    await notebook.agent.rename("one.txt", "two.txt")
    found = await notebook.value("import os; R = [os.getcwd(), open('data.csv').read(), sorted(os.listdir('../..'))]")
    assert found == ["/home/student/unit/semaine 1", "12", ["kept.txt", "two.txt", "unit"]]
    pulled = await notebook.agent.pull()
    assert pulled.files == {"unit/semaine 1/data.csv": b"12", "unit/semaine 1/made.txt": b"by code"}
    assert pulled.deleted == ()
    await notebook.agent.restart_kernel(0, cwd="unit/semaine 1")
    notebook.client = await notebook.connect(0)
    assert await notebook.value("import os; R = os.getcwd()") == "/home/student/unit/semaine 1"


async def test_nothing_is_renamed_over_another_nor_out_of_home(open_notebook: Opener) -> None:
    notebook = await open_notebook("renamed-not")
    await notebook.agent.push({"a/x": b"1", "b": b"2"})
    await notebook.run("import os; os.symlink('/tmp', 'way'); open('made', 'w').write('m')")
    for old, new in (
        ("a", "b"),
        ("b", "a"),
        ("b", "made"),
        ("b", "way"),
        ("none", "c"),
        ("way/.runtime.log", "c"),
        ("../x", "c"),
        ("b", "/tmp/b"),
        ("a", "a/b"),
    ):
        with pytest.raises(AgentRefused):
            await notebook.agent.rename(old, new)
    found = await notebook.value("import os; R = [sorted(os.listdir()), os.listdir('a')]")
    assert found == [["a", "b", "made", "way"], ["x"]]


async def test_a_folder_that_cannot_be_read_is_not_taken_for_an_empty_one(open_notebook: Opener) -> None:
    notebook = await open_notebook("closed")
    await notebook.agent.push({"folder/file.txt": b"precious"})
    await notebook.run("import os; os.chmod('folder', 0)")
    assert (await notebook.agent.pull()).deleted == ()


async def test_any_number_of_small_files_travels_both_ways(open_notebook: Opener) -> None:
    notebook = await open_notebook("many")
    files = {f"data/{number}.txt": b"%d" % number for number in range(MAX_FILES + 1)}
    await notebook.agent.push(files)
    assert await notebook.value("import os; R = len(os.listdir('data'))") == len(files)
    await notebook.run("import shutil; shutil.rmtree('data'); os.mkdir('new')")
    await notebook.run(f"for number in range({len(files)}): open(f'new/{{number}}.txt', 'w').close()")
    gone, made, more = set[str](), dict[str, bytes](), True
    while more:
        pulled = await notebook.agent.pull(again=False)
        gone |= set(pulled.deleted)
        made |= pulled.files
        await notebook.agent.acknowledge(pulled.token)
        more = pulled.more
    assert gone == files.keys()
    assert made == {f"new/{number}.txt": b"" for number in range(len(files))}


@pytest.mark.parametrize("path", ["../up", "/etc/passwd", "a/../../b", "", "a//b", "nul\0"])
async def test_unsafe_names_are_not_pushed(open_notebook: Opener, path: str) -> None:
    notebook = await open_notebook("unsafe", kernels=0)
    with pytest.raises(TransferRefused):
        await notebook.agent.push({**{f"{number}.txt": b"" for number in range(FILES_AT_ONCE)}, path: b"x"})
    with pytest.raises(AgentRefused):
        await notebook.agent.rename("0.txt", "there")


async def test_a_push_does_not_follow_a_link_out_of_home(open_notebook: Opener) -> None:
    notebook = await open_notebook("outside")
    await notebook.run("import os; os.makedirs('/tmp/elsewhere'); os.symlink('/tmp/elsewhere', 'folder')")
    await notebook.agent.push({"folder/file.txt": b"here"})
    assert await notebook.value("import os; R = [os.listdir('/tmp/elsewhere'), os.path.islink('folder')]") == [
        [],
        False,
    ]


async def test_what_is_removed_is_gone_and_never_told_as_changed(open_notebook: Opener, isolation: Isolation) -> None:
    notebook = await open_notebook("removed", isolation=isolation)
    await notebook.agent.push({"data/a.csv": b"1", "data/deep/b.csv": b"2", "kept.txt": b"k", "one.txt": b"o"})
    await notebook.run("open('data/made.txt', 'w').write('by code'); open('one.txt', 'a').write('changed')")
    offered = await notebook.agent.pull()
    await notebook.agent.remove(["data", "one.txt", "never/was.txt", "kept.txt/no-folder"])
    await notebook.agent.acknowledge(offered.token)
    assert await notebook.value("import os; R = sorted(os.listdir())") == ["kept.txt"]
    pulled = await notebook.agent.pull()
    assert (pulled.files, pulled.deleted) == ({}, ())
    await notebook.run("open('one.txt', 'w').write('new')")
    assert (await notebook.agent.pull()).files == {"one.txt": b"new"}


async def test_what_nobody_has_pulled_can_be_left(open_notebook: Opener) -> None:
    notebook = await open_notebook("spared")
    await notebook.agent.push({"data/a.csv": b"1", "data/b.csv": b"2", "data/deep/c.csv": b"3"})
    await notebook.run("open('data/made.txt', 'w').write('by code'); open('data/b.csv', 'a').write('more')")
    await notebook.agent.remove(["data"], only_known=True)
    assert await notebook.value("import os; R = sorted(os.listdir('data'))") == ["b.csv", "made.txt"]
    pulled = await notebook.agent.pull()
    assert (pulled.files, pulled.deleted) == ({"data/b.csv": b"2more", "data/made.txt": b"by code"}, ())


async def test_a_removal_follows_no_link(open_notebook: Opener) -> None:
    notebook = await open_notebook("removed-links")
    await notebook.run(
        "import os\nos.makedirs('/tmp/elsewhere/below'); open('/tmp/elsewhere/file.txt', 'w').write('x')\n"
        "os.symlink('/tmp/elsewhere', 'way'); os.symlink('/tmp/elsewhere', 'link'); os.mkdir('folder')\n"
        "os.symlink('/tmp/elsewhere', 'folder/link'); os.symlink('/tmp/elsewhere/file.txt', 'folder/file')\n"
    )
    await notebook.agent.remove(["way/file.txt", "way/below", "link", "folder"])
    found = await notebook.value("import os; R = [sorted(os.listdir()), sorted(os.listdir('/tmp/elsewhere'))]")
    assert found == [["way"], ["below", "file.txt"]]


@pytest.mark.parametrize("path", ["../up", "/etc/passwd", "a/../../b", "", "a//b", "nul\0", "."])
async def test_unsafe_names_are_not_removed(open_notebook: Opener, path: str) -> None:
    notebook = await open_notebook("unsafe-removal", kernels=0)
    await notebook.agent.push({"kept.txt": b"k"})
    with pytest.raises(AgentRefused) as refused:
        await notebook.agent.remove(["kept.txt", path])
    assert refused.value.code == "unsafe-path"
    await notebook.agent.push({"b": b""})
    assert (await notebook.agent.pull()).deleted == ()


async def test_a_full_home_is_told_as_such(open_notebook: Opener) -> None:
    notebook = await open_notebook("full", kernels=0, limits=Limits(home_bytes=2 * MIB))
    with pytest.raises(AgentRefused) as refused:
        await notebook.agent.push({"large.bin": bytes(4 * MIB)})
    assert refused.value.code == "full"
    assert (await notebook.agent.pull()).files == {}


async def test_ten_megabytes_travel_both_ways(open_notebook: Opener) -> None:
    notebook = await open_notebook("large")
    content = bytes(range(256)) * 4096 * 10
    await notebook.agent.push({"in.bin": content})
    await notebook.run("open('out.bin', 'wb').write(open('in.bin', 'rb').read()[::-1])")
    assert (await notebook.agent.pull()).files == {"out.bin": content[::-1]}


async def test_a_forked_kernel_need_not_read_the_builtins_to_complete(open_notebook: Opener) -> None:
    notebook = await open_notebook("completing")
    # What the completer reads itself, it keeps in a folder: there is none before it has met another module.
    cached = "import jedi, os; R = os.path.exists(jedi.settings.cache_directory)"
    for text, match, read in (("'a'.jo", "join", False), ("from tarfile import TarF", "TarFile", True)):
        notebook.client.complete(text, len(text))
        told = await notebook.client.shell_channel.get_msg(timeout=WAIT)
        assert match in told["content"]["matches"]
        assert await notebook.value(cached) is read


async def test_a_second_kernel_sees_the_same_files(open_notebook: Opener, isolation: Isolation) -> None:
    notebook = await open_notebook("two", isolation=isolation)
    state = await notebook.agent.start_kernel(3)
    assert (state.index, state.state) == (3, "idle")
    other = await notebook.connect(3)
    await notebook.run("open('shared.txt', 'w').write('from the first')")
    assert await notebook.run("print(open('shared.txt').read())", client=other) == "from the first\n"
    assert await notebook.run("x = 1", client=other) == ""
    assert "NameError" in await notebook.run("x")


async def test_starting_a_running_kernel_again_changes_nothing(open_notebook: Opener) -> None:
    notebook = await open_notebook("twice")
    await notebook.run("x = 5")
    assert (await notebook.agent.start_kernel(0)).restarts == 0
    assert await notebook.run("print(x)") == "5\n"


async def test_a_kernel_starts_in_its_folder_with_its_environment(open_notebook: Opener, isolation: Isolation) -> None:
    notebook = await open_notebook("folder", kernels=0, isolation=isolation, env={"COURSE": "one", "BOTH": "request"})
    await notebook.agent.push({"week1/ps1.ipynb": b"{}"})
    await notebook.agent.start_kernel(0, env={"BOTH": "kernel"}, cwd="week1")
    notebook.client = await notebook.connect(0)
    found = await notebook.value(
        "import os; R = [os.getcwd(), os.environ['COURSE'], os.environ['BOTH'], os.environ['HOME']]"
    )
    assert found == ["/home/student/week1", "one", "kernel", "/home/student"]


async def test_a_folder_outside_home_is_not_entered(open_notebook: Opener) -> None:
    notebook = await open_notebook("escape", kernels=0)
    await notebook.agent.start_kernel(0, cwd="../../etc")
    notebook.client = await notebook.connect(0)
    assert await notebook.value("import os; R = os.getcwd()") == "/home/student"


@pytest.mark.parametrize("code", ["while True: pass", "import time; time.sleep(3600)", "while True: print('x')"])
async def test_an_interrupt_stops_the_running_cell(open_notebook: Opener, isolation: Isolation, code: str) -> None:
    notebook = await open_notebook("interrupted", isolation=isolation)
    message = await busy(notebook, f"print('go', flush=True)\n{code}")
    await notebook.agent.interrupt(0)
    assert (await reply(notebook, message))["ename"] == "KeyboardInterrupt"
    assert (await notebook.run("print('alive')")).endswith("alive\n")


async def test_a_message_interrupts_too(open_notebook: Opener, isolation: Isolation) -> None:
    notebook = await open_notebook("by-message", isolation=isolation)
    message = await busy(notebook, "print('go', flush=True)\nwhile True: pass")
    client = notebook.client
    client.control_channel.send(client.session.msg("interrupt_request", {}))
    assert (await reply(notebook, message))["ename"] == "KeyboardInterrupt"


async def test_a_busy_kernel_blocks_neither_files_nor_another_kernel(
    open_notebook: Opener, isolation: Isolation
) -> None:
    notebook = await open_notebook("busy", isolation=isolation)
    await busy(notebook, "print('go', flush=True)\nwhile True: pass")
    await notebook.agent.push({"late.txt": b"x"})
    await notebook.agent.start_kernel(1)
    assert await notebook.run("print(open('late.txt').read())", client=await notebook.connect(1)) == "x\n"
    assert (await notebook.agent.status()).kernels[0].state == "busy"


async def test_a_restart_forgets_variables_and_keeps_files(open_notebook: Opener, isolation: Isolation) -> None:
    notebook = await open_notebook("restarted", isolation=isolation)
    await notebook.run("x = 1; open('kept.txt', 'w').write('kept')")
    state = await notebook.agent.restart_kernel(0)
    assert (state.state, state.restarts) == ("idle", 1)
    notebook.client = await notebook.connect(0)
    assert "NameError" in await notebook.run("print(x)")
    assert await notebook.run("print(open('kept.txt').read())") == "kept\n"


async def test_a_restart_ends_an_endless_cell_and_its_children(open_notebook: Opener, isolation: Isolation) -> None:
    notebook = await open_notebook("endless", isolation=isolation)
    await busy(
        notebook,
        "import signal, subprocess\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen(['sleep', '3600'])\nprint('go', flush=True)\nwhile True: pass",
    )
    await notebook.agent.restart_kernel(0)
    notebook.client = await notebook.connect(0)
    found = await notebook.value(
        "import os\nR = [open(f'/proc/{p}/cmdline').read() for p in os.listdir('/proc') if p.isdigit()]\n"
        "R = any('sleep' in line for line in R)"
    )
    assert found is False


async def test_a_stopped_kernel_is_gone_and_the_runtime_stays(open_notebook: Opener) -> None:
    notebook = await open_notebook("stopped")
    await notebook.run("open('kept.txt', 'w').write('kept')")
    await notebook.agent.stop_kernel(0)
    assert (await notebook.agent.status()).kernels == ()
    await notebook.agent.stop_kernel(0)
    assert (await notebook.agent.pull()).files == {"kept.txt": b"kept"}


@pytest.mark.parametrize(
    ("code", "reason", "status"),
    [
        ("import os; os._exit(7)", ExitReason.EXITED, 7),
        ("import ctypes; ctypes.string_at(0)", ExitReason.CRASHED, -signal.SIGSEGV),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", ExitReason.KILLED, -signal.SIGKILL),
    ],
)
async def test_the_death_of_a_kernel_is_told_with_its_reason(
    open_notebook: Opener, isolation: Isolation, code: str, reason: ExitReason, status: int
) -> None:
    notebook = await open_notebook("dying", isolation=isolation)
    waiting = asyncio.create_task(dead(notebook))
    await asyncio.sleep(0)
    notebook.client.execute(code)
    event = await waiting
    assert event.kernel is not None
    assert (event.kernel.exit_reason, event.kernel.exit_status) == (reason, status)
    await notebook.agent.restart_kernel(0)
    assert await notebook.run("print('back')", client=await notebook.connect(0)) == "back\n"


async def test_a_restart_is_not_told_as_a_death(open_notebook: Opener) -> None:
    """Who hears of it late, when the new life has begun, would take it for the end of that."""
    notebook = await open_notebook("no-death")
    async with watched(notebook, lambda told: (told[-1].restarts, told[-1].state) == (1, "idle")) as told:
        await notebook.agent.restart_kernel(0)
    assert "dead" not in {kernel.state for kernel in told}


async def test_watching_tells_busy_and_idle(open_notebook: Opener) -> None:
    notebook = await open_notebook("watched")
    async with watched(notebook, lambda told: [kernel.state for kernel in told[-2:]] == ["busy", "idle"]):
        await notebook.run("1 + 1")
    assert (await notebook.agent.status()).idle_seconds < WAIT


async def test_a_killed_agent_comes_back_and_knows_its_kernels(open_notebook: Opener) -> None:
    """Student code can kill the supervisor, not pid 1, which starts another: disk and kernels are still there."""
    notebook = await open_notebook("killed-agent")
    await notebook.agent.start_kernel(1)
    await notebook.run("open('kept.txt', 'w').write('kept'); x = 1\nimport os; os.kill(-1, 9)")
    async with AgentClient(notebook.endpoint, notebook.keys) as again, asyncio.timeout(WAIT):
        # The one that has just come back may not have met its dead yet.
        while (status := await again.status()).kernels[1].state != "dead":
            await asyncio.sleep(0.1)
        assert [kernel.state for kernel in status.kernels] == ["idle", "dead"]
        assert status.kernels[1].exit_reason is ExitReason.KILLED
        assert (await again.pull()).files == {"kept.txt": b"kept"}
        await again.start_kernel(1)
    assert await notebook.run("print(x)") == "1\n"
    assert await notebook.run("print(open('kept.txt').read())", client=await notebook.connect(1)) == "kept\n"


async def test_a_runtime_whose_agent_is_killed_for_ever_ends(provider: LocalProvider, open_notebook: Opener) -> None:
    notebook = await open_notebook("killing")
    notebook.client.execute(KILL_AGENT_FOR_EVER)
    status = await settled(provider, "killing", Phase.LOST)
    assert status.reason is Reason.KERNEL_CRASH


async def test_an_agent_answers_only_who_holds_its_keys(open_notebook: Opener) -> None:
    notebook = await open_notebook("locked", kernels=0)
    stranger = connection_keys(MASTER, 1, "another identity")
    half = type(stranger)(stranger.hmac_key, notebook.keys.curve_public, notebook.keys.curve_secret)
    for keys in (stranger, half):
        async with AgentClient(notebook.endpoint, keys) as client:
            with pytest.raises(AgentUnreachable):
                await client._ask("status", timeout=0.5)
    assert (await notebook.agent.status()).kernels == ()


async def test_an_unknown_verb_or_kernel_is_refused(open_notebook: Opener) -> None:
    notebook = await open_notebook("odd", kernels=0)
    for verb, arguments in (
        ("dance", {}),
        ("interrupt", {"index": 99}),
        ("interrupt", {}),
        ("restart_kernel", {"index": 4}),
    ):
        with pytest.raises(AgentRefused):
            await notebook.agent._ask(verb, **arguments)


async def test_a_kernel_that_dies_at_its_start_is_an_answer(open_notebook: Opener, isolation: Isolation) -> None:
    notebook = await open_notebook("stillborn", isolation=isolation)
    await notebook.run("import os; os.makedirs('/run/nb/k1-1/in-its-way')")
    with pytest.raises(AgentRefused) as refused:
        await notebook.agent.start_kernel(1, timeout=WAIT)
    assert refused.value.code == "start-failed"
