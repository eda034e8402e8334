"""Control groups, v1 and v2, where this process may make them: one group of each controller for each sandbox."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from runtimes.provider import Limits

CONTROLLERS = ("memory", "pids", "cpu")
# Counts and limits nothing; v2 counts without it.
COUNTER = "cpuacct"
FOLDER, OWNER = "sandboxes", "owner"
CPU_PERIOD_MICROSECONDS = 100_000
_ROUNDS = 10
# Linux refuses less (Documentation/scheduler/sched-bwc.rst).
LEAST_QUOTA_MICROSECONDS = 1000
# (memory in use, out-of-memory counter) of each version.
_GAUGES = (("memory.current", "memory.events"), ("memory.usage_in_bytes", "memory.oom_control"))


@dataclass(frozen=True, slots=True)
class Group:
    """One sandbox's groups: controller → folder (v2: the same folder for each)."""

    folders: Mapping[str, Path]

    @property
    def paths(self) -> list[str]:
        """What a successor needs to sweep them."""
        return sorted({str(folder) for folder in self.folders.values()})

    def join(self, pid: int) -> None:
        """Moves a process in; what it forks later is born inside. Raises OSError."""
        for path in self.paths:
            Path(path, "cgroup.procs").write_text(str(pid))

    def open_gauges(self) -> list[int]:
        """Descriptors of memory use and of the out-of-memory counter, or none without a memory controller."""
        folder = self.folders.get("memory")
        for names in _GAUGES if folder else ():
            with suppress(FileNotFoundError):
                return [os.open(f"{folder}/{name}", os.O_RDONLY | os.O_CLOEXEC) for name in names]
        return []

    def cpu_seconds(self) -> float | None:
        """Processor time used in here so far; None where it is not counted."""
        counted, folder = self.folders.get(COUNTER), self.folders.get("memory")
        with suppress(OSError, ValueError):
            if counted is not None:
                return int((counted / "cpuacct.usage").read_text()) / 1e9
            if folder is not None:
                told = dict(line.split() for line in (folder / "cpu.stat").read_text().splitlines())
                return int(told.get("usage_usec", "")) / 1e6
        return None

    def limit_cpu(self, cores: float) -> bool:
        """Changes how many processors may be used in here; False where they are not limited."""
        folder = self.folders.get("cpu")
        if folder is None:
            return False
        v2 = (folder / "cpu.max").exists()
        name, text = ("cpu.max", _cpu_max(cores)) if v2 else ("cpu.cfs_quota_us", str(_quota(cores)))
        with suppress(OSError):
            (folder / name).write_text(text)
            return True
        return False

    def oom_kills(self) -> int:
        """How often the kernel killed something in here for want of memory."""
        folder = self.folders.get("memory")
        for _usage, name in _GAUGES if folder else ():
            with suppress(OSError):
                lines = Path(str(folder), name).read_text().splitlines()
                return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
        return 0


class Cgroups:
    """Where groups can be made: controller → the folder to make them in. Empty where nothing can."""

    def __init__(self, bases: Mapping[str, Path], version: int) -> None:
        self._bases = dict(bases)
        self._version = version

    @property
    def controllers(self) -> frozenset[str]:
        """Which of `CONTROLLERS` hold."""
        return frozenset(self._bases).intersection(CONTROLLERS)

    def create(self, name: str, limits: Limits) -> Group:
        """A group for one sandbox with its limits set. Raises OSError."""
        folders = {controller: base / name for controller, base in self._bases.items()}
        for folder in set(folders.values()):
            folder.mkdir(exist_ok=True)
        write = _limit_v2 if self._version == 2 else _limit_v1
        for controller, folder in folders.items():
            write(controller, folder, limits)
        return Group(folders)


def find(*, root: Path = Path("/"), wanted: bool = True) -> Cgroups:
    """The controllers that this process can use, by trying. `root`: another root folder, for tests."""
    if not wanted:
        return Cgroups({}, 0)
    bases = _bases_v2(root) or {}
    if bases:
        return Cgroups(bases, 2)
    return Cgroups(_bases_v1(root), 1)


def sweep(paths: Iterable[str]) -> None:
    """Kills what is left in groups and removes them. Groups that are gone are no error."""
    for text in paths:
        folder = Path(text)
        deadline = time.monotonic() + 5
        while folder.exists() and time.monotonic() < deadline:
            _kill(folder)
            try:
                folder.rmdir()
            except OSError:
                # Processes that were killed are counted until they are reaped.
                time.sleep(0.01)


def _kill(folder: Path) -> None:
    with suppress(OSError):
        (folder / "cgroup.kill").write_text("1")
        return
    with suppress(OSError):
        for pid in (folder / "cgroup.procs").read_text().split():
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)


def _limit_v1(controller: str, folder: Path, limits: Limits) -> None:
    if controller == "memory":
        (folder / "memory.limit_in_bytes").write_text(str(limits.memory_bytes))
        for name, value in (("memory.memsw.limit_in_bytes", str(limits.memory_bytes)), ("memory.swappiness", "0")):
            # Not every kernel accounts for swap.
            with suppress(OSError):
                (folder / name).write_text(value)
    elif controller == "pids":
        (folder / "pids.max").write_text(str(limits.processes))
    elif controller == "cpu":
        (folder / "cpu.cfs_period_us").write_text(str(CPU_PERIOD_MICROSECONDS))
        (folder / "cpu.cfs_quota_us").write_text(str(_quota(limits.cpu_cores)))


def _limit_v2(controller: str, folder: Path, limits: Limits) -> None:
    if controller == "memory":
        (folder / "memory.max").write_text(str(limits.memory_bytes))
        with suppress(OSError):
            (folder / "memory.swap.max").write_text("0")
    elif controller == "pids":
        (folder / "pids.max").write_text(str(limits.processes))
    else:
        (folder / "cpu.max").write_text(_cpu_max(limits.cpu_cores))


def _cpu_max(cores: float) -> str:
    return f"{_quota(cores)} {CPU_PERIOD_MICROSECONDS}"


def _quota(cores: float) -> int:
    return max(int(cores * CPU_PERIOD_MICROSECONDS), LEAST_QUOTA_MICROSECONDS)


def _mounts(root: Path) -> list[tuple[str, Path, set[str]]]:
    """(file system type, mount point, options) of every control-group mount."""
    lines = (root / "proc/self/mounts").read_text().splitlines()
    fields = [line.split() for line in lines]
    return [
        (kind, root / point.lstrip("/"), set(options.split(",")))
        for _device, point, kind, options, *_rest in fields
        if kind in ("cgroup", "cgroup2")
    ]


def _own(root: Path) -> dict[str, str]:
    """Controller ("" for v2) → this process's own group."""
    own = {}
    for line in (root / "proc/self/cgroup").read_text().splitlines():
        _number, controllers, path = line.split(":", 2)
        own.update(dict.fromkeys(controllers.split(","), path))
    return own


def _bases_v1(root: Path) -> dict[str, Path]:
    bases = {}
    own = _own(root)
    for kind, point, options in _mounts(root):
        for controller in (*CONTROLLERS, COUNTER):
            if kind == "cgroup" and controller in options and controller in own:
                base = point / own[controller].lstrip("/") / FOLDER
                if _usable(base):
                    bases[controller] = base
    return bases


def _bases_v2(root: Path) -> dict[str, Path]:
    point = next((point for kind, point, _options in _mounts(root) if kind == "cgroup2"), None)
    own = _own(root).get("")
    if point is None or own is None:
        return {}
    here = point / own.lstrip("/")
    if here.name == OWNER and (here.parent / FOLDER).is_dir():
        # This process has been here before.
        here = here.parent
    try:
        offered = set((here / "cgroup.controllers").read_text().split())
        usable = [controller for controller in CONTROLLERS if controller in offered]
        if "memory" not in usable:
            return {}
        _make_way(here)
        _enable(here, usable)
        base = here / FOLDER
        base.mkdir(exist_ok=True)
        _enable(base, usable)
    except OSError:
        return {}
    return dict.fromkeys(usable, base)


def _make_way(here: Path) -> None:
    """A group with controllers for its children holds no process itself: ours, and the site's others that were started
    with it, move one below (cgroup-v2.rst, "No Internal Process Constraint"). The root of all groups may, and has no
    type; a container's root is none of that kind."""
    if not (here / "cgroup.type").exists():
        return
    aside = here / OWNER
    aside.mkdir(exist_ok=True)
    for _round in range(_ROUNDS):
        # What they fork meanwhile is born here, too.
        if not (pids := (here / "cgroup.procs").read_text().split()):
            break
        for pid in pids:
            with suppress(ProcessLookupError):
                (aside / "cgroup.procs").write_text(pid)


def _enable(folder: Path, controllers: Iterable[str]) -> None:
    (folder / "cgroup.subtree_control").write_text(" ".join(f"+{controller}" for controller in controllers))


def _usable(base: Path) -> bool:
    try:
        base.mkdir(exist_ok=True)
    except OSError:
        return False
    return os.access(base, os.W_OK)
