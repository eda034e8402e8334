"""Verbs on kernels: start, interrupt, restart, stop. They go to the runtime's agent directly, from any process.

The row says what is wanted before the agent is asked: what a crash leaves half done, the `runtimes` process finishes.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from asgiref.sync import async_to_sync, sync_to_async
from django.db import IntegrityError, connection, transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from runtimes import bus, load
from runtimes.agent_client import AgentClient
from runtimes.agent_replies import AgentError, AgentRefused, AgentUnreachable
from runtimes.connection import endpoint_of
from runtimes.describe import because, source_text
from runtimes.endpoint import MAX_KERNELS
from runtimes.errors import KernelRefused, KeyMissing, RuntimeFailed
from runtimes.kernelspecs import PYTHON
from runtimes.models import Kernel, Runtime
from runtimes.status import Reason

_TRIES = 20
_BEFORE_RUNNING = [Kernel.State.REQUESTED, Kernel.State.STARTING, Kernel.State.RESTARTING]
_TOO_MANY = _("So many kernels run for this work that no other can be started. Shut one down first.")
_START_FAILED = _("The kernel could not be started. Try again; if it happens again, tell your teacher.")


async def astart_kernel(runtime: Runtime, *, name: str = PYTHON, cwd: str = "") -> Kernel:
    """A new kernel in a runtime. Started at once if the runtime is ready, else as soon as it is (`kernel_ready` waits).

    name: of a kernelspec. cwd: a folder of the workspace. Raises RuntimeFailed if the runtime ended, KernelRefused if
    it holds too many."""
    kernel, now = await sync_to_async(_request_kernel)(runtime, name, cwd)
    if now:
        try:
            await begin(kernel)
        except (AgentUnreachable, KeyMissing):
            await bus.publish("runtimes")
    return kernel


def _request_kernel(runtime: Runtime, name: str, cwd: str) -> tuple[Kernel, bool]:
    """The row, and whether the agent may be asked here and now: not while a transaction is open."""
    row = Runtime.objects.get(pk=runtime.pk)
    if row.state not in Runtime.LIVE:
        raise RuntimeFailed(row.reason, row.name, because(row.reason, row.message))
    kernel = _with_free_index(
        row, first=1 if cwd or name != PYTHON else 0, do=lambda index: Kernel.objects.create(
            runtime=row, workspace_id=row.workspace_id, index=index, name=name, cwd=cwd
        )
    )  # fmt: skip
    kernel.runtime = row
    load.began(Runtime.objects.filter(pk=row.pk))
    bus.publish_on_commit("runtimes")
    return kernel, row.state == Runtime.State.READY and not connection.in_atomic_block


def _with_free_index(runtime: Runtime, *, do, first: int = 0) -> Kernel:  # type: ignore[no-untyped-def]
    """What `do(index)` returns for the lowest index that no live kernel has: the constraint decides races.

    Index 0 starts with the runtime, as Python's in the home folder: what shall be otherwise takes another."""
    for _attempt in range(_TRIES):
        taken = Kernel.objects.filter(runtime=runtime).exclude(state=Kernel.State.DEAD).values_list("index", flat=True)
        free = sorted(set(range(first, MAX_KERNELS)) - set(taken))
        if not free:
            break
        try:
            with transaction.atomic():
                return do(free[0])  # type: ignore[no-any-return]
        except IntegrityError:
            continue
    raise KernelRefused(f"{runtime.name} has no free kernel index", _TOO_MANY)


async def begin(kernel: Kernel, agent: AgentClient | None = None) -> None:
    """Has the agent start a kernel whose row wants it, and says so on the row; asked twice, the second changes nothing.

    Raises AgentUnreachable (the row still wants it) or KernelRefused (the row is dead)."""
    runtime = kernel.runtime
    own = agent or AgentClient(endpoint_of(runtime))
    try:
        await own.start_kernel(kernel.index, env=runtime.env, cwd=kernel.cwd, kernelspec=_kernelspec(kernel))
    except AgentRefused as error:
        await _mark_dead(kernel, Reason.ERROR, source_text(_START_FAILED))
        raise KernelRefused(str(error), _START_FAILED) from error
    finally:
        if own is not agent:
            await own.close()
    await mark_running(kernel)


async def mark_running(kernel: Kernel, *, restarted: bool = False) -> None:
    """The agent says that it runs. restarted: a word of its former death may have come in late and is overruled."""
    stopped = Q(state=Kernel.State.STOPPING) | Q(state=Kernel.State.DEAD, reason=Reason.REQUESTED)
    rows = Kernel.objects.filter(pk=kernel.pk)
    rows = rows.exclude(stopped) if restarted else rows.filter(state__in=_BEFORE_RUNNING)
    changes = {"state": Kernel.State.RUNNING, "reason": "", "message": "", "started_at": timezone.now()}
    if await rows.aupdate(**changes, execution_state="idle", last_activity=timezone.now()):
        for name, value in changes.items():
            setattr(kernel, name, value)
        await bus.publish(f"runtime:{kernel.runtime.name}")


async def ainterrupt(kernel: Kernel) -> None:
    """KeyboardInterrupt in the running cell. Raises RuntimeFailed or KernelRefused."""
    row = await _current(kernel)
    async with AgentClient(endpoint_of(row.runtime)) as agent:
        try:
            await agent.interrupt(row.index)
        except AgentError as error:
            raise KernelRefused(str(error), error.user_message) from error


async def arestart(kernel: Kernel) -> Kernel:
    """The kernel, new: same id, same files, no variables; also one that died. Raises RuntimeFailed or KernelRefused."""
    row = await _current(kernel)
    await sync_to_async(_want_restart)(row)
    await bus.publish(f"runtime:{row.runtime.name}")
    async with AgentClient(endpoint_of(row.runtime)) as agent:
        try:
            await _restart_or_start(agent, row)
        except AgentRefused as error:
            await _mark_dead(row, Reason.ERROR, source_text(_START_FAILED))
            raise KernelRefused(str(error), _START_FAILED) from error
        except AgentUnreachable as error:
            raise KernelRefused(str(error), error.user_message) from error
    await mark_running(row, restarted=True)
    return row


async def _restart_or_start(agent: AgentClient, row: Kernel) -> None:
    kernelspec = _kernelspec(row)
    try:
        await agent.restart_kernel(row.index, cwd=row.cwd, kernelspec=kernelspec)
    except AgentRefused as error:
        if error.code != "unknown-kernel":
            raise
        await agent.start_kernel(row.index, env=row.runtime.env, cwd=row.cwd, kernelspec=kernelspec)


def _kernelspec(row: Kernel) -> str:
    """As the agent knows it."""
    return "" if row.name == PYTHON else row.name


def _want_restart(row: Kernel) -> None:
    def move(index: int) -> Kernel:
        changes = {"index": index, "state": Kernel.State.RESTARTING, "restarts": row.restarts + 1}
        Kernel.objects.filter(pk=row.pk).exclude(state=Kernel.State.STOPPING).update(**changes)
        row.index, row.state, row.restarts = index, Kernel.State.RESTARTING, row.restarts + 1
        return row

    load.began(Runtime.objects.filter(pk=row.runtime_id))
    try:
        with transaction.atomic():
            move(row.index)
    except IntegrityError:
        # It was dead, and another kernel took its index meanwhile.
        _with_free_index(row.runtime, do=move)


async def astop_kernel(kernel: Kernel) -> None:
    """Ends a kernel; the runtime, its files and other kernels stay. No error if it is gone already."""
    row = await Kernel.objects.select_related("runtime").aget(pk=kernel.pk)
    if not await Kernel.objects.filter(pk=row.pk).exclude(state=Kernel.State.DEAD).aupdate(state=Kernel.State.STOPPING):
        return
    await bus.publish("runtimes")
    if row.runtime.state != Runtime.State.READY:
        return
    with suppress(KeyMissing):
        # Who knows its key does it: the row says so.
        await finish(row)


async def finish(row: Kernel, agent: AgentClient | None = None) -> None:
    """Has the agent end a kernel whose row says that it shall stop; one that does not answer is asked again later."""
    own = agent or AgentClient(endpoint_of(row.runtime))
    try:
        await own.stop_kernel(row.index)
    except AgentUnreachable:
        return
    except AgentRefused as error:
        raise KernelRefused(str(error)) from error
    finally:
        if own is not agent:
            await own.close()
    await _mark_dead(row, Reason.REQUESTED, "")


async def _mark_dead(row: Kernel, reason: str, message: str) -> None:
    await Kernel.objects.filter(pk=row.pk).aupdate(
        state=Kernel.State.DEAD, reason=reason, message=message, execution_state="dead"
    )
    row.state, row.reason, row.message = Kernel.State.DEAD, reason, message
    await bus.publish(f"runtime:{row.runtime.name}")


async def _current(kernel: Kernel) -> Kernel:
    row = await Kernel.objects.select_related("runtime").aget(pk=kernel.pk)
    runtime = row.runtime
    if runtime.state not in Runtime.LIVE:
        raise RuntimeFailed(runtime.reason, runtime.name, because(runtime.reason, runtime.message))
    return row


start_kernel = async_to_sync(astart_kernel)
interrupt = async_to_sync(ainterrupt)
restart = async_to_sync(arestart)
stop_kernel = async_to_sync(astop_kernel)

__all__: Sequence[str] = [
    "ainterrupt", "arestart", "astart_kernel", "astop_kernel", "begin", "finish", "interrupt", "mark_running",
    "restart", "start_kernel", "stop_kernel",
]  # fmt: skip
