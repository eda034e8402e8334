"""The few system calls that Python lacks, by ctypes: clone into namespaces, mount, capabilities, seccomp, routes."""

from __future__ import annotations

import ctypes
import fcntl
import os
import platform
import signal
import socket
import struct
from collections.abc import Sequence

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET, CLONE_NEWCGROUP = 0x10000000, 0x20000000, 0x40000000, 0x02000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND = 1, 2, 4, 8, 32, 4096
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 4, 22, 24, 38
SECCOMP_MODE_FILTER = 2
_CLONE_NUMBER = {"x86_64": 56, "aarch64": 220}
_CAPABILITY_VERSION_3 = 0x20080522
_SIOCSIFFLAGS, _IFF_UP, _IFF_RUNNING = 0x8914, 1, 64
_RTM_NEWROUTE, _NLM_REQUEST_ACK_CREATE, _RTN_UNREACHABLE = 24, 0x1 | 0x4 | 0x400, 7

_libc = ctypes.CDLL(None, use_errno=True)
# Keeps the interpreter's lock held across the call: the clone is a fork, and the child must own the lock.
_locked_libc = ctypes.PyDLL(None, use_errno=True)


class _FilterProgram(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


def clone(flags: int) -> int:
    """Like os.fork(), into new namespaces. Only for a process with one thread. Raises OSError."""
    arguments = [ctypes.c_ulong(flags | signal.SIGCHLD), *[ctypes.c_ulong(0)] * 4]
    pid: int = _locked_libc.syscall(ctypes.c_long(_CLONE_NUMBER[platform.machine()]), *arguments)
    if pid < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "clone")
    return pid


def unshare(flags: int) -> None:
    """unshare(2)."""
    _check(_libc.unshare(flags), "unshare")


def mount(source: str, target: str, kind: str | None, flags: int, data: str = "") -> None:
    """mount(2)."""
    kind_bytes = kind.encode() if kind else None
    _check(_libc.mount(source.encode(), target.encode(), kind_bytes, ctypes.c_ulong(flags), data.encode()), target)


def prctl(option: int, value: int = 0) -> None:
    """prctl(2) with one argument."""
    _check(_libc.prctl(option, *(ctypes.c_ulong(number) for number in (value, 0, 0, 0))), f"prctl {option}")


def set_hostname(name: str) -> None:
    """sethostname(2)."""
    _check(_libc.sethostname(name.encode(), len(name)), "sethostname")


def drop_capabilities(last: int) -> None:
    """No capability is left in any set, nor can one be gained. `last`: the highest that this kernel knows."""
    for capability in range(last + 1):
        _check(_libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0), "capability bounding set")
    header = ctypes.create_string_buffer(struct.pack("Ii", _CAPABILITY_VERSION_3, 0))
    _check(_libc.capset(header, ctypes.create_string_buffer(24)), "capset")


def install_filter(program: bytes) -> None:
    """Seccomp with a program of struct sock_filter; needs no_new_privs."""
    buffer = ctypes.create_string_buffer(program, len(program))
    description = _FilterProgram(len(program) // 8, ctypes.addressof(buffer))
    _check(_libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(description), 0, 0), "seccomp")


def loopback_up() -> None:
    """Brings up `lo`: a new network namespace has it down."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sH14s", b"lo", _IFF_UP | _IFF_RUNNING, b"")
        fcntl.ioctl(control, _SIOCSIFFLAGS, request)


def refuse_routes(networks: Sequence[str]) -> None:
    """Makes IPv4 networks ("10.0.0.0/8") unreachable in this network namespace (rtnetlink(7)). Raises OSError."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as netlink:
        netlink.bind((0, 0))
        for network in networks:
            netlink.send(_unreachable(network))
            code = struct.unpack_from("=i", netlink.recv(4096), 16)[0]
            if code:
                raise OSError(-code, os.strerror(-code), network)


def _unreachable(network: str) -> bytes:
    address, bits = network.split("/")
    # struct rtmsg: family, dst_len, src_len, tos, table (main), protocol (boot), scope (global), type, flags
    route = struct.pack("=8BI", socket.AF_INET, int(bits), 0, 0, 254, 3, 0, _RTN_UNREACHABLE, 0)
    body = route + struct.pack("=HH", 8, 1) + socket.inet_aton(address)
    return struct.pack("=IHHII", 16 + len(body), _RTM_NEWROUTE, _NLM_REQUEST_ACK_CREATE, 1, 0) + body
