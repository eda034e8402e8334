"""Waiting for rows and for what kernels say: woken by the bus, never by a fixed sleep."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import zmq.asyncio
from asgiref.sync import sync_to_async
from jupyter_client.asynchronous.client import AsyncKernelClient

from runtimes import bus, launch
from runtimes.connection import kernel_connection
from runtimes.models import Kernel, Runtime, Workspace


async def until(what: Callable[[], Any]) -> Any:
    """What `what` (a query) returns, once it is true."""
    async with asyncio.timeout(40), bus.subscribe("*") as news:
        while True:
            found = await sync_to_async(what)()
            if found:
                return found
            await news.next(0.05)


def state_is(runtime: Runtime, *states: str) -> Callable[[], Runtime | None]:
    """A query for the row in one of these states."""
    return lambda: Runtime.objects.filter(pk=runtime.pk, state__in=states).first()


async def at_work(workspace: Workspace) -> tuple[Runtime, Kernel]:
    """Its runtime, ready, and a kernel in it; as long as a pod may take."""
    runtime = await launch.ready(await launch.alaunch(workspace), timeout=60)
    return runtime, await launch.astart_kernel(runtime)


async def run(
    runtime: Runtime, kernel: Kernel, code: str, *, timeout: float = 40, begun: asyncio.Event | None = None
) -> str:
    """What `code` printed, or its error. `begun` is set with its first output."""
    client = AsyncKernelClient(context=zmq.asyncio.Context.instance())
    client.load_connection_info(kernel_connection(runtime, kernel))
    client.start_channels(hb=False)
    said: list[str] = []

    def hear(message: dict[str, Any]) -> None:
        content = message["content"]
        if begun is not None and message["msg_type"] == "stream":
            begun.set()
        said.append(content.get("text") or "\n".join(content.get("traceback", [])))

    try:
        await client.wait_for_ready(timeout=timeout)
        await client.execute_interactive(code, timeout=timeout, output_hook=hear, allow_stdin=False)
    finally:
        client.stop_channels()
    return "".join(said)
