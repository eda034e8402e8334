"""Where a runtime listens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from runtimes.agent import layout
from runtimes.agent.layout import AGENT_PORT, CHANNELS, FIRST_KERNEL_PORT, MAX_KERNELS
from runtimes.keys import Keys

__all__ = ["AGENT_PORT", "CHANNELS", "FIRST_KERNEL_PORT", "MAX_KERNELS", "Endpoint"]


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
        return layout.agent_url(self.transport, self.host)

    def kernel_info(self, index: int, keys: Keys, *, kernel_name: str = "python3") -> dict[str, Any]:
        """Kernel `index` as the content of a Jupyter connection file (jupyter_client), with Curve keys.
        Raises ValueError for an index out of range."""
        connection = layout.kernel_connection(self.transport, self.host, index, asdict(keys))
        return {**connection, "kernel_name": kernel_name}
