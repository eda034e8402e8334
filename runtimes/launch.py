"""Verbs on runtimes: launch, stop, touch, and waiting for one. Those on kernels are in `steer.py` and part of this.

A verb writes the row, which is the request, and wakes the `runtimes` process. All are idempotent and hold under races.
The synchronous forms may be called inside or outside a transaction; each has an async form with an `a` before its name.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

from asgiref.sync import sync_to_async
from django.db import IntegrityError, transaction
from django.utils import timezone

from runtimes import bus
from runtimes.describe import because, sentence
from runtimes.errors import KernelRefused, RuntimeFailed, StillWaiting
from runtimes.models import Kernel, Runtime, Workspace
from runtimes.queue import queue_position
from runtimes.status import Reason
from runtimes.steer import (
    ainterrupt,
    arestart,
    astart_kernel,
    astop_kernel,
    interrupt,
    restart,
    start_kernel,
    stop_kernel,
)

__all__ = [
    "KernelRefused", "RuntimeFailed", "StillWaiting", "ainterrupt", "alaunch", "arestart", "astart_kernel", "astop",
    "astop_kernel", "atouch", "interrupt", "kernel_ready", "launch", "live_runtime", "queue_position", "ready",
    "restart", "sentence", "start_kernel", "stop", "stop_kernel", "touch",
]  # fmt: skip

# Rows are looked at this often, whatever the bus says.
LOOK_SECONDS = 1.0
TOUCH_EVERY = timedelta(seconds=30)
_TRIES = 5


def live_runtime(workspace: Workspace) -> Runtime | None:
    """The workspace's runtime that is queued, starting, ready or stopping. There is at most one."""
    live = Runtime.objects.filter(workspace=workspace, state__in=Runtime.LIVE)
    return live.select_related("profile__fallback").first()


def launch(workspace: Workspace) -> Runtime:
    """The workspace's live runtime, asked for if there is none. Returns at once; `ready` waits.

    It may be one that is just stopping: `ready` then waits for the next one."""
    for _attempt in range(_TRIES):
        runtime = live_runtime(workspace)
        if runtime is not None:
            touch(runtime)
            return runtime
        try:
            with transaction.atomic():
                runtime = Runtime.objects.create(
                    workspace=workspace,
                    profile=workspace.profile,
                    account=workspace.account,
                    preload=workspace.profile.preload,
                )
        except IntegrityError:
            continue  # someone else asked at the same moment: theirs is the one
        bus.publish_on_commit("runtimes")
        return runtime
    raise RuntimeFailed(Reason.ERROR, f"workspace {workspace.slug}: launched and stopped again and again")


def stop(runtime: Runtime, *, reason: str = Reason.REQUESTED, message: str = "") -> bool:
    """Asks for its end; files are pulled first. One that waits is stopped at once; an ended one stays as it is, and one
    that is stopping keeps its reason: False then."""
    # Twice: a runtime on its way to start may fall back into the queue between the two questions.
    for _attempt in range(2):
        if _stopped_waiting(runtime, reason, message) or _stopping(runtime, reason, message):
            bus.publish_on_commit("runtimes")
            bus.publish_on_commit(f"runtime:{runtime.name}")
            return True
    return False


def _stopped_waiting(runtime: Runtime, reason: str, message: str) -> bool:
    row = Runtime.objects.filter(pk=runtime.pk, state=Runtime.State.QUEUED)
    now = timezone.now()
    if not row.update(state=Runtime.State.STOPPED, reason=reason, message=message, stopped_at=now):
        return False
    kernels = Kernel.objects.filter(runtime=runtime).exclude(state=Kernel.State.DEAD)
    kernels.update(state=Kernel.State.DEAD, reason=reason, message=message, execution_state="dead")
    return True


def _stopping(runtime: Runtime, reason: str, message: str) -> bool:
    row = Runtime.objects.filter(pk=runtime.pk, state__in=[Runtime.State.STARTING, Runtime.State.READY])
    return bool(row.update(state=Runtime.State.STOPPING, reason=reason, message=message))


def touch(runtime: Runtime) -> None:
    """Somebody uses it: the idle limit counts from now. Cheap enough for every request."""
    now = timezone.now()
    Runtime.objects.filter(pk=runtime.pk, last_active_at__lt=now - TOUCH_EVERY).update(last_active_at=now)


async def ready(runtime: Runtime, timeout: timedelta | float) -> Runtime:
    """The runtime once it can be used: this one, or its successor if this one was already stopping.

    timeout: how long to wait, in seconds if a number. Raises StillWaiting after that, RuntimeFailed if it ended."""
    seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    current = runtime
    try:
        async with asyncio.timeout(seconds):
            while True:
                current, leaving = await _settled(current)
                if current.state == Runtime.State.READY:
                    return current
                if not leaving or current.workspace is None:
                    raise RuntimeFailed(current.reason, current.name, because(current.reason, current.message))
                current = await alaunch(current.workspace)
    except TimeoutError:
        current = await Runtime.objects.aget(pk=current.pk)
        told = await sync_to_async(sentence)(current)
        raise StillWaiting(current.reason or Reason.CAPACITY_WAIT, current.name, told) from None


async def _settled(runtime: Runtime) -> tuple[Runtime, bool]:
    """The row once it is neither waiting nor moving, and whether it was stopping when we came."""
    async with bus.subscribe(f"runtime:{runtime.name}") as news:
        leaving: bool | None = None
        while True:
            row = await Runtime.objects.select_related("profile", "workspace__profile").aget(pk=runtime.pk)
            leaving = row.state == Runtime.State.STOPPING if leaving is None else leaving
            if row.state == Runtime.State.READY or row.state not in Runtime.LIVE:
                return row, leaving
            await news.next(LOOK_SECONDS)


async def kernel_ready(kernel: Kernel, timeout: timedelta | float) -> Kernel:
    """The kernel once it runs and its sockets exist, with its runtime.

    Raises StillWaiting after `timeout`, RuntimeFailed if the runtime ended, KernelRefused if the kernel died."""
    seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    row = await Kernel.objects.select_related("runtime").aget(pk=kernel.pk)
    async with bus.subscribe(f"runtime:{row.runtime.name}") as news:
        try:
            async with asyncio.timeout(seconds):
                while True:
                    row = await Kernel.objects.select_related("runtime__profile").aget(pk=kernel.pk)
                    if row.state == Kernel.State.RUNNING and row.runtime.state == Runtime.State.READY:
                        return row
                    _check_alive(row)
                    await news.next(LOOK_SECONDS)
        except TimeoutError:
            told = await sync_to_async(sentence)(row.runtime)
            raise StillWaiting(row.runtime.reason or Reason.CAPACITY_WAIT, str(row.pk), told) from None


def _check_alive(row: Kernel) -> None:
    runtime = row.runtime
    if runtime.state not in Runtime.LIVE:
        raise RuntimeFailed(runtime.reason, runtime.name, because(runtime.reason, runtime.message))
    if row.state == Kernel.State.DEAD:
        raise KernelRefused(f"kernel {row.pk} is dead: {row.reason}", because(row.reason, row.message))


alaunch = sync_to_async(launch)
astop = sync_to_async(stop)
atouch = sync_to_async(touch)
