"""From the click to the first output of a cell, against stock jupyter_client starting a plain kernel, in the same run.

    python -m bench.launch [--rounds 10] [--together 20]

Ours is the whole path of a site: the row is written, the `runtimes` process is woken, a sandbox starts, the files of
the workspace are pushed, the kernel answers, the cell prints. The peer has no sandbox, no files and no rows: it starts
`ipykernel` as a child process, connects and runs the same cell.
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

    profile = await Profile.objects.acreate(slug=f"bench-{time.monotonic_ns()}", name="Bench", warm=warm)
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


async def peer(_workspace: object = None) -> float:
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


async def one_by_one(start: Callable[[Any], Awaitable[float]], places: list[Any]) -> list[float]:
    """Each after the other."""
    return [await start(place) for place in places]


async def together(start: Callable[[Any], Awaitable[float]], places: list[Any]) -> list[float]:
    """All at once."""
    return list(await asyncio.gather(*[start(place) for place in places]))


async def measure(rounds: int, crowd: int) -> dict[str, list[float]]:
    """Seconds of every start, by kind."""
    found = {"cold: the first of all": await one_by_one(ours, await workspaces(1))}
    found["a sandbox forked on the click"] = await one_by_one(ours, await workspaces(rounds))
    pooled = await workspaces(rounds, warm=2)
    found["from a pool of two"] = await one_by_one(ours, pooled[2:] + pooled[:2])
    found["stock jupyter_client"] = await one_by_one(peer, [None] * rounds)
    found[f"{crowd} at once"] = await together(ours, await workspaces(crowd))
    found[f"{crowd} at once, stock jupyter_client"] = await together(peer, [None] * crowd)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--together", type=int, default=20)
    wanted = parser.parse_args()
    with site():
        found = asyncio.run(measure(wanted.rounds, wanted.together))
    milliseconds = {kind: sorted(round(1000 * value) for value in values) for kind, values in found.items()}
    rows = [[kind, len(v), v[0], round(statistics.median(v)), v[-1]] for kind, v in milliseconds.items()]
    print(table(["click to first output, ms", "n", "fastest", "median", "slowest"], rows))
    medians = {kind: round(statistics.median(values)) for kind, values in milliseconds.items()}
    ratio = medians["stock jupyter_client"] / medians["a sandbox forked on the click"]
    slowest = {f"{kind}, slowest": values[-1] for kind, values in milliseconds.items() if "at once" in kind}
    print(last_line("launch", ratio=ratio, figures=medians | slowest))


if __name__ == "__main__":
    main()
