"""The system-call filter of every sandbox, as a classic BPF program (seccomp(2)), for x86_64 and aarch64.

Refused: what reaches outside the sandbox's namespaces, or a part of the kernel that a notebook has no use for and that
had holes before. Calls newer than the newest known one do not exist (ENOSYS), so that a new kernel opens nothing.
"""

from __future__ import annotations

import errno
import platform
import struct
from collections.abc import Iterable
from dataclasses import dataclass

# name: (x86_64, aarch64); None where the machine lacks the call. Numbers: linux/arch/*/entry/syscalls.
DENIED: dict[str, tuple[int | None, int | None]] = {
    # other processes
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    # mounts and namespaces
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "unshare": (272, 97),
    "setns": (308, 268),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "statmount": (457, 457),
    "listmount": (458, 458),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "fanotify_init": (300, 262),
    "fanotify_mark": (301, 263),
    # keyrings, which no namespace covers
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    # large and rarely needed parts of the kernel
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "memfd_secret": (447, 447),
    "mbind": (237, 235),
    "set_mempolicy": (238, 237),
    "set_mempolicy_home_node": (450, 450),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    "modify_ldt": (154, None),
    "uselib": (134, None),
    "sysfs": (139, None),
    "_sysctl": (156, None),
    "nfsservctl": (180, 42),
    "lookup_dcookie": (212, 18),
    "personality": (135, 92),
    # the machine
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "acct": (163, 89),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "reboot": (169, 142),
    "iopl": (172, None),
    "ioperm": (173, None),
    "vhangup": (153, 58),
    "syslog": (103, 116),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
}
# linux 6.10 ends with mseal; what came later is unknown here.
NEWEST = 462
CLONE3 = 435

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL_PROCESS, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_X32 = 0x40000000
# Offsets into struct seccomp_data; the low half of an argument (both machines are little-endian).
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
# CLONE_NEWTIME is in the signal byte and only clone3 takes it.
_NEW_NAMESPACES = 0x7E020000
_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK = 1, 2, 10, 16
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
# (level, option) of setsockopt that choose the outgoing interface and with it pass by the routing table.
_INTERFACE_OPTIONS = ((1, 25), (1, 62), (0, 50), (41, 76))


@dataclass(frozen=True, slots=True)
class Machine:
    """What differs between machines."""

    column: int
    architecture: int
    clone: int
    socket: int
    socketpair: int
    ioctl: int
    setsockopt: int


MACHINES = {
    "x86_64": Machine(0, 0xC000003E, clone=56, socket=41, socketpair=53, ioctl=16, setsockopt=54),
    "aarch64": Machine(1, 0xC00000B7, clone=220, socket=198, socketpair=199, ioctl=29, setsockopt=208),
}


class UnknownMachine(Exception):
    """No table of system calls for this processor."""


def program(machine_name: str | None = None) -> bytes:
    """The filter for this or the named machine, an array of struct sock_filter. Raises UnknownMachine."""
    name = machine_name or platform.machine()
    if name not in MACHINES:
        raise UnknownMachine(name)
    machine = MACHINES[name]
    denied = [numbers[machine.column] for numbers in DENIED.values()]
    parts = [
        _check_architecture(machine),
        _refuse_above(NEWEST),
        *(_refuse(number, errno.EPERM) for number in denied if number is not None),
        # ENOSYS makes glibc fall back to clone, whose flags a filter can see.
        _refuse(CLONE3, errno.ENOSYS),
        _refuse_bits(machine.clone, 0, _NEW_NAMESPACES),
        _refuse_values(machine.ioctl, 1, (_TIOCSTI, _TIOCLINUX)),
        _allow_values(machine.socketpair, 0, (_AF_UNIX,)),
        _sockets(machine.socket),
        *(_refuse_pair(machine.setsockopt, level, option) for level, option in _INTERFACE_OPTIONS),
        [_op(_RETURN, _ALLOW)],
    ]
    return b"".join(instruction for part in parts for instruction in part)


def _op(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("=HBBI", code, yes, no, value)


def _error(number: int) -> bytes:
    return _op(_RETURN, _ERRNO | number)


def _check_architecture(machine: Machine) -> list[bytes]:
    return [
        _op(_LOAD, _ARCHITECTURE),
        _op(_EQUAL, machine.architecture, yes=1),
        _op(_RETURN, _KILL_PROCESS),
        _op(_LOAD, _NUMBER),
        _op(_AT_LEAST, _X32, no=1),
        _error(errno.EPERM),
    ]


def _refuse_above(newest: int) -> list[bytes]:
    return [_op(_AT_LEAST, newest + 1, no=1), _error(errno.ENOSYS)]


def _refuse(number: int, code: int) -> list[bytes]:
    return [_op(_EQUAL, number, no=1), _error(code)]


def _only_for(number: int, body: list[bytes]) -> list[bytes]:
    """`body` when the call is `number`; afterwards the call's number is loaded again."""
    body = [*body, _op(_LOAD, _NUMBER)]
    return [_op(_EQUAL, number, no=len(body)), *body]


def _argument(index: int) -> bytes:
    return _op(_LOAD, _ARGUMENTS + 8 * index)


def _refuse_bits(number: int, argument: int, bits: int) -> list[bytes]:
    return _only_for(number, [_argument(argument), _op(_ANY_BIT, bits, no=1), _error(errno.EPERM)])


def _refuse_values(number: int, argument: int, values: Iterable[int]) -> list[bytes]:
    checks = [instruction for value in values for instruction in (_op(_EQUAL, value, no=1), _error(errno.EPERM))]
    return _only_for(number, [_argument(argument), *checks])


def _allow_values(number: int, argument: int, values: Iterable[int]) -> list[bytes]:
    checks = [instruction for value in values for instruction in (_op(_EQUAL, value, no=1), _op(_RETURN, _ALLOW))]
    return _only_for(number, [_argument(argument), *checks, _error(errno.EAFNOSUPPORT)])


def _sockets(number: int) -> list[bytes]:
    """Local and internet sockets, and route netlink, without which libzmq aborts. No AF_VSOCK: it reaches the
    hypervisor past network namespaces. No AF_PACKET."""
    allowed = [
        instruction
        for family in (_AF_UNIX, _AF_INET, _AF_INET6)
        for instruction in (_op(_EQUAL, family, no=1), _op(_RETURN, _ALLOW))
    ]
    route = [_op(_EQUAL, _AF_NETLINK, no=3), _argument(2), _op(_EQUAL, 0, no=1), _op(_RETURN, _ALLOW)]
    return _only_for(number, [_argument(0), *allowed, *route, _error(errno.EAFNOSUPPORT)])


def _refuse_pair(number: int, first: int, second: int) -> list[bytes]:
    checks = [
        _argument(1),
        _op(_EQUAL, first, no=3),
        _argument(2),
        _op(_EQUAL, second, no=1),
        _error(errno.EPERM),
    ]
    return _only_for(number, checks)
