"""Sandboxes for the engine, out of `runtimes`. The only place where grading starts anything that runs student code."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Protocol

from jupyter_client.asynchronous.client import AsyncKernelClient

from grading.engine import Borrow, FilesRefused, NoKernel, Sandbox, SandboxLost
from grading.errors import GraderUnavailable
from runtimes.agent_replies import AgentError, AgentRefused, AgentUnreachable, TransferRefused
from runtimes.borrow import MAX_MESSAGE_BYTES, Borrowed, Ending
from runtimes.errors import RuntimesError
from runtimes.job import job
from runtimes.models import Profile
from runtimes.provider_errors import ProviderError

# nbgrader sets this for every kernel that it starts while autograding.
ENVIRONMENT = {"NBGRADER_EXECUTION": "autograde"}
_NOT_STARTED = frozenset({"no-kernelspec", "start-failed"})


class Lender(Borrow, Protocol):
    """Makes sandboxes and knows of what they are made."""

    @property
    def environment_digest(self) -> str:
        """The environment that the sandboxes so far ran; "" when there was none."""


class Lend(Protocol):
    """How verbs get a lender; tests pass one of their own."""

    def __call__(self, *, profile: Profile, account: str, preload: Sequence[str]) -> Lender:
        """A lender for one job."""


class _Borrowed:
    """A borrowed runtime as the engine sees it: whatever is nobody's fault becomes SandboxLost."""

    def __init__(self, borrowed: Borrowed, files: Mapping[str, bytes], message_bytes: int) -> None:
        self._borrowed, self._pushed, self._message_bytes = borrowed, files, message_bytes

    async def client(self) -> AsyncKernelClient:
        try:
            return await self._borrowed.client(max_message_bytes=self._message_bytes)
        except RuntimesError as error:
            raise SandboxLost(str(error)) from error

    async def interrupt(self) -> None:
        try:
            await self._borrowed.interrupt()
        except RuntimesError as error:
            # A kernel that ended by itself needs no interrupt; the engine asks why it ended.
            if await self.alive():
                raise SandboxLost(str(error)) from error

    async def alive(self) -> bool:
        return await self._borrowed.alive()

    async def exit_reason(self) -> Ending | None:
        return await self._borrowed.exit_reason()

    async def pull(self) -> dict[str, bytes]:
        try:
            changed = await self._borrowed.pull()
        except TransferRefused as error:
            raise FilesRefused(str(error)) from error
        except AgentError as error:
            raise SandboxLost(str(error)) from error
        kept = {path: data for path, data in self._pushed.items() if path not in self._borrowed.deleted}
        return {**kept, **changed}


class _Lender:
    """Sandboxes of one profile, charged to one account."""

    def __init__(self, profile: Profile, account: str, preload: Sequence[str], message_bytes: int) -> None:
        self._profile, self._account, self._preload = profile, account, tuple(preload)
        self._message_bytes = message_bytes
        self.environment_digest = ""

    @asynccontextmanager
    async def __call__(self, *, files: Mapping[str, bytes], kernel: str) -> AsyncIterator[Sandbox]:
        async with AsyncExitStack() as stack:
            borrowing = job(
                profile=self._profile,
                account=self._account,
                files=files,
                preload=self._preload,
                env=ENVIRONMENT,
                kernelspec=kernel,
            )
            try:
                borrowed = await stack.enter_async_context(borrowing)
            except (RuntimesError, AgentError, ProviderError) as error:
                raise _translated(error, kernel) from error
            self.environment_digest = borrowed.runtime.environment_digest
            yield _Borrowed(borrowed, files, self._message_bytes)


def _translated(error: Exception, kernel: str) -> Exception:
    """Why there is no sandbox, in the words of grading."""
    if isinstance(error, AgentRefused) and error.code in _NOT_STARTED and kernel:
        return NoKernel(str(error))
    if isinstance(error, TransferRefused | AgentRefused):
        return FilesRefused(str(error))
    if isinstance(error, AgentUnreachable) and kernel:
        # It may be the submission's files that keep a kernel from answering: that must not go on for ever.
        return SandboxLost(str(error))
    return GraderUnavailable(str(error))


def lender(*, profile: Profile, account: str, preload: Sequence[str], message_bytes: int = MAX_MESSAGE_BYTES) -> Lender:
    """Fresh sandboxes of the configured provider. Entering one raises GraderUnavailable where none can be had."""
    return _Lender(profile, account, preload, message_bytes)
