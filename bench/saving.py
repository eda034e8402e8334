"""How long after a keystroke it is in the log, and in the file, for notebooks of several sizes.

    python -m bench.saving [--seconds 20] [--megabytes 0.1 1 10 30]

Somebody types five times a second, without a pause, into a notebook whose outputs make it that large; the log, the
database and the storage are the site's on a laptop. A keystroke that the log has is not lost, whatever ends; the file
is what is handed in, shown to others, and what the bar calls saved. `ratio` in the last line is the aim for the
smallest notebook (1 s) divided by the 99th percentile.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from typing import TYPE_CHECKING, Any

import nbformat

from bench._report import last_line, table
from bench._storm_site import fresh_place
from bench.storm import percentile

if TYPE_CHECKING:
    from runtimes.models import Document, Workspace

AIM_SECONDS = 1.0
STROKE_SECONDS = 0.2
LOOK_SECONDS = 0.005
LINE = "a line of output, as programs print them\n"
LINES_A_CELL = 250


def notebook(megabytes: float) -> bytes:
    """Cells with output enough for that size."""
    output = nbformat.v4.new_output("stream", name="stdout", text=LINE * LINES_A_CELL)
    count = max(1, round(megabytes * 1e6 / len(nbformat.writes(nbformat.v4.new_notebook(cells=[_cell(0, [output])])))))
    cells = [_cell(number, [output]) for number in range(count)]
    return str(nbformat.writes(nbformat.v4.new_notebook(cells=cells))).encode()


def _cell(number: int, outputs: list[Any]) -> Any:
    return nbformat.v4.new_code_cell(f"x = {number}", id=f"c{number}", outputs=outputs)


class Typing:
    """One person, one open document. `logged` and `saved` are seconds from each keystroke on."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._waiting: list[tuple[int, float]] = []
        self._over = False
        self.logged: list[float] = []
        self.saved: list[float] = []

    async def type(self, seconds: float) -> None:
        """Types for so long, and waits until all of it is in the file."""
        from runtimes.jupyter.open_documents import open_documents

        watching = asyncio.create_task(self._watch())
        async with open_documents().hold(self._document.pk) as opened:
            ends = time.monotonic() + seconds
            while time.monotonic() < ends:
                await asyncio.sleep(STROKE_SECONDS)
                typed = time.monotonic()
                source = opened.replica.view.ycells[0]["source"]
                source += "#"
                number = await opened.replica.settle()
                self.logged.append(time.monotonic() - typed)
                self._waiting.append((number, typed))
            self._over = True
            await watching
        await open_documents().close()

    async def _watch(self) -> None:
        from runtimes.models import Document

        while self._waiting or not self._over:
            row = await Document.objects.aget(pk=self._document.pk)
            now = time.monotonic()
            done = [typed for number, typed in self._waiting if number <= row.saved_seq]
            self._waiting = [each for each in self._waiting if each[0] > row.saved_seq]
            self.saved += [now - typed for typed in done]
            await asyncio.sleep(LOOK_SECONDS)


async def opened(workspace: Workspace, megabytes: float) -> Document:
    """A new notebook's document."""
    from asgiref.sync import sync_to_async

    from runtimes import storage
    from runtimes.jupyter import document

    path = f"{megabytes}.ipynb"
    await storage.awrite(workspace, path, notebook(megabytes), source="uploaded")
    row, _made = await sync_to_async(document.opened)(workspace.pk, path, "json", "notebook")
    return row


async def measure(sizes: list[float], seconds: float) -> dict[float, Typing]:
    """One after the other."""
    from runtimes.models import GIB, Profile, Workspace

    profile = await Profile.objects.acreate(slug="bench", name="Bench")
    workspace = await Workspace.objects.acreate(profile=profile, account="bench", quota_bytes=10 * GIB)
    found = {}
    for size in sizes:
        found[size] = Typing(await opened(workspace, size))
        await found[size].type(seconds)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--megabytes", type=float, nargs="+", default=[0.1, 1, 10, 30])
    chosen = parser.parse_args()
    with fresh_place(postgres=False):
        # Models can only be imported once Django is set up, which reads the environment.
        import django
        from django.core.management import call_command

        django.setup()
        call_command("migrate", verbosity=0)
        found = asyncio.run(measure(sorted(chosen.megabytes), chosen.seconds))
    figures = {f"{size:g} MB": _figures(typing) for size, typing in found.items()}
    keys = list(next(iter(figures.values())))
    print(table(["notebook", *keys], [[name, *row.values()] for name, row in figures.items()]))
    smallest = percentile(found[min(found)].saved, 99)
    print(last_line("saving", ratio=AIM_SECONDS / smallest, figures=figures))


def _figures(typing: Typing) -> dict[str, float]:
    return {
        "strokes": len(typing.saved),
        "log p50 ms": round(1000 * statistics.median(typing.logged), 1),
        "log p99 ms": round(1000 * percentile(typing.logged, 99), 1),
        "file p50 s": round(statistics.median(typing.saved), 2),
        "file p99 s": round(percentile(typing.saved, 99), 2),
        "file max s": round(max(typing.saved), 2),
    }


if __name__ == "__main__":
    main()
