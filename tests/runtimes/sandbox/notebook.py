"""A runtime with a kernel, as a test uses it."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import queue
from collections.abc import Container
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zmq.asyncio
from jupyter_client.asynchronous.client import AsyncKernelClient

from runtimes.agent_client import AgentClient
from runtimes.keys import Keys, connection_keys
from runtimes.provider import Endpoint, Phase, Provider, Request, Status
from tests.runtimes.providers import MASTER
from tests.runtimes.sandbox.attacks import ABSTRACT, Attack

# Long: a loaded machine is no error.
WAIT = 60.0
#: Those that nobody has closed. Python finds what a failed test has left open in any test after it, which then fails.
OPENED: list[Notebook] = []
# There is nobody to kill for a moment while the next agent is made.
KILL_AGENT_FOR_EVER = """
import os
while True:
    try: os.kill(-1, 9)
    except ProcessLookupError: pass
"""


async def settled(provider: Provider, name: str, *phases: Phase, patience: float = WAIT) -> Status:
    """The runtime's status once it is in one of `phases`, or at its end."""
    wanted = phases or (Phase.READY,)
    async with asyncio.timeout(patience):
        while True:
            status = await provider.status(name)
            if status.phase in wanted or status.phase.final:
                return status
            await asyncio.sleep(0.005)


@dataclass(eq=False)
class Notebook:
    """One runtime with a client on its first kernel."""

    provider: Provider
    name: str
    endpoint: Endpoint
    keys: Keys
    agent: AgentClient
    client: Any
    extra: list[Any] = field(default_factory=list)

    async def run(self, code: str, *, timeout: float = WAIT, client: Any = None) -> str:
        """What `code` printed, its errors included."""
        said: list[str] = []

        def hear(message: dict[str, Any]) -> None:
            content = message["content"]
            said.append(content.get("text") or "\n".join(content.get("traceback", [])))

        kernel = client or self.client
        await kernel.execute_interactive(code, timeout=timeout, output_hook=hear, allow_stdin=False)
        return "".join(said)

    async def value(self, code: str, *, timeout: float = WAIT) -> Any:
        """The variable R after `code`."""
        said = await self.run(f"{code}\nprint('R' + 'ES=' + repr(R))", timeout=timeout)
        lines = [line for line in said.splitlines() if line.startswith("RES=")]
        assert lines, said
        return ast.literal_eval(lines[-1].removeprefix("RES="))

    async def connect(self, index: int) -> Any:
        """A ready client on another kernel of the same runtime."""
        client = await ready_client(self.endpoint, self.keys, index)
        self.extra += [self.client, client]
        return client

    async def close(self) -> None:
        if self in OPENED:
            OPENED.remove(self)
        for client in {id(client): client for client in (self.client, *self.extra) if client}.values():
            close_client(client)
        await self.agent.close()


async def ready_client(endpoint: Endpoint, keys: Keys, index: int = 0) -> AsyncKernelClient:
    """A client that had a reply and whose iopub is subscribed."""
    client = AsyncKernelClient(context=zmq.asyncio.Context())
    client.load_connection_info(endpoint.kernel_info(index, keys))  # type: ignore[arg-type]
    client.start_channels(hb=False, stdin=False)
    try:
        async with asyncio.timeout(WAIT):
            while True:
                client.kernel_info()
                await client.shell_channel.get_msg(timeout=WAIT)
                with contextlib.suppress(queue.Empty):
                    await client.iopub_channel.get_msg(timeout=0.2)
                    return client
    except BaseException:
        close_client(client)
        raise


def close_client(client: Any) -> None:
    """Frees the client's sockets and its context."""
    client.stop_channels()
    client.context.destroy(linger=0)


async def start_notebook(provider: Provider, name: str, **request: Any) -> Notebook:
    """A runtime whose first kernel answers."""
    await provider.acquire(Request(name, **{"kernels": 1, **request}))
    status = await settled(provider, name)
    assert status.phase is Phase.READY, status
    endpoint = await provider.endpoint(name)
    keys = connection_keys(MASTER, endpoint.key_version, endpoint.identity)
    client = await ready_client(endpoint, keys) if request.get("kernels", 1) else None
    notebook = Notebook(provider, name, endpoint, keys, AgentClient(endpoint, keys), client)
    OPENED.append(notebook)
    return notebook


async def close_notebooks(provider: Provider) -> None:
    """Those of its runtimes that are still open."""
    for notebook in [each for each in OPENED if each.provider is provider]:
        await notebook.close()


async def leave_nothing(provider: Provider, kept: Container[str] = ()) -> None:
    """Closes and releases what a test that failed has left there, warm runtimes too, before the next, which may be
    that test once more: who acquires a name a second time has what is there already. kept: names that stay."""
    await close_notebooks(provider)
    await provider.keep_warm([])
    for left in await provider.owned():
        if left.name and left.name not in kept:
            await provider.release(left.name)
    # Longer than a cluster keeps a pod whose node is gone.
    async with asyncio.timeout(2 * WAIT):
        while not all(left.name for left in await provider.owned()):
            await asyncio.sleep(0.1)


async def attempt(attack: Attack, attacker: Notebook, victim: Notebook, host_port: int) -> Any:
    """What an attack found."""
    secrets = [victim.keys.hmac_key, victim.keys.curve_secret, victim.endpoint.identity]
    needles = [(text[: len(text) // 2], text[len(text) // 2 :]) for text in secrets]
    code = attack.code.replace("HOSTPORT", str(host_port)).replace("NEEDLES", repr(needles))
    code = code.replace("VICTIM", Path(victim.endpoint.host).name).replace("ABSTRACT", ABSTRACT)
    return await attacker.value(code)


def descendants(of: int) -> set[int]:
    """Every process below `of`: other sandboxes on this host are none of this test's business."""
    children: dict[int, set[int]] = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            if entry.name.isdigit():
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, set()).add(int(entry.name))
    found: set[int] = set()
    waiting = [of]
    while waiting:
        below = children.get(waiting.pop(), set())
        waiting += below - found
        found |= below
    return found
