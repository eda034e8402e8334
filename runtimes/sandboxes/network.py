"""Internet for one sandbox: a userspace network (slirp4netns) whose forbidden destinations have no route.

The sandbox has no capability over its network namespace and no raw or packet sockets, cannot choose an interface past
the routing table (seccomp), and slirp4netns answers address resolution for nobody but itself: an unreachable route is
therefore a wall.
"""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass

from runtimes.provider import ProviderError

PROGRAM = "slirp4netns"
START_SECONDS = 10
# Special-purpose addresses (RFC 6890 and the IANA registry), with the clouds' metadata services. The userspace
# network's own 10.0.2.0/24 is more specific than 10.0.0.0/8 and stays reachable; behind it is only its name server.
REFUSED_NETWORKS = (
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "168.63.129.16/32",
)


class NetworkFailed(ProviderError):
    """The sandbox's network did not come up."""

    retryable = True


def offered() -> bool:
    """The program for it is installed."""
    return shutil.which(PROGRAM) is not None


def command(pid: int, *, ready_fd: int, exit_fd: int) -> list[str]:
    """slirp4netns for the network namespace of `pid`: no way to the host's loopback, its own sandbox and seccomp."""
    return [
        PROGRAM,
        *("--configure", "--mtu=65520", "--cidr=10.0.2.0/24", "--disable-host-loopback"),
        *("--enable-sandbox", "--enable-seccomp"),
        *(f"--ready-fd={ready_fd}", f"--exit-fd={exit_fd}"),
        *(str(pid), "tap0"),
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
    ready_read, ready_write = os.pipe2(os.O_CLOEXEC)
    exit_read, exit_write = os.pipe2(os.O_CLOEXEC)
    said = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the program, which writes to it
    try:
        process = subprocess.Popen(
            command(pid, ready_fd=ready_write, exit_fd=exit_read),
            pass_fds=[ready_write, exit_read],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            cwd="/",
        )
    except OSError as error:
        os.close(exit_write)
        raise NetworkFailed(f"{PROGRAM} cannot be started: {error}") from error
    finally:
        os.close(ready_write)
        os.close(exit_read)
    internet = Internet(process, exit_write)
    try:
        if select.select([ready_read], [], [], START_SECONDS)[0] and os.read(ready_read, 1):
            return internet
    finally:
        os.close(ready_read)
    internet.close()
    said.seek(0)
    raise NetworkFailed(f"{PROGRAM}: {said.read()[-500:].decode('utf-8', 'replace').strip()}")
