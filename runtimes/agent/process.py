"""What every pid 1 of a sandbox does with processes and descriptors."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

MAX_MESSAGE_BYTES = 1 << 18
LOG = "/tmp/.runtime.log"  # noqa: S108 - the sandbox's own


def tell(connection: socket.socket, message: dict[str, Any]) -> None:
    """Sends one message; an owner that is gone is no error, since this process ends with it."""
    with suppress(OSError):
        connection.send(json.dumps(message).encode()[:MAX_MESSAGE_BYTES])


def close_all_but(kept: set[int]) -> None:
    """Closes every other descriptor of this process."""
    for name in list(Path("/proc/self/fd").iterdir()):
        if int(name.name) not in kept:
            with suppress(OSError):
                os.close(int(name.name))


def replace_standard_streams() -> None:
    """Output goes to the sandbox's own /tmp, whose size is limited: never to a file of the host."""
    null = os.open("/dev/null", os.O_RDWR)
    log = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for number, source in ((0, null), (1, log), (2, log)):
        os.dup2(source, number)


def signal_group(pid: int, number: int) -> None:
    """Signals a whole process group; one that is gone is no error."""
    with suppress(ProcessLookupError):
        os.killpg(pid, number)


def ended_children(is_kernel: Callable[[int], bool]) -> Iterator[tuple[int, int]]:
    """Pid and exit code of every child that has ended, reaped. What a kernel left running ends with it."""
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if ended is None:
            return
        if is_kernel(ended.si_pid):
            # While it is not reaped its number is nobody else's.
            signal_group(ended.si_pid, signal.SIGKILL)
        _pid, status = os.waitpid(ended.si_pid, 0)
        yield ended.si_pid, os.waitstatus_to_exitcode(status)


def live_in_child(live: Callable[[], NoReturn]) -> NoReturn:
    """Runs `live` in a fresh fork and never returns from it."""
    import traceback

    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        live()
    except BaseException:  # noqa: BLE001 - it must not run on as pid 1's double
        traceback.print_exc()
    finally:
        os._exit(1)
