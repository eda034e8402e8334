"""`/api/events/subscribe`: the front end wants this socket, and nothing that it tells matters in a workspace."""

from __future__ import annotations

from runtimes.jupyter.entry import Scope
from runtimes.jupyter.gate import Receive, Send


class Silence:
    """Accepts and says nothing until the other side leaves."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass
