"""The walls of one sandbox, put up by the process that becomes its pid 1, from inside its new namespaces."""

from __future__ import annotations

import os
import resource
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import linux

HOME = "/home/student"
SOCKETS = "/run/nb"
TEMPORARY = "/tmp"  # noqa: S108 - the sandbox's own, like the next
SHARED_MEMORY = "/dev/shm"  # noqa: S108
INSIDE_UID = 1000
NAMESPACES = (
    linux.CLONE_NEWUSER
    | linux.CLONE_NEWNS
    | linux.CLONE_NEWPID
    | linux.CLONE_NEWNET
    | linux.CLONE_NEWIPC
    | linux.CLONE_NEWUTS
)
_HARDENED = linux.MS_NOSUID | linux.MS_NODEV
SHARED_MEMORY_BYTES = 64 << 20
MAX_INODES = 200_000
# gVisor lets nobody set it, and has queues for each sandbox alone, whose memory counts as the sandbox's.
_NOT_IN_GVISOR = "MSGQUEUE"


def put_up(request: Mapping[str, Any], *, uid: int, gid: int, last_capability: int, filter_program: bytes) -> None:
    """After this the process can reach its own home, sockets and limits, and nothing else. Raises OSError."""
    _map_ids(uid, gid)
    # Out of the fork server's process group: kill(0) would reach it.
    os.setsid()
    # The owner has put this process into its control groups: from here on their names cannot be seen.
    linux.unshare(linux.CLONE_NEWCGROUP)
    _mount(request)
    _write("/proc/sys/user/max_user_namespaces", "0")
    linux.set_hostname("notebook")
    linux.loopback_up()
    if request["refused_networks"]:
        linux.refuse_routes(list(request["refused_networks"]))
    limit(request["rlimits"])
    _drop(last_capability, filter_program)


def limit(rlimits: Mapping[str, int]) -> None:
    """Sets hard and soft limits, e.g. {"NOFILE": 1024}; DATA comes on top of what the process has already.
    Raises ValueError where one is refused, but for the one that gVisor lacks."""
    for name, value in rlimits.items():
        amount = value + _own_data_bytes() if name == "DATA" else value
        number: int = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(number)[1]
        if hard != resource.RLIM_INFINITY:
            amount = min(amount, hard)
        try:
            resource.setrlimit(number, (amount, amount))
        except ValueError:
            # For want of permission, although it only ever lowers.
            if name != _NOT_IN_GVISOR:
                raise


def _map_ids(uid: int, gid: int) -> None:
    # A process that is not dumpable may not write its own maps.
    linux.prctl(linux.PR_SET_DUMPABLE, 1)
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{INSIDE_UID} {uid} 1")
    _write("/proc/self/gid_map", f"{INSIDE_UID} {gid} 1")


def _mount(request: Mapping[str, Any]) -> None:
    sealed = _HARDENED | linux.MS_NOEXEC
    linux.mount(f"/slots/{request['slot']}", SOCKETS, None, linux.MS_BIND)
    linux.mount("", SOCKETS, None, linux.MS_BIND | linux.MS_REMOUNT | sealed)
    # Hides every other slot. Memory-backed folders count against the sandbox's own memory limit.
    linux.mount("tmpfs", "/slots", "tmpfs", linux.MS_RDONLY | sealed, "size=4k,mode=000")
    inodes = f"nr_inodes={MAX_INODES}"
    linux.mount("tmpfs", HOME, "tmpfs", _HARDENED, f"size={request['home_bytes']},mode=700,{inodes}")
    linux.mount("tmpfs", TEMPORARY, "tmpfs", _HARDENED, f"size={request['tmp_bytes']},mode=1777,{inodes}")
    linux.mount("tmpfs", SHARED_MEMORY, "tmpfs", sealed, f"size={SHARED_MEMORY_BYTES},mode=1777")
    linux.mount("proc", "/proc", "proc", sealed)


def _drop(last_capability: int, filter_program: bytes) -> None:
    linux.drop_capabilities(last_capability)
    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
    linux.install_filter(filter_program)


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _own_data_bytes() -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:")), 0)
