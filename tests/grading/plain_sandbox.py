"""A "sandbox" that is none: a kernel process in a folder. For tests of scoring with code that we wrote ourselves."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager


@dataclass(frozen=True)
class Exited:
    kind: str = "exited"


class PlainSandbox:
    def __init__(self, folder: Path, manager: AsyncKernelManager, client: AsyncKernelClient) -> None:
        self.folder, self._manager, self._client = folder, manager, client

    async def client(self) -> AsyncKernelClient:
        return self._client

    async def interrupt(self) -> None:
        await self._manager.interrupt_kernel()

    async def alive(self) -> bool:
        return await self._manager.is_alive()

    async def exit_reason(self) -> Exited | None:
        return None if await self.alive() else Exited()

    async def pull(self) -> dict[str, bytes]:
        return {
            str(path.relative_to(self.folder)): path.read_bytes() for path in self.folder.rglob("*") if path.is_file()
        }


def _filled(top: Path, files: Mapping[str, bytes]) -> tuple[Path, Path]:
    folder, home = top / "work", top / "home"
    home.mkdir()
    folder.mkdir()
    for name, data in files.items():
        folder.joinpath(name).parent.mkdir(parents=True, exist_ok=True)
        folder.joinpath(name).write_bytes(data)
    return folder, home


class PlainSandboxes:
    """Callable like `runtimes.borrow.borrow`; remembers what was pushed."""

    def __init__(self, kernel_python: str) -> None:
        self._python = kernel_python
        self.pushed: list[dict[str, bytes]] = []
        self.environment_digest = "plain"

    @asynccontextmanager
    async def __call__(self, *, files: Mapping[str, bytes], kernel: str) -> AsyncIterator[PlainSandbox]:
        self.pushed.append(dict(files))
        with tempfile.TemporaryDirectory(prefix="plain-") as top:
            folder, home = _filled(Path(top), files)
            manager, client = await self._started(folder, home)
            try:
                yield PlainSandbox(folder, manager, client)
            finally:
                client.stop_channels()
                await _end(manager)

    async def _started(self, folder: Path, home: Path) -> tuple[AsyncKernelManager, AsyncKernelClient]:
        """A kernel that answers, at sockets in its own folder: ports are chosen before they are bound, and another
        test's may be faster."""
        manager = AsyncKernelManager(connection_file=f"{home}/kernel.json", transport="ipc", ip=f"{home}/socket")
        argv = [self._python, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        manager._kernel_spec = KernelSpec(argv=argv, language="python", interrupt_mode="signal")
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(home), "NBGRADER_EXECUTION": "autograde"}
        client = manager.client()
        try:
            await manager.start_kernel(cwd=str(folder), env=environment)
            client.load_connection_info(manager.get_connection_info())
            client.start_channels()
            await client.wait_for_ready(timeout=60)
        except BaseException:
            client.stop_channels()
            await _end(manager)
            raise
        return manager, client


async def _end(manager: AsyncKernelManager) -> None:
    """Also where starting it was cancelled half-way."""
    if manager.provisioner is not None and manager.provisioner.has_process:
        await manager.shutdown_kernel(now=True)
    if manager.context is not None:
        manager.context.destroy(linger=0)
