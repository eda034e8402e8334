"""From the click to the first output of a cell, against stock jupyter_client starting a plain kernel, in the same run.

    python -m bench.launch [--rounds 10] [--together 20] [--pause 2]

Ours is the whole path of a site: the row is written, the `runtimes` process is woken, a sandbox starts, the files of
the workspace are pushed, the kernel answers, the cell prints. The peer has no sandbox, no files and no rows: it starts
`ipykernel` as a child process, connects and runs the same cell.

The kinds take turns, with a pause before each start: what ends or is made after one is no part of the next.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import zmq.asyncio
from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager

from bench._report import last_line, table

if TYPE_CHECKING:
    from runtimes.models import Workspace

ROOT = Path(__file__).resolve().parent.parent
PATIENCE_SECONDS = 120.0
PORT_TRIES = 5
POOL = 2
FORKED = "a sandbox forked on the click"
STOCK = "stock jupyter_client"
Start = Callable[[int], Awaitable[float]]
POOL_LOOK_SECONDS = 0.2


@contextmanager
def site() -> Iterator[None]:
    """A site of this run's own: an empty database and a `runtimes` process, both gone at the end."""
    import django
    from django.core.management import call_command

    folder = Path(tempfile.mkdtemp(prefix="pb-", dir="/tmp"))
    folder.chmod(0o755)
    os.environ |= {"DATA_DIR": str(folder), "DJANGO_SETTINGS_MODULE": "classroom.settings", "LOG_LEVEL": "WARNING"}
    django.setup()
    process: subprocess.Popen[str] | None = None
    command = [sys.executable, "manage.py", "runtimes"]
    try:
        call_command("migrate", verbosity=0)
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        if not any("ready" in line for line in process.stdout):
            raise RuntimeError("The runtimes process did not start: run `make demo` once, and look at its messages.")
        yield
    finally:
        if process is not None:
            process.terminate()
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


async def workspaces(count: int, *, warm: int = 0) -> list[Workspace]:
    """New workspaces with a notebook and data each; `warm` runtimes of their profile are kept ready."""
    from runtimes import storage
    from runtimes.models import Profile, Workspace

    # Whoever asks for the same machine takes from the same pool: without one, a machine of one process less.
    processes = 128 if warm else 127
    slug = f"bench-{time.monotonic_ns()}"
    profile = await Profile.objects.acreate(slug=slug, name="Bench", warm=warm, processes=processes)
    made = [await Workspace.objects.acreate(profile=profile, account="bench") for _ in range(count)]
    for workspace in made:
        for path, data in {"ps1.ipynb": b"{}" * 5000, "data/x.csv": b"1,2\n" * 5000}.items():
            await storage.awrite(workspace, path, data, source="uploaded")
    return made


async def first_output(client: AsyncKernelClient) -> None:
    """Runs a cell; returns when its first output is there."""
    client.execute("print('here')")
    while True:
        message = await client.get_iopub_msg(timeout=PATIENCE_SECONDS)
        if message["msg_type"] == "stream":
            return


async def ours(workspace: Workspace) -> float:
    """Seconds from the click to the first output; the runtime is stopped afterwards."""
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


async def in_turn(kinds: dict[str, Start], rounds: int, pause: float) -> dict[str, list[float]]:
    """Each kind once a round, so that whatever else the machine does meets all of them; a pause before each start."""
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    for number in range(rounds):
        for kind, start in kinds.items():
            await asyncio.sleep(pause)
            seconds[kind].append(await start(number))
    return seconds


async def together(start: Start, count: int) -> list[float]:
    """All at once."""
    return list(await asyncio.gather(*[start(number) for number in range(count)]))


async def pool_of(count: int) -> None:
    """Returns when that many sandboxes without a name exist, which are those that wait to be taken."""
    from runtimes.sandboxes import slots
    from runtimes.sandboxes.config import SandboxConfig

    config = SandboxConfig.from_settings()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while sum(not slot.name for slot in slots.found(config)) < count:
            await asyncio.sleep(POOL_LOOK_SECONDS)


async def measure(rounds: int, crowd: int, pause: float) -> dict[str, list[float]]:
    """Seconds of every start, by kind."""
    [first], forked = await workspaces(1), await workspaces(rounds)
    pooled, many = await workspaces(rounds, warm=POOL), await workspaces(crowd)
    found = {"cold: the first of all": [await ours(first)]}
    await pool_of(POOL)
    kinds: dict[str, Start] = {
        FORKED: lambda number: ours(forked[number]),
        f"from a pool of {POOL}": lambda number: ours(pooled[number]),
        STOCK: peer,
    }
    found |= await in_turn(kinds, rounds, pause)
    found[f"{crowd} at once"] = await together(lambda number: ours(many[number]), crowd)
    found[f"{crowd} at once, {STOCK}"] = await together(peer, crowd)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--together", type=int, default=20)
    parser.add_argument("--pause", type=float, default=2.0, help="seconds before each start")
    wanted = parser.parse_args()
    with site():
        found = asyncio.run(measure(wanted.rounds, wanted.together, wanted.pause))
    milliseconds = {kind: sorted(round(1000 * value) for value in values) for kind, values in found.items()}
    rows = [[kind, len(v), v[0], round(statistics.median(v)), v[-1]] for kind, v in milliseconds.items()]
    print(table(["click to first output, ms", "n", "fastest", "median", "slowest"], rows))
    medians = {kind: round(statistics.median(values)) for kind, values in milliseconds.items()}
    ratio = medians[STOCK] / medians[FORKED]
    slowest = {f"{kind}, slowest": values[-1] for kind, values in milliseconds.items() if "at once" in kind}
    print(last_line("launch", ratio=ratio, figures=medians | slowest))


if __name__ == "__main__":
    main()
