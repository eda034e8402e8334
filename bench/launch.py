"""From the click on *Open* to the first output of a cell, against a stock jupyter_server, in the same run.

    python -m bench.launch [--rounds 10] [--together 6] [--pause 2]
    python -m bench.launch --pods [--together 20]       (kernels as pods, on the cluster of KUBECONFIG)

The whole site runs as on a laptop. Students are signed in; the clock runs from their POST of *Open* for the first time
(a workspace is made and filled, a sandbox starts) to the output in the shared document, over the protocol that their
browser speaks. Beside it a stock jupyter_server: one that runs already, and one that is started for the student, as a
hub does. It has no sandbox, no sign-in, no ticket, no document, and reads its notebook from a disk.

The last line but one is the lower half alone, from the row that asks for a kernel, against stock jupyter_client. All
kinds take turns, with a pause before each start: what ends or is made after one is no part of the next.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from bench import _launch_kernel as kernel
from bench import _launch_pods as pods
from bench._launch_click import Opened, StockServer, click
from bench._report import last_line, table
from bench._storm_site import fresh_place, running
from bench.storm import Student, sign_in

POOL = 2
FORKED, POOLED = "Open, a sandbox forked on the click", f"Open, from a pool of {POOL}"
STOCK, STARTED = "stock jupyter_server, running", "stock jupyter_server, started on the click"
KERNEL_FORKED, KERNEL_STOCK = "kernel, a sandbox forked", "kernel, stock jupyter_client"
PRINTED = "here\n"
Start = Callable[[int], Awaitable[float]]


class Bench:
    """A running site with its students, and the peer beside it."""

    def __init__(self, folder: Path, students: list[Student], server: StockServer) -> None:
        self._folder, self._students, self._server = folder, students, server
        self.texts: set[str] = set()

    def opening(self, slug: str, first: int = 0) -> Start:
        """The click of student after student, from number `first` on."""
        from bench import _launch_course as course

        async def start(number: int) -> float:
            opened = await click(self._students[first + number], f"/c/{course.COURSE}/a/{slug}/")
            await asyncio.to_thread(course.stop, opened.slug)
            return self._noted(opened)

        return start

    async def stock(self, number: int) -> float:
        """The same cell at the server that runs."""
        return self._noted(await self._server.opened(f"n{number}"))

    async def started(self, number: int) -> float:
        """The same at a server that is started for it."""
        from bench import _launch_course as course

        begun = time.perf_counter()
        server = StockServer(self._folder / f"stock-{number}", course.notebook())
        try:
            await server.answers()
            waited = time.perf_counter() - begun
            return waited + self._noted(await server.opened("n"))
        finally:
            await server.close()

    def _noted(self, opened: Opened) -> float:
        self.texts.add(opened.text)
        return opened.seconds


async def in_turn(kinds: Mapping[str, Start], rounds: int, pause: float) -> dict[str, list[float]]:
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


async def measure(bench: Bench, rounds: int, crowd: int, pause: float) -> dict[str, list[float]]:
    """Seconds of every start, by kind. Student 0 has the first click of all."""
    from bench import _launch_course as course

    forked = await asyncio.to_thread(course.workspaces, course.FORKED, rounds)
    pooled = await asyncio.to_thread(course.workspaces, course.POOLED, rounds)
    found = {"Open, the first of all": [await bench.opening(course.FORKED)(0)]}
    await kernel.pool_of(POOL)
    kinds: dict[str, Start] = {
        FORKED: bench.opening(course.FORKED, first=1),
        POOLED: bench.opening(course.POOLED, first=1),
        STOCK: bench.stock,
        STARTED: bench.started,
        KERNEL_FORKED: lambda number: kernel.ours(forked[number]),
        f"kernel, from a pool of {POOL}": lambda number: kernel.ours(pooled[number]),
        KERNEL_STOCK: kernel.peer,
    }
    found |= await in_turn(kinds, rounds, pause)
    found[f"{crowd} at once: Open"] = await together(bench.opening(course.FORKED, first=1 + rounds), crowd)
    found[f"{crowd} at once: {STOCK}"] = await together(bench.stock, crowd)
    return found


async def run(folder: Path, names: list[str], chosen: argparse.Namespace) -> tuple[dict[str, list[float]], bool]:
    """Seconds by kind, and whether all printed the same."""
    from bench import _launch_course as course

    url = f"http://127.0.0.1:{os.environ['PORT']}"
    students = [await sign_in(url, name) for name in names]
    server = StockServer(folder / "stock", course.notebook())
    bench = Bench(folder, students, server)
    try:
        await server.answers()
        found = await measure(bench, chosen.rounds, chosen.together, chosen.pause)
    finally:
        await server.close()
        for student in students:
            await student.client.aclose()
    return found, bench.texts == {PRINTED}


def report(found: Mapping[str, list[float]], identical: bool) -> None:
    """The table, the line of the lower half, the last line. Ratios are of medians."""
    milliseconds = {kind: sorted(round(1000 * value) for value in values) for kind, values in found.items()}
    rows = [[kind, len(v), v[0], round(statistics.median(v)), v[-1]] for kind, v in milliseconds.items()]
    print(table(["to the first output, ms", "n", "fastest", "median", "slowest"], rows))
    medians = {kind: round(statistics.median(values)) for kind, values in milliseconds.items()}
    lower = {kind: value for kind, value in medians.items() if kind.startswith("kernel")}
    print(last_line("launch kernel", ratio=medians[KERNEL_STOCK] / medians[KERNEL_FORKED], figures=lower))
    upper = {kind: value for kind, value in medians.items() if kind not in lower}
    slowest = {f"{kind}, slowest": values[-1] for kind, values in milliseconds.items() if "at once" in kind}
    ratio = medians[STOCK] / medians[FORKED]
    print(last_line("launch", ratio=ratio, identical=identical, figures=upper | slowest))


def main() -> int:
    """Runs one of both and prints the tables. The exit status of `_launch_pods.status`; 0 without pods."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--together", type=int, default=6)
    parser.add_argument("--pause", type=float, default=2.0, help="seconds before each start")
    parser.add_argument("--pods", action="store_true", help="pods, cold and claimed, and no site")
    chosen = parser.parse_args()
    if chosen.pods:
        with fresh_place(postgres=False):
            import django

            django.setup()
            return pods.report(asyncio.run(pods.measure(chosen.rounds, chosen.together, chosen.pause)))
    with fresh_place(postgres=False) as folder, running(folder / "data"):
        # Models can only be imported once Django is set up, which reads the environment.
        import django

        django.setup()
        from bench import _launch_course as course

        names = course.prepare(1 + chosen.rounds + chosen.together, POOL)
        report(*asyncio.run(run(folder, names, chosen)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
