"""The processes of a sandbox, found in /proc: for a host on which no control group can be made."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

#: The nice value after which nothing comes.
LAST = 19
_CAP_SYS_NICE = 23
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class _Process:
    """seconds: of processor time, its own and that of the children it has waited for."""

    parent: int
    seconds: float


def inside(pid: int) -> list[int]:
    """A process and all that descends from it: in a sandbox all of them do from its pid 1. Empty where it is gone."""
    return list(_tree(pid))


def cpu_seconds(pid: int) -> float | None:
    """Processor time that a sandbox used so far, by its pid 1; None where that is gone. What a process that does not
    wait for its children (SIGCHLD ignored) had of them is lost when they end."""
    found = _tree(pid)
    return sum(process.seconds for process in found.values()) if found else None


def renice(pid: int, level: int) -> bool:
    """Sets the nice value of everything in a sandbox, by its pid 1; what is started there later has it, too. False
    where this process could not take it back (capabilities(7), CAP_SYS_NICE)."""
    if not _may_give_back():
        return False
    # Once more for what was started meanwhile.
    for one in (*inside(pid), *inside(pid)):
        # Linux counts nice values by thread; one may end meanwhile.
        with suppress(OSError):
            for task in Path("/proc", str(one), "task").iterdir():
                os.setpriority(os.PRIO_PROCESS, int(task.name), level)
    return True


def _may_give_back() -> bool:
    lines = Path("/proc/self/status").read_text().splitlines()
    held = next((line.split()[1] for line in lines if line.startswith("CapEff:")), "0")
    return bool(int(held, 16) >> _CAP_SYS_NICE & 1)


def _tree(pid: int) -> dict[int, _Process]:
    everything = _all()
    if pid not in everything:
        return {}
    children: dict[int, list[int]] = {}
    for one, process in everything.items():
        children.setdefault(process.parent, []).append(one)
    found, left = {}, [pid]
    while left:
        one = left.pop()
        found[one] = everything[one]
        left += children.get(one, ())
    return found


def _all() -> dict[int, _Process]:
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            # It may end meanwhile.
            with suppress(OSError, IndexError, ValueError):
                found[int(folder.name)] = _read(folder)
    return found


def _read(folder: Path) -> _Process:
    """See proc_pid_stat(5): after the name, which may hold anything, come state, parent and much else."""
    fields = (folder / "stat").read_bytes().rpartition(b")")[2].split()
    return _Process(int(fields[1]), sum(int(ticks) for ticks in fields[11:15]) / _TICKS)
