"""A "sandbox" that is none: a kernel process in a folder. For tests of scoring with code that we wrote ourselves."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.connect import write_connection_file

_PROGRAM = Path(__file__).with_name("fork_kernels.py")


@dataclass(frozen=True)
class Exited:
    kind: str = "exited"


class PlainKernels:
    """Kernels in processes of their own, each of which costs a fork instead of a start. They end with these tests."""

    def __init__(self, kernel_python: str) -> None:
        # -P: what lies beside the program is no part of a kernel's world.
        command = [kernel_python, "-P", str(_PROGRAM)]
        self._forks = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._one_asks = threading.Lock()

    def start(self, connection: str, folder: Path, environment: Mapping[str, str]) -> int:
        """The process id of a kernel that is starting, with a group of its own."""
        assert self._forks.stdin is not None
        assert self._forks.stdout is not None
        with self._one_asks:
            print(json.dumps([connection, str(folder), environment]), file=self._forks.stdin, flush=True)
            return int(self._forks.stdout.readline())


@functools.cache
def _kernels(kernel_python: str) -> PlainKernels:
    return PlainKernels(kernel_python)


class PlainSandbox:
    def __init__(self, folder: Path, pid: int, client: AsyncKernelClient) -> None:
        self.folder, self.pid, self._client = folder, pid, client

    async def client(self) -> AsyncKernelClient:
        return self._client

    async def interrupt(self) -> None:
        os.kill(self.pid, signal.SIGINT)

    async def alive(self) -> bool:
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

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
            # Sockets in a folder of its own: ports are chosen before they are bound, and another test's may be faster.
            path, connection = write_connection_file(f"{home}/kernel.json", transport="ipc", ip=f"{home}/socket")
            environment = {"PATH": "/usr/bin:/bin", "HOME": str(home), "NBGRADER_EXECUTION": "autograde"}
            client = AsyncKernelClient()
            client.load_connection_info(connection)
            pid = _kernels(self._python).start(path, folder, environment)
            try:
                client.start_channels()
                await client.wait_for_ready(timeout=60)
                yield PlainSandbox(folder, pid, client)
            finally:
                client.stop_channels()
                client.context.destroy(linger=0)
                with suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
