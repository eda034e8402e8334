"""The trusted side of a fork server: one warm interpreter for each (environment, set of modules)."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import select
import signal
import socket
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from runtimes.provider import ProviderError
from runtimes.sandboxes import bubblewrap, host
from runtimes.sandboxes.config import SandboxConfig
from runtimes.sandboxes.environment import KernelEnvironment

log = logging.getLogger(__name__)
START_SECONDS = 60
# Nothing of this process's environment: it holds secrets.
PROGRAM_PATH = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


class ForkServerFailed(ProviderError):
    """A fork server did not start; strict sandboxes may still work."""

    retryable = True


class ForkServer:
    """Start, then `connect` once for each sandbox. When it dies, every sandbox forked from it dies."""

    def __init__(
        self, config: SandboxConfig, environment: KernelEnvironment, preload: tuple[str, ...], *, lean: bool = False
    ) -> None:
        self.environment = environment
        self.preload, self.lean = preload, lean
        self.users = 0
        self.last_used = 0.0
        self._config = config
        self._process: subprocess.Popen[bytes] | None = None
        self._address = config.run_dir / f"z-{secrets.token_hex(4)}"
        self._listener: socket.socket | None = None
        self._died: Callable[[], None] | None = None

    @property
    def pid(self) -> int:
        """Process id of the outer bubblewrap, 0 before the start."""
        return self._process.pid if self._process else 0

    @property
    def alive(self) -> bool:
        """It can be asked for sandboxes."""
        return self._process is not None and self._process.poll() is None

    async def start(self, died: Callable[[], None]) -> None:
        """Returns when it is warm; `died` is called once if it ends by itself. Raises ForkServerFailed.

        bubblewrap's --die-with-parent follows the thread that starts it: here the event loop's."""
        self._died = died
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener.bind(str(self._address))
        self._address.chmod(0o600)
        listener.listen(128)
        self._listener = listener
        command = bubblewrap.fork_server(
            self._config.system,
            self._config.slots,
            self.environment,
            listener=listener.fileno(),
            preload=self.preload,
            lean=self.lean,
        )
        self._process = self._launch(command, listener.fileno())
        try:
            words = (await asyncio.to_thread(self._first_line)).split()
        except BaseException:
            await self.close()
            raise
        if not words or words[0] != "READY":
            await self.close()
            raise ForkServerFailed(f"the fork server did not start: see {self._config.run_dir}/fork-server.log")
        if words[1:]:
            log.warning("modules that cannot be preloaded: %s", " ".join(words[1:]))
        asyncio.get_running_loop().add_reader(self._stdout(), self._end)

    def connect(self) -> socket.socket:
        """A new sandbox's pid 1 at the other end, once it says hello. Blocks; raises OSError if the server is gone."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            connection.connect(str(self._address))
        except OSError:
            connection.close()
            raise
        return connection

    async def close(self) -> None:
        """Ends it, and with it every sandbox forked from it."""
        process, self._process = self._process, None
        if process is not None:
            if process.stdout is not None:
                with suppress(ValueError, RuntimeError):
                    asyncio.get_running_loop().remove_reader(process.stdout.fileno())
                process.stdout.close()
            process.send_signal(signal.SIGKILL)
            await asyncio.to_thread(process.wait)
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        self._address.unlink(missing_ok=True)

    def _launch(self, command: list[str], listener: int) -> subprocess.Popen[bytes]:
        with (self._config.run_dir / "fork-server.log").open("ab") as errors:
            return subprocess.Popen(
                command,
                pass_fds=[listener],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd="/",
                env=PROGRAM_PATH,
                **host.identity(self._config.uid),
            )

    def _stdout(self) -> int:
        assert self._process is not None
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def _first_line(self) -> str:
        descriptor = self._stdout()
        if not select.select([descriptor], [], [], START_SECONDS)[0]:
            return ""
        return os.read(descriptor, 65536).decode("utf-8", "replace")

    def _end(self) -> None:
        """Its standard output was closed: it is dead. (It writes nothing after READY.)"""
        asyncio.get_running_loop().remove_reader(self._stdout())
        if self._died is not None:
            self._died()


def log_tail(folder: Path, limit: int = 2000) -> str:
    """The end of the fork servers' log, for operators."""
    with suppress(OSError):
        return (folder / "fork-server.log").read_bytes()[-limit:].decode("utf-8", "replace")
    return ""
