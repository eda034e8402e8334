"""Makes networks unreachable for a sandbox from outside it: bubblewrap's programs have no power over their network.

    python -I RUN routes PID NETWORK…

A process of its own, since only one with a single thread may enter a user namespace.
"""

from __future__ import annotations

import fcntl
import os

from . import linux

NS_GET_USERNS = 0xB701


def open_namespaces(pid: int) -> tuple[int, int]:
    """Descriptors of the network namespace of `pid` and of the user namespace that owns it (ioctl_ns(2))."""
    network = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return network, fcntl.ioctl(network, NS_GET_USERNS)
    except OSError:
        os.close(network)
        raise


def main(arguments: list[str]) -> None:
    """Raises OSError if the namespaces cannot be entered."""
    network, owner = open_namespaces(int(arguments[0]))
    if os.geteuid() != 0:
        os.setns(owner, linux.CLONE_NEWUSER)
    os.setns(network, linux.CLONE_NEWNET)
    linux.refuse_routes(arguments[1:])
