"""How to reach a runtime from any process, with nothing but its row: addresses from the endpoint, keys derived."""

from __future__ import annotations

import asyncio
from typing import Any

from runtimes import keyring
from runtimes.endpoint import Endpoint
from runtimes.errors import KeyMissing, StillWaiting
from runtimes.models import Kernel, Runtime

# A process that lacks a key is replaced within minutes.
KEY_PAUSE_SECONDS = 1.0


def endpoint_of(runtime: Runtime) -> Endpoint:
    """Where a ready runtime listens. Raises StillWaiting if it has not got that far."""
    try:
        return Endpoint.from_json(runtime.endpoint)
    except KeyError as error:
        raise StillWaiting(runtime.reason, f"{runtime.name} has no endpoint yet") from error


def kernel_connection(runtime: Runtime, kernel: Kernel) -> dict[str, Any]:
    """A Jupyter connection file's content, with Curve keys (jupyter_client, connection files).

    Raises StillWaiting if the runtime is not ready, KeyMissing if this process does not know its key."""
    endpoint = endpoint_of(runtime)
    return endpoint.kernel_info(kernel.index, keyring.keys_of(endpoint), kernel_name=kernel.name)


async def kernel_reached(kernel: Kernel) -> dict[str, Any]:
    """`kernel_connection` for who asks again at once: KeyMissing is raised after a pause."""
    try:
        return kernel_connection(kernel.runtime, kernel)
    except KeyMissing:
        await asyncio.sleep(KEY_PAUSE_SECONDS)
        raise


def agent_address(runtime: Runtime) -> str:
    """ZMQ address of the runtime's agent. Raises StillWaiting if the runtime is not ready."""
    return endpoint_of(runtime).agent_url
