"""The kernels of one runtime: what runs, what ended and why, who waits to hear of it. Pure bookkeeping."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from . import layout
from .desk import Asker, Refused

_CRASHES = frozenset({signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE})


@dataclass
class Kernel:
    """One kernel. state: starting, idle, busy, stopping or dead. kernelspec: "" is Python's, which is ours.

    preload: what its process imports before it listens."""

    index: int
    env: dict[str, str]
    cwd: str
    kernelspec: str = ""
    state: str = "starting"
    pid: int = 0
    restarts: int = 0
    exit_status: int | None = None
    exit_reason: str | None = None
    preload: Sequence[str] = ()
    active_at: float = field(default_factory=time.monotonic)
    bound: int = -1
    restarting: bool = False
    waiting: list[Asker] = field(default_factory=list)
    stop_asked: list[Asker] = field(default_factory=list)

    @property
    def lives(self) -> bool:
        """It has a process, or soon will."""
        return self.state != "dead"

    def describe(self) -> dict[str, Any]:
        """As the site reads it."""
        return {
            "index": self.index,
            "state": self.state,
            "restarts": self.restarts,
            "exit_status": self.exit_status,
            "exit_reason": self.exit_reason,
            "idle_seconds": 0.0 if self.state == "busy" else time.monotonic() - self.active_at,
        }

    def begin(self, preload: Sequence[str] = ()) -> None:
        """A process is about to be made for it."""
        self.state, self.pid, self.preload = "starting", 0, preload
        self.exit_status = self.exit_reason = None
        self.active_at = time.monotonic()

    def end(self, status: int, *, out_of_memory: bool) -> None:
        """Its process ended."""
        self.exit_reason = _exit_reason(status, out_of_memory=out_of_memory, wanted=self.state == "stopping")
        self.exit_status = status
        self.state, self.pid = "dead", 0


class Kernels:
    """Kernels by index and by process."""

    def __init__(self) -> None:
        self._by_index: dict[int, Kernel] = {}

    def __iter__(self) -> Iterator[Kernel]:
        return iter(sorted(self._by_index.values(), key=lambda kernel: kernel.index))

    def get(self, index: int) -> Kernel | None:
        """Kernel `index`, also a dead one."""
        return self._by_index.get(index)

    def of_process(self, pid: int) -> Kernel | None:
        """The kernel whose process this is."""
        return next((kernel for kernel in self if kernel.pid == pid), None)

    def of_descriptor(self, descriptor: int) -> Kernel | None:
        """The kernel that tells on this descriptor that it is bound."""
        return next((kernel for kernel in self if kernel.bound == descriptor), None)

    def add(self, kernel: Kernel) -> Kernel:
        """Puts a new kernel in place of a dead one."""
        self._by_index[kernel.index] = kernel
        return kernel

    def forget(self, index: int) -> None:
        """It was stopped on request: there is nothing to tell any more."""
        self._by_index.pop(index, None)

    def idle_seconds(self, since: float) -> float:
        """How long no kernel has done anything, at most since `since` (monotonic); 0 while one is busy."""
        if any(kernel.state == "busy" for kernel in self):
            return 0.0
        return time.monotonic() - max([since, *(kernel.active_at for kernel in self)])


def kernel_index(header: Mapping[str, Any]) -> int:
    """Which kernel a question is about. Raises Refused for one that cannot be."""
    index = header["index"]
    if not isinstance(index, int) or not 0 <= index < layout.MAX_KERNELS:
        raise Refused("bad-request", f"no kernel can have index {index!r}")
    return index


def _exit_reason(status: int, *, out_of_memory: bool, wanted: bool) -> str:
    if wanted:
        return "stopped"
    if status == -signal.SIGKILL:
        return "out of memory" if out_of_memory else "killed"
    if status >= 0:
        return "exited"
    return "crashed" if -status in _CRASHES else "killed"
