"""From asking the provider of pods for a runtime to a cell's first output, on the cluster that KUBECONFIG names.

The lower half of `bench.launch` where kernels are pods: no page, no row, no files. Cold: a pod is made on the click.
Warm: one that waits is claimed by one patch. The clock covers what a student waits for: claim or start, connection with
Curve, one cell. Besides, how long files take to a pod and back.
"""

from __future__ import annotations

import asyncio
import math
import os
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import zmq.asyncio
from jupyter_client.asynchronous.client import AsyncKernelClient

from bench._launch_kernel import first_output, welcomed
from bench._report import last_line, table

POOL_LOOK_SECONDS = 0.2
#: What the claim promises, for 95 of 100.
AIM_SECONDS = 0.1
WARM = "warm, claimed"
TEN_MB = 10_000_000


async def measure(rounds: int, crowd: int, pause: float) -> dict[str, list[float]]:
    """Seconds of every start, by kind."""
    from runtimes.machine import Machine
    from runtimes.provider import MIB, Limits, Request
    from tests.runtimes.pods.real import own_namespace, ready_ones, running, until
    from tests.runtimes.sandbox.notebook import start_notebook

    # So that a crowd of them has room on one small node.
    small = Limits(memory_bytes=200 * MIB, home_bytes=32 * MIB, tmp_bytes=32 * MIB)
    request = Request("any", kernels=1, limits=small, machine=Machine("bench", cpu_request=0.02))
    found: dict[str, list[float]] = {}
    async with own_namespace() as (admin, config), running(config) as provider:

        async def start(name: str) -> float:
            asked = time.perf_counter()
            await provider.acquire(replace(request, name=name))
            await ready(provider, name)
            await output(await provider.endpoint(name))
            return time.perf_counter() - asked

        async def several(kind: str, count: int, warm: int) -> None:
            """One after the other, each with the pool full before it and quiet after it."""
            found[kind] = []
            for number in range(count):
                await provider.keep_warm([(request, warm)] if warm else [])
                await until(lambda: ready_ones(admin, warm)) if warm else None
                await asyncio.sleep(pause)
                name = f"one-{len(found)}-{number}"
                found[kind].append(await start(name))
                await provider.release(name)

        async def at_once(kind: str, count: int, warm: int) -> None:
            await provider.keep_warm([(request, warm)] if warm else [])
            await until(lambda: ready_ones(admin, warm)) if warm else None
            await asyncio.sleep(pause)
            names = [f"all-{len(found)}-{number}" for number in range(count)]
            found[kind] = list(await asyncio.gather(*(start(name) for name in names)))
            await provider.keep_warm([])
            await asyncio.gather(*(provider.release(name) for name in names))

        async def files(count: int) -> None:
            """10 MB in, and 10 MB that code made out again, over the agent's connection."""
            notebook = await start_notebook(
                provider, "files", limits=replace(small, memory_bytes=700 * MIB, home_bytes=300 * MIB)
            )
            pushed, pulled = found.setdefault("10 MB pushed", []), found.setdefault("10 MB pulled", [])
            for number in range(count):
                begun = time.perf_counter()
                await notebook.agent.push({f"in-{number}": os.urandom(TEN_MB)})
                pushed.append(time.perf_counter() - begun)
                await notebook.run(f"import os; open('out-{number}', 'wb').write(os.urandom({TEN_MB}))")
                begun = time.perf_counter()
                answer = await notebook.agent.pull()
                pulled.append(time.perf_counter() - begun)
                assert len(answer.files[f"out-{number}"]) == TEN_MB
                await notebook.agent.acknowledge(answer.token)
            await notebook.close()
            await provider.release("files")

        await files(rounds)
        await several("cold, made on the click", rounds, 0)
        await several(WARM, 2 * rounds, 2)
        await at_once(f"{crowd} at once, warm", crowd, crowd)
        await at_once(f"{crowd} at once, cold", crowd, 0)
    return found


async def ready(provider: object, name: str) -> None:
    """Returns with the event that says so."""
    from runtimes.pods.provider import PodsProvider
    from runtimes.provider import Phase

    assert isinstance(provider, PodsProvider)
    events = provider.events()
    listening = asyncio.ensure_future(_until_ready(events, name))
    await asyncio.sleep(0)
    if (await provider.status(name)).phase is not Phase.READY:
        await listening
    listening.cancel()


async def _until_ready(events: object, name: str) -> None:
    from runtimes.provider import Phase

    async for told, status in events:  # type: ignore[attr-defined]
        if told == name and status.phase is Phase.READY:
            return
        if told == name and status.phase.final:
            raise RuntimeError(str(status))


async def output(endpoint: object) -> None:
    """Connects to its first kernel and runs the cell."""
    from runtimes.endpoint import Endpoint
    from runtimes.keys import connection_keys
    from tests.runtimes.pods.real import MASTER

    assert isinstance(endpoint, Endpoint)
    keys = connection_keys(MASTER, endpoint.key_version, endpoint.identity)
    client = AsyncKernelClient(context=zmq.asyncio.Context.instance())
    client.load_connection_info(endpoint.kernel_info(0, keys))  # type: ignore[arg-type]
    client.start_channels(hb=False)
    try:
        await welcomed(client)
        await first_output(client)
    finally:
        client.stop_channels()


def p95(values: Sequence[float]) -> float:
    """The value that 95 of 100 do not exceed (nearest rank)."""
    return sorted(values)[math.ceil(0.95 * len(values)) - 1]


def status(claims: Sequence[float]) -> int:
    """0 where 95 of 100 claims took no longer than they may, else 1."""
    return int(p95(claims) > AIM_SECONDS)


def report(found: Mapping[str, list[float]]) -> int:
    """The table and the last line; its ratio is the aim for a claim divided by the p95. The exit status of `status`."""
    rows = []
    figures = {}
    for kind, seconds in found.items():
        milliseconds = [round(1000 * value) for value in (min(seconds), statistics.median(seconds), p95(seconds))]
        rows.append([kind, len(seconds), *milliseconds, round(1000 * max(seconds))])
        figures[kind] = dict(zip(("fastest", "median", "p95", "slowest"), rows[-1][2:], strict=True))
    print(table(["to the first output (files: moved), ms", "n", "fastest", "median", "p95", "slowest"], rows))
    print(last_line("launch pods", ratio=AIM_SECONDS / p95(found[WARM]), figures=figures))
    return status(found[WARM])
