"""What a provider leaves behind when it is killed, and what its successor does about it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from runtimes.provider import Isolation, Phase, ProviderUnavailable, Reason, Request
from runtimes.sandboxes import slots
from runtimes.sandboxes.config import SandboxConfig
from runtimes.sandboxes.provider import LocalProvider
from tests.runtimes.sandbox.notebook import WAIT, close_notebooks, descendants, settled, start_notebook

pytestmark = [pytest.mark.sandbox, pytest.mark.kill]


@contextmanager
def owner(config: SandboxConfig) -> Iterator[subprocess.Popen[str]]:
    """Another process that owns two runtimes and a warm one."""
    arguments = [str(config.run_dir), str(config.environments_dir), str(config.uid)]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.runtimes.sandbox.owner", *arguments],
        cwd=Path(__file__).parents[3],
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "OWNED\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def living() -> set[int]:
    """Every process on this host."""
    return {int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()}


def traces(config: SandboxConfig, groups: list[str]) -> list[Path]:
    """What is left of sandboxes on this host."""
    slot_folders = list(config.slots.iterdir()) if config.slots.exists() else []
    folders = [*slot_folders, *config.records.iterdir()]
    return folders + [Path(group) for group in groups if Path(group).exists()]


async def gone(pids: set[int]) -> None:
    """Returns when none of the processes exists."""
    async with asyncio.timeout(WAIT):
        while pids & living():
            await asyncio.sleep(0.02)


async def test_killing_the_owner_ends_every_sandbox_and_its_successor_removes_every_trace(
    own_config: SandboxConfig,
) -> None:
    with owner(own_config) as process:
        below = descendants(process.pid)
        assert len(below) >= 10
        left = slots.found(own_config)
        assert len(left) == 3
        process.send_signal(signal.SIGKILL)
        process.wait()
        await gone(below)
    groups = [group for slot in left for group in slot.groups]
    successor = LocalProvider(own_config)
    await successor.start()
    try:
        assert await successor.owned() == []
        assert traces(own_config, groups) == []
        await start_and_release(successor)
    finally:
        await close_notebooks(successor)
        await successor.close()


async def start_and_release(provider: LocalProvider) -> None:
    notebook = await start_notebook(provider, "after")
    assert await notebook.run("print('works')") == "works\n"
    await notebook.close()
    await provider.release("after")


async def test_two_owners_of_one_folder_are_refused(own_config: SandboxConfig) -> None:
    with owner(own_config) as process:
        rival = LocalProvider(own_config)
        with pytest.raises(ProviderUnavailable, match="another process"):
            await rival.start()
        await rival.close()
        assert process.poll() is None
        assert len(slots.found(own_config)) == 3


async def test_closing_leaves_no_process_folder_or_group(own_config: SandboxConfig) -> None:
    before = descendants(os.getpid())
    provider = LocalProvider(own_config)
    await provider.start()
    for isolation in Isolation:
        await provider.acquire(Request(f"closing-{isolation}", kernels=1, isolation=isolation))
        await settled(provider, f"closing-{isolation}")
    groups = [group for slot in slots.found(own_config) for group in slot.groups]
    await provider.close()
    await gone(descendants(os.getpid()) - before)
    assert traces(own_config, groups) == []


async def test_a_killed_fork_server_ends_its_sandboxes_and_is_replaced(own_config: SandboxConfig) -> None:
    provider = LocalProvider(own_config)
    await provider.start()
    try:
        await provider.acquire(Request("orphan", kernels=1))
        await provider.acquire(Request("other", isolation=Isolation.STRICT))
        await settled(provider, "orphan")
        await settled(provider, "other")
        assert provider._starter is not None
        environment = own_config.kernel_environments()[0]
        server = provider._starter.servers.ready(environment, ())
        assert server is not None
        os.kill(server.pid, signal.SIGKILL)
        status = await settled(provider, "orphan", Phase.LOST)
        assert (status.phase, status.reason) == (Phase.LOST, Reason.ERROR)
        assert (await provider.status("other")).phase is Phase.READY
        await start_and_release(provider)
    finally:
        await close_notebooks(provider)
        await provider.close()


async def test_a_server_of_an_old_environment_ends_with_its_last_sandbox(own_config: SandboxConfig) -> None:
    provider = LocalProvider(own_config)
    await provider.start()
    try:
        await provider.acquire(Request("old"))
        await settled(provider, "old")
        assert provider._starter is not None
        servers = provider._starter.servers
        server = servers.ready(own_config.kernel_environments()[0], ())
        assert server is not None
        servers.drain(keep=set())
        assert (await provider.status("old")).phase is Phase.READY
        assert server.alive
        await provider.release("old")
        async with asyncio.timeout(WAIT):
            while server.alive:
                await asyncio.sleep(0.02)
    finally:
        await provider.close()


async def test_without_a_fork_server_sandboxes_are_strict(
    own_config: SandboxConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a host where user namespaces cannot be nested."""
    from runtimes.sandboxes import bubblewrap

    monkeypatch.setattr(bubblewrap, "fork_server", lambda *_args, **_options: ["false"])
    provider = LocalProvider(own_config)
    await provider.start()
    try:
        await provider.acquire(Request("fallback", kernels=1))
        status = await settled(provider, "fallback")
        assert status.phase is Phase.READY
        assert status.isolation[0] == "strict"
    finally:
        await provider.close()


async def test_modules_that_cannot_be_preloaded_are_left_out(own_config: SandboxConfig) -> None:
    provider = LocalProvider(own_config)
    await provider.start()
    try:
        preload = ("json", "no_such_module", "numpy")
        notebook = await start_notebook(provider, "preloaded", preload=preload)
        assert (await provider.status("preloaded")).isolation[0] == "forked"
        loaded = await notebook.value("import sys\nR = ['numpy' in sys.modules, 'agent' in sys.modules]")
        assert loaded == [True, False]
        await notebook.close()
    finally:
        await close_notebooks(provider)
        await provider.close()


async def test_too_long_a_folder_is_told_before_anything_starts(own_config: SandboxConfig) -> None:
    deep = own_config.run_dir / ("x" * 90)
    with pytest.raises(ProviderUnavailable, match="too long"):
        await LocalProvider(replace(own_config, run_dir=deep)).start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs sandboxes as another user")
async def test_a_folder_that_the_sandboxes_user_cannot_enter_is_told(own_config: SandboxConfig) -> None:
    own_config.run_dir.chmod(0o700)
    closed = replace(own_config, run_dir=own_config.run_dir / "run")
    with pytest.raises(ProviderUnavailable) as refused:
        await LocalProvider(closed).start()
    assert str(own_config.run_dir) in str(refused.value.user_message)


def test_a_record_that_was_cut_short_does_not_stop_the_sweep(own_config: SandboxConfig) -> None:
    for folder in (own_config.slots, own_config.records):
        folder.mkdir(parents=True)
    (own_config.records / "kdeadbeef.json").write_text('{"identity": "x", "gro')
    (own_config.records / "kdeadbee0.json").write_text(
        json.dumps({"identity": "y", "name": "n", "groups": ["/nowhere"]})
    )
    (own_config.slots / "kdeadbeef").mkdir()
    assert slots.sweep(own_config) == 2
    assert traces(own_config, []) == []
    slots.remove_folder(own_config)
