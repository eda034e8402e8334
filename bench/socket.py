"""A browser's socket to its kernel: ours against stock jupyter_server, the same with TCP_NODELAY, and a raw ZMQ client.

    python -m bench.socket [--rounds 3] [--executions 200] [--lines 5000] [--megabytes 20]

All have the same plain ipykernel of this interpreter at the other end. Ours speaks Curve to it (as it always does),
stock does not. Figures are medians over the rounds; `ratio` is stock's time to a reply divided by ours.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_client.session import Session

from bench._report import last_line, table
from bench._socket_peers import OverSocket, OverZmq, Peer, Stock, connect
from deploy.local.services import free_port

if TYPE_CHECKING:
    from runtimes.models import Kernel

ROOT = Path(__file__).resolve().parent.parent
OURS, STOCK, MENDED, RAW = "ours", "stock jupyter_server", "stock with TCP_NODELAY", "raw ZMQ client (the limit)"
WARM_UP = 20
Figures = dict[str, float]


@contextmanager
def folder() -> Iterator[Path]:
    """A data folder of this run's own."""
    made = Path(tempfile.mkdtemp(prefix="pb-", dir="/tmp"))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def prepare(data: Path) -> Kernel:
    """An empty database with one workspace whose runtime is ready and has one kernel."""
    import django
    from django.core.management import call_command

    os.environ |= {"DATA_DIR": str(data), "DJANGO_SETTINGS_MODULE": "classroom.settings", "LOG_LEVEL": "WARNING"}
    os.environ["PORT"] = str(free_port())
    django.setup()
    call_command("migrate", verbosity=0)
    from runtimes.models import Kernel, Profile, Runtime, Workspace

    profile = Profile.objects.create(slug="bench-socket", name="Bench")
    workspace = Workspace.objects.create(profile=profile, account="bench")
    endpoint = {"transport": "ipc", "host": str(data / "k"), "identity": "bench", "key_version": 1}
    (data / "k").mkdir()
    runtime = Runtime.objects.create(
        workspace=workspace, profile=profile, account="bench", state=Runtime.State.READY, endpoint=endpoint
    )
    return Kernel.objects.create(runtime=runtime, workspace=workspace, index=0, state=Kernel.State.RUNNING)


@contextmanager
def our_processes(kernel: Kernel, data: Path) -> Iterator[int]:
    """The kernel behind the row, and the site process; its pid."""
    from runtimes.connection import kernel_connection

    # Below the data folder: ipykernel makes the folder of its connection file sticky, which no site takes for its data.
    connection = data / "k" / "kernel.json"
    connection.write_text(json.dumps(kernel_connection(kernel.runtime, kernel)))
    quiet: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    started = [
        subprocess.Popen([sys.executable, "-m", "ipykernel_launcher", "-f", str(connection)], **quiet),
        subprocess.Popen([sys.executable, "-m", "bench._socket_site", os.environ["PORT"]], cwd=ROOT, **quiet),
    ]
    try:
        yield started[1].pid
    finally:
        end(started)


def end(processes: list[subprocess.Popen[bytes]]) -> None:
    """Ends what was started."""
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def our_peer(kernel: Kernel, pid: int, client: str) -> Peer:
    """A browser at our site."""
    from runtimes.jupyter import hosts, tickets

    slug = kernel.workspace.slug if kernel.workspace else ""
    where: dict[str, Any] = {"host": "127.0.0.1", "port": int(os.environ["PORT"]), "origin": hosts.origin(slug)}
    cookie = tickets.cookie(tickets.Credential(slug, "bench", "write")).split(";")[0]
    url = f"{hosts.origin(slug).replace('http', 'ws', 1)}/api/kernels/{kernel.pk}/channels?"
    for _attempt in range(480):
        try:
            connection = await connect(url, client, additional_headers={"cookie": cookie}, **where)
        except OSError:
            await asyncio.sleep(0.25)
        else:
            return OverSocket(OURS, pid, connection)
    raise RuntimeError("our site did not start")


async def measure(peer: Peer, session: Session, wanted: argparse.Namespace) -> Figures:
    """One round: many small runs, many small outputs, few large ones."""
    for _run in range(WARM_UP):
        await peer.run("pass", session)
    before = peer.cpu_seconds()
    replies = sorted([(await peer.run("pass", session)).reply for _run in range(wanted.executions)])
    cpu = peer.cpu_seconds() - before
    before = peer.cpu_seconds()
    lines = await peer.run(f"for i in range({wanted.lines}): print('line', i, flush=True)", session)
    lines_cpu = peer.cpu_seconds() - before
    before = peer.cpu_seconds()
    large = await peer.run(f"for i in range({wanted.megabytes * 10}): print('x' * 99_999)", session)
    return {
        "reply ms": 1e3 * statistics.median(replies),
        "p99 ms": 1e3 * replies[int(len(replies) * 0.99) - 1],
        "server CPU ms a run": 1e3 * cpu / wanted.executions,
        "lines s": lines.idle,
        "server CPU µs a message": 1e6 * lines_cpu / lines.messages,
        "large s": large.idle,
        "large server CPU s": peer.cpu_seconds() - before,
    }


async def compare(kernel: Kernel, pid: int, stocks: list[Stock], wanted: argparse.Namespace) -> tuple[Any, bool]:
    """Figures by peer, medians over the rounds, and whether each peer delivered the same text."""
    from runtimes.connection import kernel_connection

    sessions = [Session(session=secrets.token_hex(8)) for _peer in range(4)]
    peers = [
        OverZmq(RAW, kernel_connection(kernel.runtime, kernel), sessions[0].session),
        await our_peer(kernel, pid, sessions[1].session),
        await stocks[0].peer(STOCK, sessions[2].session),
        await stocks[1].peer(MENDED, sessions[3].session),
    ]
    # The first to arrive waits for the kernels.
    texts = [
        (await peer.run("for i in range(2000): print(i, '√' * 9)", session)).text
        for peer, session in zip(peers, sessions, strict=True)
    ]
    rounds: dict[str, list[Figures]] = {peer.name: [] for peer in peers}
    for _round in range(wanted.rounds):
        for peer, session in zip(peers, sessions, strict=True):
            rounds[peer.name].append(await measure(peer, session, wanted))
    for peer in peers:
        await peer.close()
    medians = {
        name: {key: round(statistics.median(one[key] for one in found), 3) for key in found[0]}
        for name, found in rounds.items()
    }
    return medians, len(set(texts)) == 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("rounds", 3), ("executions", 200), ("lines", 5000), ("megabytes", 20)):
        parser.add_argument(f"--{name}", type=int, default=default)
    wanted = parser.parse_args()
    with folder() as data:
        kernel = prepare(data)
        stocks = [Stock(data / f"stock{number}", no_delay=bool(number)) for number in range(2)]
        try:
            with our_processes(kernel, data) as pid:
                medians, identical = asyncio.run(compare(kernel, pid, stocks, wanted))
        finally:
            end([stock.process for stock in stocks])
    keys = list(medians[OURS])
    print(table(["kernel socket", *keys], [[name, *(row[key] for key in keys)] for name, row in medians.items()]))
    ratio = medians[STOCK]["reply ms"] / medians[OURS]["reply ms"]
    print(last_line("socket", ratio=ratio, identical=identical, figures=medians))


if __name__ == "__main__":
    main()
