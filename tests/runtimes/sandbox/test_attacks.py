"""Hostile code stays in its sandbox: forked and strict alike. Traffic goes to loopback alone."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from runtimes.agent_client import AgentUnreachable
from runtimes.provider import GIB, MIB, Isolation, Limits, Phase, Reason, UnknownRuntime
from runtimes.sandboxes import cgroups
from runtimes.sandboxes.config import SandboxConfig
from runtimes.sandboxes.provider import LocalProvider
from tests.runtimes.sandbox.attacks import ATTACKS, PREAMBLE, Attack
from tests.runtimes.sandbox.conftest import Opener
from tests.runtimes.sandbox.notebook import (
    WAIT,
    Notebook,
    attempt,
    close_notebooks,
    descendants,
    ready_client,
    start_notebook,
)

pytestmark = [pytest.mark.sandbox, pytest.mark.asyncio(loop_scope="module")]
HAS_CGROUPS = {"memory", "pids", "cpu"} <= cgroups.find().controllers
needs_cgroups = pytest.mark.skipif(
    not HAS_CGROUPS, reason="NO CONTROL GROUPS HERE: limits of a whole sandbox not tested"
)
NAMESPACES = {"user", "pid", "mnt", "net", "ipc", "uts"}
SMALL = Limits(memory_bytes=300 * MIB, processes=64, tmp_bytes=32 * MIB, home_bytes=64 * MIB)


@pytest.fixture(scope="module", params=list(Isolation), ids=str)
def kind(request: pytest.FixtureRequest) -> Isolation:
    chosen: Isolation = request.param
    return chosen


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def victim(provider: LocalProvider, kind: Isolation) -> AsyncIterator[Notebook]:
    name = f"victim-{kind}"
    notebook = await start_notebook(provider, name, isolation=kind, limits=SMALL)
    await notebook.run(
        "secret = 'of the victim'\nfor p in ('/tmp/victim', '/dev/shm/victim', 'victim'): open(p, 'w').write('x')"
    )
    yield notebook
    assert await notebook.run("print(secret)") == "of the victim\n"
    await notebook.close()
    await provider.release(name)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def attacker(provider: LocalProvider, kind: Isolation, victim: Notebook) -> AsyncIterator[Notebook]:
    name = f"attacker-{kind}"
    notebook = await start_notebook(provider, name, isolation=kind, limits=SMALL, preload=("numpy",))
    await notebook.run(PREAMBLE)
    yield notebook
    await notebook.close()
    await provider.release(name)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.sentence.replace(" ", "_"))
async def test_attack(attack: Attack, attacker: Notebook, victim: Notebook, host_port: int) -> None:
    found = await attempt(attack, attacker, victim, host_port)
    assert attack.fails(found), found


def namespaces_of_this_process() -> dict[str, str]:
    return {path.name: str(path.readlink()) for path in Path("/proc/self/ns").iterdir()}


async def test_every_namespace_is_another_than_the_hosts_and_my_neighbours(
    attacker: Notebook, victim: Notebook
) -> None:
    code = "import os\nR = {name: os.readlink(f'/proc/self/ns/{name}') for name in os.listdir('/proc/self/ns')}"
    mine, theirs = await attacker.value(code), await victim.value(code)
    hosts = namespaces_of_this_process()
    assert mine.keys() >= NAMESPACES
    assert [name for name in sorted(NAMESPACES) if mine[name] in (hosts[name], theirs[name])] == []


async def test_a_client_with_my_keys_gets_nothing_from_another_sandbox(attacker: Notebook, victim: Notebook) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.0):
            await ready_client(victim.endpoint, attacker.keys)


async def test_siblings_do_not_share_random_numbers(attacker: Notebook, victim: Notebook) -> None:
    code = "import random, numpy, os\nR = [random.random(), float(numpy.random.rand()), os.urandom(4).hex()]"
    mine, theirs = await attacker.value(code), await victim.value(code)
    assert not set(mine) & set(theirs)


async def test_the_temporary_folder_is_limited(attacker: Notebook) -> None:
    written = await attacker.value(_fill("/tmp/big"))
    assert written * MIB <= SMALL.tmp_bytes


async def test_home_is_limited_and_pays_with_my_own_memory(attacker: Notebook) -> None:
    written = await attacker.value(_fill("/home/student/big"))
    assert written * MIB <= SMALL.home_bytes


def _fill(path: str) -> str:
    return (
        f"R = 0\nimport os\ntry:\n    f = open('{path}', 'wb')\n    while R < 1000:\n"
        f"        f.write(b'x' * (1 << 20)); f.flush(); R += 1\nexcept OSError: pass\n"
        f"try: f.close()\nexcept OSError: pass\nos.remove('{path}')"
    )


async def test_one_file_cannot_grow_for_ever(open_notebook: Opener, kind: Isolation) -> None:
    limits = Limits(file_bytes=2 * MIB, home_bytes=8 * MIB)
    notebook = await open_notebook("file-size", isolation=kind, limits=limits)
    said = await notebook.run("import os\nopen('x', 'wb').write(bytes(4 << 20))")
    assert "File too large" in said


async def test_a_fork_bomb_stops_at_the_limit(attacker: Notebook) -> None:
    made = await attacker.value(
        "R = 0\nchildren = []\nwhile R < 2000:\n    try: pid = os.fork()\n    except OSError: break\n"
        "    if pid == 0:\n        time.sleep(60); os._exit(0)\n    children.append(pid); R += 1\n"
        "for pid in children: os.kill(pid, 9); os.waitpid(pid, 0)"
    )
    assert 0 < made < SMALL.processes


async def test_a_thread_bomb_stops_at_the_limit(attacker: Notebook) -> None:
    made = await attacker.value(
        "R = 0\nstop = threading.Event()\nwhile R < 2000:\n"
        "    try: threading.Thread(target=stop.wait).start(); R += 1\n"
        "    except RuntimeError: break\nstop.set()"
    )
    assert 0 < made < SMALL.processes


async def test_a_live_fork_bomb_does_not_keep_others_from_starting(
    provider: LocalProvider, open_notebook: Opener, kind: Isolation
) -> None:
    bomb = await open_notebook("bomb", isolation=kind, limits=SMALL)
    bomb.client.execute("import os\nwhile True:\n    try: os.fork()\n    except OSError: pass")
    other = await open_notebook("other", isolation=kind, limits=SMALL)
    assert await other.run("print(1 + 1)") == "2\n"
    await provider.release("bomb")
    assert (await provider.status("other")).phase is Phase.READY


@needs_cgroups
async def test_a_memory_bomb_dies_alone_and_is_told_as_out_of_memory(open_notebook: Opener, kind: Isolation) -> None:
    notebook = await open_notebook("memory", isolation=kind, limits=Limits(memory_bytes=200 * MIB, home_bytes=16 * MIB))
    await notebook.run("open('kept.txt', 'w').write('kept')")
    events = notebook.agent.watch()
    await anext(events)
    notebook.client.execute("x = []\nwhile True: x.append(bytearray(10 << 20))")
    async for event in events:
        if event.kernel is not None and event.kernel.state == "dead":
            assert event.kernel.exit_reason == "out of memory"
            break
    await events.aclose()
    assert (await notebook.agent.pull()).files == {"kept.txt": b"kept"}
    status = await notebook.agent.status()
    assert status.oom_kills >= 1
    assert status.memory_limit_bytes == 200 * MIB
    assert status.memory_bytes is not None
    assert status.memory_bytes < 200 * MIB


async def test_without_control_groups_memory_is_still_limited(own_config: SandboxConfig, kind: Isolation) -> None:
    provider = LocalProvider(replace(own_config, cgroups=False))
    await provider.start()
    try:
        notebook = await start_notebook(
            provider, "rlimits", isolation=kind, limits=Limits(memory_bytes=300 * MIB, processes=40)
        )
        said = await notebook.run("x = []\nwhile True: x.append(bytearray(10 << 20))")
        assert "MemoryError" in said
        made = await notebook.value(
            "x = None\nimport threading\nR = 0\nstop = threading.Event()\nwhile R < 500:\n"
            "    try: threading.Thread(target=stop.wait).start(); R += 1\n    except RuntimeError: break\nstop.set()"
        )
        assert 0 < made < 40
        held = (await provider.status("rlimits")).isolation
        assert {"memory-rlimit", "processes-rlimit", "cpu-none"} <= set(held)
        await notebook.close()
    finally:
        await close_notebooks(provider)
        await provider.close()


@needs_cgroups
@pytest.mark.parametrize("folder", ["/tmp", "/run/nb", "/home/student"])
async def test_files_are_paid_with_the_sandboxes_own_memory(
    provider: LocalProvider, open_notebook: Opener, kind: Isolation, folder: str
) -> None:
    """Also in the folder of sockets, the only one that the host shares with a sandbox."""
    limits = Limits(memory_bytes=200 * MIB, home_bytes=GIB, tmp_bytes=GIB)
    notebook = await open_notebook("charged", isolation=kind, limits=limits)
    notebook.client.execute(
        f"for i in range(400):\n    with open(f'{folder}/{{i}}', 'wb') as f: f.write(bytes(1 << 20))"
    )
    assert await out_of_memory(provider, notebook)


async def out_of_memory(provider: LocalProvider, notebook: Notebook) -> bool:
    """True once something in the runtime was killed for want of memory, or the whole runtime was."""
    async with asyncio.timeout(WAIT):
        while not (status := await provider.status(notebook.name)).phase.final:
            with contextlib.suppress(AgentUnreachable):
                if (await notebook.agent.status()).oom_kills:
                    return True
            await asyncio.sleep(0.02)
    return status.reason is Reason.OUT_OF_MEMORY


@needs_cgroups
async def test_processor_time_is_limited(open_notebook: Opener, kind: Isolation) -> None:
    notebook = await open_notebook("cpu", isolation=kind, limits=Limits(cpu_cores=0.5))
    share = await notebook.value(
        "import time\nbegan, used = time.perf_counter(), time.process_time()\n"
        "while time.perf_counter() - began < 1.5: pass\n"
        "R = (time.process_time() - used) / (time.perf_counter() - began)"
    )
    assert share < 0.75


async def test_a_daemon_ends_with_its_sandbox(provider: LocalProvider, open_notebook: Opener, kind: Isolation) -> None:
    before = descendants(os.getpid())
    notebook = await open_notebook("daemon", isolation=kind)
    await notebook.run(
        "import os, signal, time\npid = os.fork()\nif pid == 0:\n    os.setsid()\n    if os.fork(): os._exit(0)\n"
        "    signal.signal(15, signal.SIG_IGN); signal.signal(1, signal.SIG_IGN)\n"
        "    time.sleep(600)\nos.waitpid(pid, 0)"
    )
    assert len(descendants(os.getpid()) - before) >= 4
    await provider.release("daemon")
    assert descendants(os.getpid()) - before == set()


async def test_a_sandbox_that_runs_out_of_processes_can_still_be_ended(
    provider: LocalProvider, open_notebook: Opener, kind: Isolation
) -> None:
    notebook = await open_notebook("endless", isolation=kind, limits=SMALL)
    notebook.client.execute(
        "import os, signal\nsignal.signal(15, signal.SIG_IGN)\n"
        "while True:\n    try: os.fork()\n    except OSError: pass"
    )
    await provider.release("endless")
    with pytest.raises(UnknownRuntime):
        await provider.status("endless")
