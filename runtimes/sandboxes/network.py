"""Internet for one sandbox: a userspace network (slirp4netns) whose forbidden destinations have no route.

The sandbox has no capability over its network namespace and no raw or packet sockets, cannot choose an interface past
the routing table (seccomp), and slirp4netns answers address resolution for nobody but itself: an unreachable route is
therefore a wall. Its own 10.0.2.0/24 is more specific than the refused 10.0.0.0/8 and stays reachable; behind it is
only its name server.
"""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

from runtimes.addresses import REFUSED_NETWORKS
from runtimes.agent import routes
from runtimes.provider import ProviderError

PROGRAM = "slirp4netns"
TUNNEL = "/dev/net/tun"
START_SECONDS = 10


class NetworkFailed(ProviderError):
    """The sandbox's network did not come up."""

    retryable = True


def missing() -> str:
    """What this host lacks for it and what to do, for operators; "" if it has everything."""
    if shutil.which(PROGRAM) is None:
        return f"internet needs {PROGRAM}: install it (apt-get install {PROGRAM})"
    if not os.access(TUNNEL, os.R_OK | os.W_OK):
        return f"internet needs {TUNNEL}: load its module and let this user open it (chmod 666 {TUNNEL})"
    return ""


def command(network_fd: int, owner_fd: int, *, ready_fd: int, exit_fd: int) -> list[str]:
    """slirp4netns for a network namespace and the user namespace that owns it: no way to the host's loopback, and
    itself in a sandbox of its own."""
    return [
        PROGRAM,
        *("--configure", "--mtu=65520", "--cidr=10.0.2.0/24", "--disable-host-loopback"),
        *("--enable-sandbox", "--enable-seccomp"),
        *(f"--ready-fd={ready_fd}", f"--exit-fd={exit_fd}"),
        *("--netns-type=path", f"--userns-path=/proc/self/fd/{owner_fd}", f"/proc/self/fd/{network_fd}", "tap0"),
    ]


@dataclass
class Internet:
    """A running userspace network. It ends when `hold` is closed, also by the death of this process."""

    process: subprocess.Popen[bytes]
    hold: int

    def close(self) -> None:
        """Ends it. Blocks shortly."""
        with suppress(OSError):
            os.close(self.hold)
        try:
            self.process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def attach(pid: int) -> Internet:
    """Connects the network namespace of process `pid` and returns when it is up. Blocks. Raises NetworkFailed."""
    with tempfile.TemporaryFile() as said:
        internet, up = _launch(pid, said)
        if up:
            return internet
        internet.close()
        said.seek(0)
        raise NetworkFailed(f"{PROGRAM}: {said.read()[-500:].decode('utf-8', 'replace').strip()}")


def refuse(pid: int) -> None:
    """Makes the refused networks unreachable for a process that cannot do it itself. Blocks. Raises NetworkFailed."""
    command = [
        sys.executable,
        "-I",
        routes.__file__.replace("routes.py", "run.py"),
        "routes",
        str(pid),
        *REFUSED_NETWORKS,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise NetworkFailed(f"routes could not be refused: {done.stderr[-500:]}")


def _launch(pid: int, said: IO[bytes]) -> tuple[Internet, bool]:
    """The program, and whether the network came up."""
    ready_read, ready_write = os.pipe2(os.O_CLOEXEC)
    exit_read, exit_write = os.pipe2(os.O_CLOEXEC)
    try:
        network, owner = namespaces = routes.open_namespaces(pid)
        try:
            process = subprocess.Popen(
                command(network, owner, ready_fd=ready_write, exit_fd=exit_read),
                pass_fds=[*namespaces, ready_write, exit_read],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                cwd="/",
            )
        finally:
            for descriptor in namespaces:
                os.close(descriptor)
    except OSError as error:
        os.close(exit_write)
        os.close(ready_read)
        raise NetworkFailed(f"{PROGRAM} cannot be started: {error}") from error
    finally:
        os.close(ready_write)
        os.close(exit_read)
    try:
        up = bool(select.select([ready_read], [], [], START_SECONDS)[0] and os.read(ready_read, 1))
    finally:
        os.close(ready_read)
    return Internet(process, exit_write), up
