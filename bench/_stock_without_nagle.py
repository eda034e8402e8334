"""Stock jupyter_server with TCP_NODELAY on its kernel sockets: the peer as it would be after a one-line mend.

python -m bench._stock_without_nagle [options of jupyter server]
"""

from __future__ import annotations

from typing import Any

from jupyter_server.serverapp import main
from jupyter_server.services.kernels.websocket import KernelWebsocketHandler

_open = KernelWebsocketHandler.open


async def open_without_delay(self: Any, kernel_id: str) -> None:
    self.set_nodelay(True)
    await _open(self, kernel_id)  # type: ignore[no-untyped-call]


setattr(KernelWebsocketHandler, "open", open_without_delay)  # noqa: B010

if __name__ == "__main__":
    main()
