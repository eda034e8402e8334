"""What a runtime's agent answers, and the errors of asking it.

AgentError
├── AgentUnreachable   no answer in time (retryable)
├── AgentRefused       the agent said no; `code` says why
└── TransferRefused    files too many, too large, or with unsafe names; nothing was written
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Self

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from runtimes.agent.archive import Unpacked


class ExitReason(StrEnum):
    """Why a kernel process ended."""

    OUT_OF_MEMORY = "out of memory"
    KILLED = "killed"
    CRASHED = "crashed"
    EXITED = "exited"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class KernelState:
    """One kernel as its agent sees it. state: starting, idle, busy or dead; exit_status is negative for a signal."""

    index: int
    state: str
    restarts: int = 0
    exit_status: int | None = None
    exit_reason: ExitReason | None = None
    idle_seconds: float = 0.0

    @classmethod
    def from_header(cls, data: Mapping[str, Any]) -> Self:
        reason = data.get("exit_reason")
        status = data.get("exit_status")
        return cls(
            index=int(data["index"]),
            state=str(data["state"]),
            restarts=int(data.get("restarts", 0)),
            exit_status=None if status is None else int(status),
            exit_reason=ExitReason(reason) if reason else None,
            idle_seconds=float(data.get("idle_seconds", 0.0)),
        )


@dataclass(frozen=True, slots=True)
class AgentStatus:
    """A runtime from inside. Figures of memory and cpu are None where no control group can be read; cpu_seconds, of all
    that ever ran in it, are told by pods alone (see `Provider.cpu_seconds`). ending: it was told to end by others than
    its site, and serves for a short while yet. preload_failed: how its first kernel ended while it imported what its
    profile names, "" where it did not; it was started again without."""

    kernels: tuple[KernelState, ...]
    memory_bytes: int | None
    memory_limit_bytes: int | None
    cpu_seconds: float | None
    oom_kills: int
    home_used_bytes: int
    home_total_bytes: int
    idle_seconds: float
    uptime_seconds: float
    ending: bool
    preload_failed: str = ""

    def kernel(self, index: int) -> KernelState | None:
        """Kernel `index`, or None if it was never started or was stopped on request."""
        return next((kernel for kernel in self.kernels if kernel.index == index), None)


@dataclass(frozen=True, slots=True)
class Pulled:
    """Files that are new or changed since the last acknowledged pull. executable: those of them that may be run.

    skipped: path → why it was left out: `too-large`, `not-a-file` (a link, a device, an unusable name), `changing`,
    `gone`, `unreadable`, `too-many-folders`.
    more: the limits cut the lists; pull again after acknowledging.
    """

    files: dict[str, bytes]
    deleted: tuple[str, ...]
    skipped: dict[str, str]
    token: str
    more: bool
    executable: frozenset[str] = frozenset()

    @classmethod
    def from_answer(cls, header: Mapping[str, Any], files: Unpacked) -> Self:
        return cls(
            files=files,
            deleted=tuple(str(path) for path in header["deleted"]),
            skipped={str(path): str(why) for path, why in header["skipped"].items()},
            token=str(header["token"]),
            more=bool(header["more"]),
            executable=frozenset(files.executable),
        )


@dataclass(frozen=True, slots=True)
class AgentEvent:
    """Something happened inside: `kernel` (a KernelState changed), or `ending` (see `AgentStatus`)."""

    kind: str
    kernel: KernelState | None
    status: Mapping[str, Any]


class AgentError(Exception):
    """Base of what asking an agent raises."""

    retryable: ClassVar[bool] = False
    user_message: str | Promise = _("The kernel's machine did not do what was asked. Try again, or restart the kernel.")


class AgentUnreachable(AgentError):
    retryable = True
    user_message: str | Promise = _("The kernel's machine does not answer. Wait a moment, or restart the kernel.")


class AgentRefused(AgentError):
    """code: `unknown-kernel`, `no-kernelspec`, `start-failed`, `unsafe-path`, `full`, `bad-request`, `too-large` or
    `error`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        if code == "full":
            self.user_message = _("The notebook's disk is full. Delete files there and try again.")


class TransferRefused(AgentError):
    user_message: str | Promise = _(
        "Some files could not be copied: too many, too large, or with names that are not allowed."
    )
