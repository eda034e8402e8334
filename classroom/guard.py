"""Outlives a supervisor that was killed with -9, just long enough to end what it had started.

Reads lines from standard input: `+PID` for a process group to watch, `-PID` for one that has ended. When the input
ends, whoever is left is asked to stop, and killed if it does not. Standard library only, so that it stays small.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterable
from contextlib import suppress

GRACE_SECONDS = 10.0


def main(lines: Iterable[str]) -> None:
    """Watch until the supervisor is gone, then end its groups."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    for line in lines:
        group = int(line[1:])
        if line.startswith("+"):
            groups.add(group)
        else:
            groups.discard(group)
    end(groups)


def end(groups: set[int]) -> None:
    """SIGTERM to every group's leader, SIGKILL to the groups that are still there after GRACE_SECONDS."""
    left = {group for group in groups if _signal(group, 0)}
    for group in left:
        with suppress(ProcessLookupError):
            os.kill(group, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    while left and time.monotonic() < deadline:
        time.sleep(0.05)
        left = {group for group in left if _signal(group, 0)}
    for group in left:
        _signal(group, signal.SIGKILL)


def _signal(group: int, number: int) -> bool:
    """False if the group has no process any more."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    except PermissionError:
        # macOS and some containers answer so for a group of zombies.
        return False
    return True


if __name__ == "__main__":
    main(sys.stdin)
