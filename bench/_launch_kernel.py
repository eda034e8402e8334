"""From the row that asks for a kernel to its first output, against stock jupyter_client starting a plain kernel.

The lower half of `bench.launch`: no page, no ticket, no document. The row is written, the `runtimes` process is woken,
a sandbox starts, the files of the workspace are pushed, the kernel answers, the cell prints. The peer has no sandbox,
no files and no rows: it starts `ipykernel` as a child process, connects and runs the same cell.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import zmq.asyncio
from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager

if TYPE_CHECKING:
    from runtimes.models import Workspace

PATIENCE_SECONDS = 120.0
PORT_TRIES = 5
POOL_LOOK_SECONDS = 0.2


async def first_output(client: AsyncKernelClient) -> None:
    """Runs a cell; returns when its first output is there."""
    client.execute("print('here')")
    while True:
        message = await client.get_iopub_msg(timeout=PATIENCE_SECONDS)
        if message["msg_type"] == "stream":
            return


async def ours(workspace: Workspace) -> float:
    """Seconds from asking to the first output; the runtime is stopped afterwards."""
    from runtimes import launch
    from runtimes.connection import kernel_connection
    from runtimes.models import Kernel

    started = time.perf_counter()
    asked = await launch.alaunch(workspace)
    wanted = await launch.astart_kernel(asked)
    kernel: Kernel = await launch.kernel_ready(wanted, PATIENCE_SECONDS)
    client = AsyncKernelClient(context=zmq.asyncio.Context.instance())
    client.load_connection_info(kernel_connection(kernel.runtime, kernel))  # type: ignore[arg-type]
    client.start_channels(hb=False)
    try:
        await welcomed(client)
        await first_output(client)
        return time.perf_counter() - started
    finally:
        client.stop_channels()
        await launch.astop(kernel.runtime)


async def welcomed(client: AsyncKernelClient) -> None:
    """Until nothing on iopub can be missed: ipykernel greets a new topic."""
    client.iopub_channel.socket.subscribe(b"bench")
    while (await client.get_iopub_msg(timeout=PATIENCE_SECONDS))["content"].get("subscription") != "bench":
        pass


class PlainManager(AsyncKernelManager):
    """Stock, with `ipykernel` of this interpreter as the kernel."""

    @property
    def kernel_spec(self) -> KernelSpec:
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=argv, display_name="Python 3", language="python")


async def peer(_number: int) -> float:
    """Seconds from asking stock jupyter_client for a kernel to its first output."""
    for _attempt in range(PORT_TRIES):
        try:
            return await _peer()
        except RuntimeError:
            # It chooses free ports before its kernel binds them: on a busy machine another process may be first.
            continue
    raise RuntimeError("stock jupyter_client found no free ports")


async def _peer() -> float:
    started = time.perf_counter()
    manager: Any = PlainManager()
    await manager.start_kernel(stderr=subprocess.DEVNULL)
    client = manager.client()
    client.start_channels()
    try:
        await client.wait_for_ready(timeout=PATIENCE_SECONDS)
        await first_output(client)
        return time.perf_counter() - started
    finally:
        client.stop_channels()
        await manager.shutdown_kernel(now=True)


async def pool_of(count: int) -> None:
    """Returns when that many sandboxes without a name exist, which are those that wait to be taken."""
    from runtimes.sandboxes import slots
    from runtimes.sandboxes.config import SandboxConfig

    config = SandboxConfig.from_settings()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while sum(not slot.name for slot in slots.found(config)) < count:
            await asyncio.sleep(POOL_LOOK_SECONDS)
