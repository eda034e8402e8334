"""How long after *Submit* the scores are there, on a site that has nothing else to do.

    python -m bench.turnaround [--submissions 20] [--postgres]

The whole site runs as on a laptop. Students press Submit one after the other, as the page does; the time is counted
from the click to the moment when another process can read the scores. `ratio` in the last line is the aim (1 s) divided
by the 95th percentile.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import time
from pathlib import Path

from bench._report import last_line, table
from bench._storm_site import fresh_place, running
from bench.storm import Storm, click, enter, percentile

AIM_SECONDS = 1.0
LOOK_SECONDS = 0.005
PATIENCE_SECONDS = 120
#: Somebody's page asks how far it is, too; the next click comes when that one is over.
PAUSE_SECONDS = 0.5


async def press(url: str, name: str, key: str) -> tuple[float, float]:
    """(seconds to the receipt, seconds to the stored scores) of one click."""
    storm = Storm()
    followers: set[asyncio.Task[None]] = set()
    student = await enter(url, name)
    try:
        await asyncio.sleep(PAUSE_SECONDS)
        clicked = time.perf_counter()
        await click(storm, student, key, followers)
        if storm.refused:
            raise RuntimeError(f"refused: {storm.refused}")
        await asyncio.to_thread(_until_stored, key)
        graded = time.perf_counter() - clicked
        await asyncio.gather(*followers)
    finally:
        await student.client.aclose()
    return storm.seconds[0], graded


def _until_stored(key: str) -> None:
    from bench._storm_course import close
    from grading.models import Autograding

    ends = time.monotonic() + PATIENCE_SECONDS
    stored = Autograding.objects.filter(submission__request_key=key, current=True, state=Autograding.State.FINISHED)
    try:
        while not stored.exists():
            if time.monotonic() > ends:
                raise RuntimeError("not graded")
            time.sleep(LOOK_SECONDS)
    finally:
        close()


async def press_all(url: str, names: list[str]) -> list[tuple[float, float]]:
    """One after the other; the first one is only to have everything started once."""
    return [await press(url, name, f"click-{name}") for name in names][1:]


def report(submissions: list[tuple[float, float]], engines: str) -> int:
    """Prints the table and the last line. Exit status 1 if the aim is missed."""
    receipts, graded = ([each[at] for each in submissions] for at in (0, 1))
    p95 = percentile(graded, 95)
    figures: dict[str, object] = {
        "engines": engines,
        "submissions": len(submissions),
        "receipt p50 s": round(statistics.median(receipts), 3),
        "graded p50 s": round(statistics.median(graded), 3),
        "graded p95 s": round(p95, 3),
        "graded max s": round(max(graded), 3),
    }
    print(table(["", "turnaround"], [[name, value] for name, value in figures.items()]))
    print(last_line("turnaround", ratio=AIM_SECONDS / p95, figures=figures))
    return 0 if p95 <= AIM_SECONDS else 1


def main() -> int:
    """Runs it in a data folder of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--submissions", type=int, default=20)
    parser.add_argument("--postgres", action="store_true", help="PostgreSQL and Redis instead of the embedded default")
    chosen = parser.parse_args()
    with fresh_place(postgres=chosen.postgres) as folder, running(folder / "data"):
        return run(chosen, folder)


def run(chosen: argparse.Namespace, folder: Path) -> int:
    """One measurement at a site that runs; see `main`."""
    # Models can only be imported once Django is set up, which reads the environment.
    import django

    django.setup()
    from bench._nbgrader_course import Course, kernel_python
    from bench._storm_course import close, prepare

    course = Course(folder / "course", kernel_python())
    course.create()
    names = prepare(course, chosen.submissions + 1)
    close()
    found = asyncio.run(press_all(f"http://127.0.0.1:{os.environ['PORT']}", names))
    return report(found, "PostgreSQL, Redis" if chosen.postgres else "SQLite, file-system broker")


if __name__ == "__main__":
    sys.exit(main())
