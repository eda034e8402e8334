"""A kernel that is not Python's, bash's, in real sandboxes: forked and strict, with the walls of every kernel there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import pytest_asyncio

from runtimes.agent_replies import AgentRefused, ExitReason
from runtimes.kernelspecs import Kernelspec
from runtimes.provider import MIB, Isolation, Limits
from runtimes.sandboxes.config import SandboxConfig
from runtimes.sandboxes.provider import LocalProvider
from tests.runtimes.providers import environment_with_bash, sandbox_config
from tests.runtimes.sandbox.notebook import WAIT, Notebook, start_notebook

pytestmark = [pytest.mark.sandbox, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]
Opener = Callable[..., Any]


@pytest.fixture(scope="module")
def config() -> Iterator[SandboxConfig]:
    with sandbox_config(environment_with_bash().folder.parent) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def open_bash(provider: LocalProvider) -> AsyncIterator[Opener]:
    """A runtime whose kernel 1 is bash's, with a client on it."""
    names: list[str] = []
    opened: list[Notebook] = []

    async def open_one(name: str, **request: Any) -> Notebook:
        names.append(name)
        notebook = await start_notebook(provider, name, **{"kernels": 0, **request})
        opened.append(notebook)
        await notebook.agent.start_kernel(1, kernelspec="bash")
        notebook.client = await notebook.connect(1)
        return notebook

    yield open_one
    for notebook in opened:
        await notebook.close()
    for name in names:
        await provider.release(name)


async def test_it_runs_inside_the_same_walls(open_bash: Opener, isolation: Isolation) -> None:
    notebook = await open_bash(f"walls-{isolation}", isolation=isolation)
    assert await notebook.run("echo $((6 * 7)); pwd; whoami; ls /slots /root 2>/dev/null | wc -l") == (
        "42\n/home/student\nstudent\n0\n"
    )
    assert "Network is unreachable" in await notebook.run("(exec 3<>/dev/tcp/10.0.0.1/80) 2>&1 | cat")
    assert await notebook.run("env | grep -c -i -e secret -e database -e pupitre") == "0\n"


async def test_variables_stay_an_error_is_told_and_an_interrupt_ends_a_cell(open_bash: Opener) -> None:
    notebook = await open_bash("talk")
    assert await notebook.run("answer=42") == ""
    assert await notebook.run("echo $answer; exit_with() { return $1; }") == "42\n"
    reply = await notebook.client.execute_interactive("exit_with 3", timeout=WAIT, output_hook=lambda _message: None)
    assert (reply["content"]["status"], reply["content"]["evalue"]) == ("error", "3")
    running = asyncio.create_task(notebook.run("echo begun; sleep 600"))
    await notebook.agent.interrupt(1)
    await asyncio.wait([running], timeout=1)
    while not running.done():
        # Whether the cell had begun is bash's to know: asked again until it has ended.
        await notebook.agent.interrupt(1)
        await asyncio.wait([running], timeout=1)
    assert await notebook.run("echo $answer") == "42\n"


async def test_many_lines_arrive_all_and_in_order(open_bash: Opener) -> None:
    notebook = await open_bash("lines")
    # bash_kernel reads a terminal, and now and then takes the two characters of a line's end for two ends.
    assert (await notebook.run("seq 3000")).split() == [str(number) for number in range(1, 3001)]


async def test_its_end_is_told_and_a_restart_is_the_same_kernel_anew(open_bash: Opener) -> None:
    notebook = await open_bash("ends")
    await notebook.run("answer=42; echo kept > file")
    state = await notebook.agent.restart_kernel(1, kernelspec="bash")
    assert (state.state, state.restarts) == ("idle", 1)
    notebook.client = await notebook.connect(1)
    assert await notebook.run('echo "$answer" $(cat file)') == " kept\n"
    notebook.client.execute("kill -9 $PPID")
    async for event in notebook.agent.watch():
        if event.kernel is not None and event.kernel.index == 1 and event.kernel.state == "dead":
            assert (event.kernel.exit_reason, event.kernel.exit_status) == (ExitReason.KILLED, -9)
            break


async def test_memory_is_limited_as_for_every_kernel(open_bash: Opener) -> None:
    notebook = await open_bash("memory", limits=Limits(memory_bytes=200 * MIB))
    said = await notebook.run("python3 -c 'x = bytearray(10 ** 9); print(len(x))'; echo $?")
    assert "1000000000" not in said
    assert not said.endswith("\n0\n")


async def test_a_kernel_that_the_environment_lacks_is_refused_by_name(open_bash: Opener) -> None:
    notebook = await open_bash("lacks")
    for name in ("julia-1.10", "../../../../home/student"):
        with pytest.raises(AgentRefused, match="no kernelspec") as refused:
            await notebook.agent.start_kernel(2, kernelspec=name)
        assert refused.value.code == "no-kernelspec"


async def test_a_file_beside_the_notebook_stands_for_no_module_of_the_kernel(open_bash: Opener) -> None:
    notebook = await open_bash("shadow")
    await notebook.agent.push({f"{name}.py": b"raise SystemExit(3)" for name in ("pexpect", "bash_kernel", "json")})
    state = await notebook.agent.start_kernel(2, kernelspec="bash")
    assert state.state == "idle"


async def test_a_program_that_does_not_run_is_told_as_such(open_bash: Opener) -> None:
    notebook = await open_bash("broken")
    with pytest.raises(AgentRefused) as refused:
        await notebook.agent.start_kernel(2, kernelspec="gone")
    assert refused.value.code == "start-failed"
    assert await notebook.run("echo as ever") == "as ever\n"


async def test_python_of_the_same_runtime_is_as_ever(open_bash: Opener, provider: LocalProvider) -> None:
    notebook = await open_bash("both", kernels=1)
    python = await notebook.connect(0)
    await notebook.run("echo from bash > shared")
    assert await notebook.run("print(open('shared').read(), end='')", client=python) == "from bash\n"
    assert provider.kernelspecs("")["bash"] == Kernelspec("bash", "Bash", "bash")
    assert provider.kernelspecs("no such digest") == {}
