"""The contract between the site and whatever runs student code: one sandboxed place (a *runtime*) for each request.

A provider starts runtimes, says how they are, and ends them. It knows no workspace, course or person: a runtime is a
name, limits and an environment. Everything above it (connecting, files, interrupts, restarts) is the same for each
provider: it goes through the runtime's agent (`runtimes/agent_client.py`) and its kernels' sockets (`Endpoint`).

Errors are in `provider_errors.py`, states and their sentences in `status.py`; both are part of the contract.
"""

from __future__ import annotations

import asyncio
import re
import socket
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import ClassVar, Literal, Self

from django.conf import settings
from django.utils.module_loading import import_string

from runtimes.endpoint import AGENT_PORT, CHANNELS, FIRST_KERNEL_PORT, MAX_KERNELS, Endpoint
from runtimes.image_trial import ImageTrial
from runtimes.kernelspecs import Kernelspec
from runtimes.machine import Machine
from runtimes.provider_errors import (
    InvalidRequest,
    NotOffered,
    NotReady,
    ProviderError,
    ProviderUnavailable,
    SandboxUnavailable,
    UnknownRuntime,
)
from runtimes.status import ISOLATION_WORDS, REASON_SENTENCES, Phase, Reason, Status

__all__ = [
    "AGENT_PORT",
    "CHANNELS",
    "FIRST_KERNEL_PORT",
    "ISOLATION_WORDS",
    "MAX_KERNELS",
    "REASON_SENTENCES",
    "Endpoint",
    "InvalidRequest",
    "Isolation",
    "Kernelspec",
    "Limits",
    "Machine",
    "Network",
    "NotOffered",
    "NotReady",
    "Owned",
    "Phase",
    "Provider",
    "ProviderError",
    "ProviderUnavailable",
    "Reason",
    "Request",
    "SandboxUnavailable",
    "Status",
    "UnknownRuntime",
    "get",
]

MIB = 1 << 20
GIB = 1 << 30

NAME_PATTERN = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


class Network(StrEnum):
    """What a runtime may reach. `internet` never includes loopback, private, link-local or metadata addresses; `index`
    is a mirror of package indexes that the site names, and nothing else."""

    NONE = "none"
    INDEX = "index"
    INTERNET = "internet"


class Isolation(StrEnum):
    """`forked`: from a warm fork server, namespaces of its own. `strict`: an interpreter of its own as well."""

    FORKED = "forked"
    STRICT = "strict"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one runtime may use, all its kernels together, except `file_bytes` and `open_files` (each process).

    idle: how long neither its kernels nor its site may stir, where it could outlive the site."""

    memory_bytes: int = GIB
    cpu_cores: float = 1.0
    processes: int = 128
    home_bytes: int = 512 * MIB
    tmp_bytes: int = 128 * MIB
    file_bytes: int = 256 * MIB
    open_files: int = 1024
    lifetime: timedelta = timedelta(hours=12)
    idle: timedelta = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class Request:
    """One runtime to be started. `acquire` is idempotent on `name`.

    environment: digest from `Provider.environments()`; "" or "default" is the current one.
    preload: modules worth importing before the fork; a hint that never changes what code can see.
    kernels: how many kernels (0 … kernels-1) to start at once, before anyone asks the agent.
    env: extra environment variables of every kernel.
    machine: what else its profile says; a provider refuses what it lacks where code could tell the difference.
    """

    name: str
    limits: Limits = field(default_factory=Limits)
    environment: str = ""
    preload: tuple[str, ...] = ()
    network: Network = Network.NONE
    isolation: Isolation | None = None
    gpu: int = 0
    kernels: int = 0
    env: Mapping[str, str] = field(default_factory=dict)
    purpose: Literal["interactive", "grading"] = "interactive"
    machine: Machine = field(default_factory=Machine)

    def validate(self) -> None:
        """Raises InvalidRequest with the first thing that is wrong."""
        if not NAME_PATTERN.fullmatch(self.name):
            raise InvalidRequest(f"{self.name!r} is not a DNS label")
        if not 0 <= self.kernels <= MAX_KERNELS:
            raise InvalidRequest(f"between 0 and {MAX_KERNELS} kernels, not {self.kernels}")
        limits = self.limits
        smallest = (limits.memory_bytes, limits.home_bytes, limits.tmp_bytes, limits.file_bytes)
        if min(smallest) < MIB or limits.cpu_cores <= 0 or limits.processes < 1 or limits.open_files < 1:
            raise InvalidRequest(f"limits too small: {limits}")
        if min(limits.lifetime, limits.idle) <= timedelta(0) or self.gpu < 0:
            raise InvalidRequest("lifetime, idle limit and GPU count must be positive")
        self.machine.check(self)


@dataclass(frozen=True, slots=True)
class Owned:
    """One runtime that exists here, whether or not a row knows of it. `name` is "" for a pre-warmed one."""

    name: str
    identity: str
    status: Status


class Loan(ABC):
    """A runtime for one job, with one kernel that runs. Its holder passes `sockets` on to whoever does the job."""

    environment: str
    #: Done when the runtime ended before `close`, with the reason.
    ended: asyncio.Future[Reason]

    @abstractmethod
    def sockets(self) -> Sequence[socket.socket]:
        """The desk, where questions to its agent are asked, and the wire of its kernel's messages: packets (see
        `runtimes/agent/packets.py`)."""

    def cpu_seconds(self) -> float | None:
        """Processor time that it used so far; None where that is not known."""
        return None

    @abstractmethod
    async def close(self) -> None:
        """Ends it and returns when nothing of it is left."""


class Provider(ABC):
    """One place where runtimes live. One process owns a provider; all methods are called on one event loop."""

    slug: ClassVar[str]
    #: Whether `lend` is offered.
    lends: ClassVar[bool] = False
    #: Whether its runtimes go on when the process that owns it ends; a successor finds them.
    outlives: ClassVar[bool] = False

    @property
    def image(self) -> str:
        """What runs where a request names no image; "" where environments are no images. Any process may ask, and
        before `start`."""
        return ""

    @classmethod
    @abstractmethod
    def from_settings(cls) -> Self:
        """A provider as Django's settings describe it. Touches nothing: `start` does."""

    @abstractmethod
    async def start(self) -> None:
        """Makes ready and clears what a killed predecessor left. Raises ProviderUnavailable with what to do."""

    @abstractmethod
    async def acquire(self, request: Request) -> Status:
        """Begins to start a runtime and returns at once; asked again with the same name, only tells its status.

        Raises InvalidRequest or NotOffered when it can never work, ProviderUnavailable when it cannot now.
        A start that fails later is a status (`lost`, with the reason) and an event, not an exception.
        """

    @abstractmethod
    async def status(self, name: str) -> Status:
        """Raises UnknownRuntime. An ended runtime is remembered until it is released."""

    @abstractmethod
    def events(self) -> AsyncIterator[tuple[str, Status]]:
        """Every change of status from now on, for each caller. A slow reader may miss all but a runtime's last one."""

    @abstractmethod
    async def endpoint(self, name: str) -> Endpoint:
        """Raises UnknownRuntime, or NotReady unless its phase is `ready`."""

    @abstractmethod
    async def release(self, name: str, *, reason: Reason = Reason.REQUESTED, grace: timedelta = timedelta(0)) -> None:
        """Ends a runtime and returns when nothing of it is left. An unknown name is no error.

        grace: how long its kernels get to finish after SIGTERM."""

    async def lend(self, request: Request) -> Loan:
        """A runtime for one job on this host, ready; waits for room. Raises what `acquire` raises, and NotOffered where
        jobs shall run in runtimes like all others: `borrow` asks for one of those then."""
        raise NotOffered(f"{self.slug} has no runtimes for jobs alone")

    @abstractmethod
    async def owned(self) -> list[Owned]:
        """Everything that exists, found by looking and not only from memory: what a reconciler compares rows with."""

    @abstractmethod
    async def keep_warm(self, templates: Sequence[tuple[Request, int]]) -> Mapping[str, int]:
        """Keeps so many unused runtimes ready for requests that equal a template in all but the name; replaces the
        former wishes. Each is used once. A hint: a provider keeps as many as it has room for. Returns how many are
        ready now, by the profile's short name."""

    async def warm_lacks(self) -> Mapping[str, str]:
        """Why fewer are ready than `keep_warm` was asked for, by the profile's short name, in the words of whatever
        would run them; nothing for those that only start, and where nobody can say."""
        return {}

    @abstractmethod
    async def environments(self) -> list[str]:
        """Digests of the kernel environments that may be asked for, the current one first."""

    @abstractmethod
    async def environment_of(self, request: Request) -> str:
        """Digest of the environment that `request` runs in. Raises NotOffered where there is none."""

    async def accelerators(self) -> int | None:
        """How many GPUs or TPUs there are in all; None where that is not known."""
        return None

    async def cpu_seconds(self, name: str) -> float | None:
        """Processor time that everything in a runtime used so far, as seen from outside: code in it cannot change that.
        None where only its agent can tell (`AgentStatus.cpu_seconds`), or nobody can."""
        return None

    async def throttle(self, name: str, share: float | None) -> bool:
        """From now on everything in a runtime gets this share (0 to 1) of the processors that its limits say, None: all
        of them again. Whether that can be done here. Asked again, changes nothing. Raises UnknownRuntime, or
        ProviderUnavailable when it cannot now."""
        return share is None

    async def refusal(self, request: Request) -> str:
        """Why it could never be run here, in the words of whatever would run it; "" if it can. For whoever edits a
        profile: any process may ask, and before `start`. Raises ProviderUnavailable where nobody can say."""
        return ""

    async def try_image(self, request: Request) -> ImageTrial:
        """Whether its image can be had and has what a kernel needs, by really starting it: within half a minute. Asked
        where `refusal` says nothing, under the same terms."""
        return ImageTrial()

    def kernelspecs(self, environment: str) -> Mapping[str, Kernelspec]:
        """The kernels of an environment beside Python's, by name; none where nothing can run. Any process may ask, and
        before `start`."""
        return {}

    @abstractmethod
    async def close(self) -> None:
        """Frees what it holds, and ends every runtime of this provider unless they outlive it."""


def get() -> Provider:
    """A new provider of the class that `settings.RUNTIME_PROVIDER` names (a dotted path)."""
    provider_class: type[Provider] = import_string(settings.RUNTIME_PROVIDER)
    return provider_class.from_settings()
