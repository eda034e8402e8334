"""One live sandbox, seen from its owner: how it is entered, how its end is heard, how it is ended."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import struct
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from runtimes.addresses import REFUSED_NETWORKS
from runtimes.endpoint import Endpoint
from runtimes.keys import Keys
from runtimes.provider import Limits, Network, ProviderError, Request
from runtimes.sandboxes import processes
from runtimes.sandboxes.cgroups import Group
from runtimes.sandboxes.network import Internet
from runtimes.sandboxes.slots import Slot

START_SECONDS = 30
MAX_MESSAGE_BYTES = 1 << 18
_MAX_LOCKED_BYTES = 64 << 10


class SandboxFailed(ProviderError):
    """A sandbox did not come up; the message is what its pid 1 or bubblewrap said."""

    retryable = True


@dataclass
class Sandbox:
    """A sandbox whose agent is ready. `link`: messages from pid 1; closing it ends the sandbox.

    ends: a job's desk and wire, until they are passed on."""

    slot: Slot
    group: Group
    endpoint: Endpoint
    link: socket.socket
    isolation: tuple[str, ...]
    pid: int = 0
    pidfd: int = -1
    process: subprocess.Popen[bytes] | None = None
    internet: Internet | None = None
    ends: tuple[socket.socket, ...] = ()
    closed: bool = False
    on_close: list[Callable[[], None]] = field(default_factory=list)

    def alive(self) -> bool:
        """Its pid 1 lives."""
        return self.pidfd >= 0 and not _wait_for(self.pidfd, 0)

    def cpu_seconds(self) -> float | None:
        """Processor time used by everything in it so far; None where that cannot be known."""
        counted = self.group.cpu_seconds()
        return processes.cpu_seconds(self.pid) if counted is None and self.pid else counted

    def throttle(self, cores: float, *, slowed: bool) -> bool:
        """Limits all of it to so many processors or, without a control group, lets everything else go before it. False
        where neither can be done and taken back."""
        return self.group.limit_cpu(cores) or processes.renice(self.pid, processes.LAST if slowed else 0)

    def kill(self) -> None:
        """Ends every process in it, now."""
        if self.pidfd >= 0:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        if self.process is not None:
            self.process.kill()

    def terminate(self) -> None:
        """Asks its kernels to end (SIGTERM)."""
        with suppress(OSError):
            self.link.send(json.dumps({"terminate": True}).encode())

    def close(self) -> None:
        """Ends it and removes every trace. Blocks until that is so; may be called again."""
        if self.closed:
            return
        self.closed = True
        self.kill()
        if self.pidfd >= 0:
            _wait_for(self.pidfd, START_SECONDS)
            os.close(self.pidfd)
            self.pidfd = -1
        if self.process is not None:
            self.process.wait()
        self.link.close()
        for end in self.ends:
            end.close()
        if self.internet is not None:
            self.internet.close()
        self.slot.remove()
        for callback in self.on_close:
            callback()


def order(request: Request, slot: Slot, keys: Keys, group: Group, *, job: bool) -> dict[str, Any]:
    """What a sandbox is told of itself: see `runtimes.agent.init` and `runtimes.agent.program`."""
    internet = request.network is Network.INTERNET
    return {
        "slot": slot.folder.name,
        "transport": "ipc",
        "keys": asdict(keys),
        "env": dict(request.env),
        "kernels": request.kernels,
        "job": job,
        "watch_idle": request.purpose == "interactive",
        "home_bytes": request.limits.home_bytes,
        "tmp_bytes": request.limits.tmp_bytes,
        "memory_limit_bytes": request.limits.memory_bytes,
        "rlimits": rlimits(request.limits, group),
        "refused_networks": list(REFUSED_NETWORKS) if internet else [],
    }


def rlimits(limits: Limits, group: Group) -> dict[str, int]:
    """Limits of each process, and those that stand in for control groups that cannot be had.

    Since Linux 5.14 processes are counted in each user namespace, so NPROC is a limit of the sandbox."""
    chosen = {
        "CORE": 0,
        "FSIZE": limits.file_bytes,
        "MEMLOCK": _MAX_LOCKED_BYTES,
        "MSGQUEUE": 0,
        "NOFILE": limits.open_files,
    }
    if "pids" not in group.folders:
        chosen["NPROC"] = limits.processes
    if "memory" not in group.folders:
        chosen["DATA"] = limits.memory_bytes
    return chosen


def isolation_codes(group: Group, how: str, network: Network, *, program: bool) -> tuple[str, ...]:
    """Codes of `ISOLATION_WORDS` for what really holds."""
    held = group.folders
    codes = [str(how), "seccomp"]
    codes.append("memory-cgroup" if "memory" in held else "memory-rlimit")
    codes.append("processes-cgroup" if "pids" in held else "processes-rlimit")
    codes.append("cpu-cgroup" if "cpu" in held else "cpu-none")
    codes.append(f"network-{network}")
    if not program:
        codes.append("no-network-program")
    return tuple(codes)


def enter(
    link: socket.socket,
    message: Mapping[str, Any],
    group: Group,
    internet: Callable[[], Internet | None],
    sockets: Sequence[socket.socket] = (),
) -> Any:
    """Sends the order with the sandbox's ends of `sockets`, waits until the agent is ready, returns the attached
    network. Blocks. Raises SandboxFailed."""
    gauges = group.open_gauges()
    try:
        socket.send_fds(link, [json.dumps(message).encode()], [*gauges, *(each.fileno() for each in sockets)])
    except OSError as error:
        raise SandboxFailed(f"the sandbox ended before it was told anything: {error}") from error
    finally:
        for descriptor in gauges:
            os.close(descriptor)
    attached: Internet | None = None
    try:
        while "ready" not in (heard := hear(link)):
            if "walls" in heard:
                attached = internet()
    except BaseException:
        if attached is not None:
            attached.close()
        raise
    return attached


def hello(link: socket.socket) -> tuple[int, int]:
    """(pid, pidfd) of the process that said hello. Blocks. Raises SandboxFailed."""
    link.settimeout(START_SECONDS)
    try:
        data, ancillary, _flags, _address = link.recvmsg(MAX_MESSAGE_BYTES, socket.CMSG_SPACE(12))
    except OSError as error:
        raise SandboxFailed(f"the fork server does not answer: {error}") from error
    if "hello" not in _message(data):
        raise SandboxFailed(f"the fork server said {data[:500]!r}")
    # struct ucred, as the owner's namespaces number it: unix(7), SCM_CREDENTIALS.
    credentials = next(item for level, kind, item in ancillary if kind == socket.SCM_CREDENTIALS)
    pid: int = struct.unpack("3i", credentials[:12])[0]
    return pid, os.pidfd_open(pid)


def hear(link: socket.socket) -> dict[str, Any]:
    """The next message. Blocks. Raises SandboxFailed when there is none, or it tells an error."""
    try:
        data = link.recv(MAX_MESSAGE_BYTES)
    except OSError as error:
        raise SandboxFailed(f"the sandbox does not answer: {error}") from error
    message = _message(data)
    if "error" in message or "exit" in message:
        raise SandboxFailed(str(message.get("error") or message))
    return message


def _message(data: bytes) -> dict[str, Any]:
    if not data:
        raise SandboxFailed("the sandbox ended while it was started")
    try:
        message = json.loads(data)
    except ValueError as error:
        raise SandboxFailed(f"not a message: {data[:500]!r}") from error
    if not isinstance(message, dict):
        raise SandboxFailed(f"not a message: {data[:500]!r}")
    return message


def _wait_for(pidfd: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(seconds * 1000))
