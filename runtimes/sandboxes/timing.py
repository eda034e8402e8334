"""How fast a kernel is: from the request to its first kernel_info reply. Used by benches."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from jupyter_client.asynchronous.client import AsyncKernelClient

from runtimes.keys import connection_keys
from runtimes.provider import Phase, Provider, ProviderUnavailable, Request


@dataclass(frozen=True, slots=True)
class Timing:
    """Milliseconds from `acquire` to the runtime being ready, and to the reply of its first kernel."""

    ready: float
    replied: float


async def first_reply(provider: Provider, request: Request, master_key: bytes, *, timeout: float = 60.0) -> Timing:
    """Acquires `request` (with one kernel), asks the kernel for its info, and releases it again.
    Raises ProviderUnavailable if it does not start, TimeoutError if it does not answer."""
    began = time.perf_counter()
    await provider.acquire(request)
    try:
        async with asyncio.timeout(timeout):
            await _ready(provider, request.name)
            ready = time.perf_counter()
            endpoint = await provider.endpoint(request.name)
            keys = connection_keys(master_key, endpoint.key_version, endpoint.identity)
            client = AsyncKernelClient()
            info: Any = endpoint.kernel_info(0, keys)
            client.load_connection_info(info)
            client.start_channels(iopub=False, stdin=False, hb=False, control=False)
            try:
                client.kernel_info()
                await client.shell_channel.get_msg()
                replied = time.perf_counter()
            finally:
                client.stop_channels()
                client.context.destroy(linger=0)
    finally:
        await provider.release(request.name)
    return Timing((ready - began) * 1000, (replied - began) * 1000)


async def _ready(provider: Provider, name: str) -> None:
    while True:
        status = await provider.status(name)
        if status.phase is Phase.READY:
            return
        if status.phase.final:
            raise ProviderUnavailable(status.message)
        await asyncio.sleep(0.001)
