"""Where a runtime listens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from runtimes.keys import Keys

# In a pod every kernel has five fixed ports after the agent's; on a socket folder the same numbers become file names.
AGENT_PORT = 52316
FIRST_KERNEL_PORT = 52317
CHANNELS = ("shell", "iopub", "stdin", "hb", "control")
MAX_KERNELS = 16


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a ready runtime listens. JSON on its row: with the master key, all that any process needs to connect.

    transport: `ipc` (host is a folder of sockets) or `tcp` (host is an address).
    identity: what its keys are derived from. Not the runtime's name: a pre-warmed runtime exists before it has one.
    """

    transport: Literal["ipc", "tcp"]
    host: str
    identity: str
    key_version: int = 1

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Raises KeyError for an empty or foreign document."""
        return cls(data["transport"], data["host"], data["identity"], int(data["key_version"]))

    @property
    def agent_url(self) -> str:
        """ZMQ address of the runtime's agent."""
        return f"ipc://{self.host}/a" if self.transport == "ipc" else f"tcp://{self.host}:{AGENT_PORT}"

    def kernel_info(self, index: int, keys: Keys, *, kernel_name: str = "python3") -> dict[str, Any]:
        """Kernel `index` as the content of a Jupyter connection file (jupyter_client), with Curve keys."""
        if not 0 <= index < MAX_KERNELS:
            raise ValueError(f"kernel index {index} is not between 0 and {MAX_KERNELS - 1}")
        first = FIRST_KERNEL_PORT + 5 * index if self.transport == "tcp" else 1
        return {
            **{f"{channel}_port": first + number for number, channel in enumerate(CHANNELS)},
            "transport": self.transport,
            "ip": f"{self.host}/k{index}" if self.transport == "ipc" else self.host,
            "key": keys.hmac_key,
            "signature_scheme": "hmac-sha256",
            "kernel_name": kernel_name,
            "curve_publickey": keys.curve_public,
            "curve_secretkey": keys.curve_secret,
        }
