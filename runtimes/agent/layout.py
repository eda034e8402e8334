"""Where a runtime's agent and kernels listen: a folder of Unix sockets, or fixed ports of one address."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# In a pod every kernel has five fixed ports after the agent's; in a folder of sockets the same numbers end file names.
AGENT_PORT = 52316
FIRST_KERNEL_PORT = 52317
CHANNELS = ("shell", "iopub", "stdin", "hb", "control")
MAX_KERNELS = 16


def agent_url(transport: str, host: str) -> str:
    """ZMQ address of the agent."""
    return f"ipc://{host}/a" if transport == "ipc" else f"tcp://{host}:{AGENT_PORT}"


def channel_url(connection: Mapping[str, Any], channel: str) -> str:
    """ZMQ address of one channel of a kernel."""
    separator = "-" if connection["transport"] == "ipc" else ":"
    return f"{connection['transport']}://{connection['ip']}{separator}{connection[channel + '_port']}"


def kernel_connection(transport: str, host: str, index: int, keys: Mapping[str, str]) -> dict[str, Any]:
    """Kernel `index` as the content of a Jupyter connection file. keys: hmac_key, curve_public, curve_secret.
    Raises ValueError for an index out of range."""
    if not 0 <= index < MAX_KERNELS:
        raise ValueError(f"kernel index {index} is not between 0 and {MAX_KERNELS - 1}")
    first = FIRST_KERNEL_PORT + 5 * index if transport == "tcp" else 1
    return {
        **{f"{channel}_port": first + number for number, channel in enumerate(CHANNELS)},
        "transport": transport,
        "ip": f"{host}/k{index}" if transport == "ipc" else host,
        "key": keys["hmac_key"],
        "signature_scheme": "hmac-sha256",
        "curve_publickey": keys["curve_public"],
        "curve_secretkey": keys["curve_secret"],
    }
