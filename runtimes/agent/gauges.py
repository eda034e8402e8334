"""What a runtime can read about its own use of memory, processors and disk: of its control group, v1 or v2, where it
has one.

The agent runs as the same user as the student's code, which might change what it says: whoever has another source, as
the owner of local sandboxes has, uses that one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from .enclosure import HOME

# (in use, limit, events, what is in use for what) in each version's folder, seen from inside a pod.
_FILES = (
    ("memory.current", "memory.max", "memory.events", "memory.stat"),
    ("memory/memory.usage_in_bytes", "memory/memory.limit_in_bytes", "memory/memory.oom_control", "memory/memory.stat"),
)
# Of files on a disk that nothing has read of late: the kernel keeps them while there is room and lets go of them else.
# In each version's words, the group with all below it.
_CACHED = {"memory.stat": "inactive_file", "memory/memory.stat": "total_inactive_file"}
# Processor time used, in each version's folder.
_CPU_FILES = ("cpu.stat", "cpuacct/cpuacct.usage")
_NO_LIMIT = 1 << 60


class Gauges:
    """Reads descriptors that stay open: the files themselves cannot be seen from a local sandbox."""

    def __init__(
        self,
        usage: int | None,
        events: int | None,
        limit_bytes: int | None,
        cpu: int | None = None,
        cached: tuple[int, str] | None = None,
    ) -> None:
        self._usage = usage
        self._events = events
        self._cpu = cpu
        self._cached = cached
        self._kills_told = 0
        self.limit_bytes = limit_bytes

    @classmethod
    def from_descriptors(cls, descriptors: Sequence[int], limit_bytes: int) -> Self:
        """Two descriptors (usage, events) that the owner passed, or none where it has no control groups."""
        if len(descriptors) < 2:
            return cls(None, None, limit_bytes)
        return cls(descriptors[0], descriptors[1], limit_bytes)

    @classmethod
    def of_own_group(cls, root: str = "/sys/fs/cgroup") -> Self:
        """As a pod sees its own control group. gVisor shows one of its own making, version 1 and without events."""
        cpu = _first_that_opens(*(f"{root}/{name}" for name in _CPU_FILES))
        for usage, limit, events, what in _FILES:
            opened = _first_that_opens(f"{root}/{usage}")
            if opened is not None:
                stat = _first_that_opens(f"{root}/{what}")
                cached = (stat, _CACHED[what]) if stat is not None else None
                return cls(opened, _first_that_opens(f"{root}/{events}"), _limit(Path(root, limit)), cpu, cached)
        return cls(None, None, None, cpu)

    def describe(self) -> dict[str, float | None]:
        """All of it, as agents tell it."""
        return {
            "memory_bytes": self.memory_bytes(),
            "memory_limit_bytes": self.limit_bytes,
            "cpu_seconds": self.cpu_seconds(),
            "oom_kills": self.oom_kills(),
        }

    def memory_bytes(self) -> int | None:
        """Memory in use by everything in the runtime, or None if that cannot be known. In a pod without what is there
        of files on its disk only as long as there is room (as `kubectl top` counts)."""
        if self._usage is None:
            return None
        text = _read(self._usage).strip()
        return max(int(text) - self._cached_bytes(), 0) if text.isdigit() else None

    def _cached_bytes(self) -> int:
        if self._cached is None:
            return 0
        stat, wanted = self._cached
        words = (line.split() for line in _read(stat).splitlines())
        return next((int(line[1]) for line in words if len(line) == 2 and line[0] == wanted), 0)

    def cpu_seconds(self) -> float | None:
        """Processor time used by everything in the runtime so far, or None if that cannot be known from inside.

        Of a container: it begins again at 0 where that is started again."""
        if self._cpu is None:
            return None
        text = _read(self._cpu).strip()
        if text.isdigit():
            return int(text) / 1e9
        return next((int(line.split()[1]) / 1e6 for line in text.splitlines() if line.startswith("usage_usec ")), None)

    def oom_kills(self) -> int:
        """How often the kernel killed something of this runtime for want of memory (0 where it cannot be known)."""
        if self._events is None:
            return 0
        for line in _read(self._events).splitlines():
            name, _space, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
        return 0

    def ran_out(self) -> bool:
        """Whether a kernel that was killed and not by us, of which this is asked once, was killed for want of memory.
        Where memory is limited and nobody counts (gVisor) yes: nobody else kills there but the kernel's own code."""
        if self._events is None:
            return self._usage is not None and self.limit_bytes is not None
        kills = self.oom_kills()
        more, self._kills_told = kills > self._kills_told, kills
        return more


def _limit(path: Path) -> int | None:
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() and int(text) < _NO_LIMIT else None


def _first_that_opens(*paths: str) -> int | None:
    for path in paths:
        with suppress(OSError):
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    return None


def of_home() -> dict[str, int]:
    """How full the home folder is, as agents tell it."""
    disk = os.statvfs(HOME)
    size = disk.f_frsize
    return {"home_used_bytes": (disk.f_blocks - disk.f_bfree) * size, "home_total_bytes": disk.f_blocks * size}


def _read(descriptor: int) -> str:
    try:
        return os.pread(descriptor, 16384, 0).decode("ascii", "replace")
    except OSError:
        return ""
