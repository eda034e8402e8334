"""Ties a child process to its parent, so that a parent killed with -9 leaves nothing behind. Standard library only."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable

PR_SET_PDEATHSIG = 1  # prctl(2)
_libc = ctypes.CDLL(None, use_errno=True)


def dies_with_parent(send: signal.Signals = signal.SIGTERM) -> Callable[[], None]:
    """A `preexec_fn` after which the kernel sends `send` to the child when the thread that started it ends."""
    parent = os.getpid()

    def between_fork_and_exec() -> None:
        _libc.prctl(PR_SET_PDEATHSIG, int(send), 0, 0, 0)
        if os.getppid() != parent:
            # The parent died before the call above: nothing would ever be sent.
            os._exit(1)

    return between_fork_and_exec


def end_with_parent(send: signal.Signals = signal.SIGTERM) -> None:
    """The same for a process that has begun already: called in the child."""
    _libc.prctl(PR_SET_PDEATHSIG, int(send), 0, 0, 0)
