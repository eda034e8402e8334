"""The hour before a deadline: hundreds of submissions a minute at a running site, and every one of them graded.

    python -m bench.storm [--minutes 10] [--rate 300] [--students 60] [--workers 2] [--postgres]

Students sign in once, open nbgrader's quickstart assignment and press Submit, as the page does: with their session, a
key for each click, now and then twice; then their page follows grading until it is over. Clicks come at a fixed rate,
whatever the site does, and a receipt's time is counted from the click. At the end every receipt is looked up: one
submission, graded once, with the scores of its answers.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from bench._report import last_line, table
from bench._storm_site import MIB, Watch, fresh_place, running

AIM_SECONDS = 2.0
DRAIN_PATIENCE_SECONDS = 3600
#: Every so many clicks is a double click.
DOUBLE_EVERY = 50
_RECEIPT = re.compile(r"/receipts/([^/]+)/state/\" hx-trigger=\"load delay:(\d+)ms")
_CODE = re.compile(r"/receipts/([^/\"]+)/")


@dataclass
class Student:
    """One signed-in browser, and the address of their work."""

    name: str
    client: httpx.AsyncClient
    submit: str = ""


@dataclass
class Storm:
    """What happened to the clicks."""

    seconds: list[float] = field(default_factory=list)
    receipts: dict[str, str] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    polls: int = 0
    failed_polls: int = 0


async def sign_in(url: str, name: str) -> Student:
    """A browser of someone who is signed in."""
    from bench._storm_course import PASSWORD

    # As a browser, one connection or a few to one host; a click waits as long as a person would.
    client = httpx.AsyncClient(base_url=url, timeout=120, limits=httpx.Limits(max_connections=6))
    await client.get("/accounts/login/")
    signed_in = await client.post("/accounts/login/", data=_form(client, login=name, password=PASSWORD))
    if signed_in.status_code != 302:
        raise RuntimeError(f"{name} could not sign in: {signed_in.status_code}")
    return Student(name, client)


async def enter(url: str, name: str) -> Student:
    """Signs in and opens the assignment, as a browser would."""
    from bench._storm_course import ASSIGNMENT, COURSE

    student = await sign_in(url, name)
    opened = await student.client.post(f"/c/{COURSE}/a/{ASSIGNMENT}/", data=_form(student.client))
    if opened.status_code != 302:
        raise RuntimeError(f"{name} could not open the assignment: {opened.status_code}")
    student.submit = opened.headers["location"] + "submit/"
    return student


def _form(client: httpx.AsyncClient, **fields: str) -> dict[str, str]:
    return {"csrfmiddlewaretoken": client.cookies.get("csrf") or "", **fields}


async def click(storm: Storm, student: Student, key: str, followers: set[asyncio.Task[None]]) -> None:
    """Presses Submit once. The page then follows the submission."""
    clicked = time.perf_counter()
    try:
        answer = await student.client.post(
            student.submit, data=_form(student.client, request_key=key), headers={"HX-Request": "true"}
        )
    except httpx.HTTPError as error:
        storm.refused.append(type(error).__name__)
        return
    code = _CODE.search(answer.text)
    if answer.status_code != 200 or code is None:
        storm.refused.append(str(answer.status_code))
        return
    storm.seconds.append(time.perf_counter() - clicked)
    storm.receipts[key] = code[1]
    follower = asyncio.create_task(follow(storm, student, answer.text))
    followers.add(follower)
    follower.add_done_callback(followers.discard)


async def follow(storm: Storm, student: Student, page: str) -> None:
    """Asks how far grading is, as often as the page says, until it says that it is over."""
    while (again := _RECEIPT.search(page)) is not None:
        await asyncio.sleep(int(again[2]) / 1000)
        try:
            answer = await student.client.get(f"/receipts/{again[1]}/state/", headers={"HX-Request": "true"})
        except httpx.HTTPError:
            storm.failed_polls += 1
            continue
        storm.polls += 1
        if answer.status_code != 200:
            storm.failed_polls += 1
            continue
        page = answer.text


async def blow(students: Sequence[Student], rate: float, minutes: float) -> tuple[Storm, set[asyncio.Task[None]]]:
    """Clicks at `rate` a minute, student after student; returns when each was answered."""
    storm, followers = Storm(), set[asyncio.Task[None]]()
    begun, clicks = time.perf_counter(), []
    for number in range(round(rate * minutes)):
        await asyncio.sleep(max(0.0, begun + number * 60 / rate - time.perf_counter()))
        student = students[number % len(students)]
        times = 2 if number % DOUBLE_EVERY == 0 else 1
        clicks += [asyncio.create_task(click(storm, student, f"click-{number}", followers)) for _ in range(times)]
    await asyncio.gather(*clicks)
    return storm, followers


async def drained() -> float:
    """Seconds until nothing waits to be graded."""
    from bench._storm_course import waiting

    begun = time.perf_counter()
    while await asyncio.to_thread(_fresh, waiting):
        if time.perf_counter() - begun > DRAIN_PATIENCE_SECONDS:
            raise RuntimeError("The queue does not drain.")
        await asyncio.sleep(0.5)
    return time.perf_counter() - begun


def _fresh(read: Any) -> Any:
    """What `read` returns, on a connection that this thread does not keep."""
    from bench._storm_course import close

    try:
        return read()
    finally:
        close()


async def storm_over(url: str, names: Sequence[str], rate: float, minutes: float) -> dict[str, Any]:
    """The storm and its end: the clicks, how long all of it took, how long the queue took to drain after it."""
    from bench._storm_course import write_answers

    # A few at once: a password costs a third of a second of a core.
    students: list[Student] = []
    for at in range(0, len(names), 4):
        students += await asyncio.gather(*[enter(url, name) for name in names[at : at + 4]])
    await asyncio.to_thread(_fresh, write_answers)
    begun = time.perf_counter()
    storm, followers = await blow(students, rate, minutes)
    took = time.perf_counter() - begun
    drain = await drained()
    for follower in list(followers):
        follower.cancel()
    await asyncio.gather(*followers, return_exceptions=True)
    await asyncio.gather(*[student.client.aclose() for student in students])
    return {"storm": storm, "took": took, "drain": drain}


def percentile(values: Sequence[float], percent: int) -> float:
    """The value that so many percent are not above; 0 for none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] if ordered else 0.0


def report(chosen: argparse.Namespace, found: dict[str, Any], watch: Watch) -> int:
    """Prints the table and the last line. Exit status 1 if anything was lost, doubled or not graded."""
    from bench._storm_course import outcome

    storm: Storm = found["storm"]
    rows = outcome(storm.receipts)
    taken, p99 = len(storm.receipts), percentile(storm.seconds, 99)
    graded = taken - rows.ungraded
    to_grade = rows.seconds_to_grade
    figures: dict[str, object] = {
        "engines": "PostgreSQL, Redis" if chosen.postgres else "SQLite, file-system broker",
        "minutes": chosen.minutes,
        "submissions a minute": chosen.rate,
        "students": chosen.students,
        "workers": chosen.workers,
        "taken": taken,
        "refused": len(storm.refused),
        "lost": rows.lost,
        "doubled": rows.doubled,
        "not graded": rows.ungraded,
        "wrong scores": rows.wrong,
        "most tries": rows.tries,
        "receipt p50 s": round(statistics.median(storm.seconds or [0]), 3),
        "receipt p99 s": round(p99, 3),
        "receipt max s": round(max(storm.seconds, default=0), 3),
        "graded p50 s after submit": round(percentile(to_grade, 50), 2),
        "graded p95 s after submit": round(percentile(to_grade, 95), 2),
        "drained s after the last": round(found["drain"], 1),
        "graded a second": round(graded / (found["took"] + found["drain"]), 2),
        "answers to followers": storm.polls,
        "answers to followers that failed": storm.failed_polls,
        **{f"peak memory of {name} MiB": round(size / MIB) for name, size in watch.peak_bytes.items()},
        **{f"CPU of {name} s": round(seconds, 1) for name, seconds in watch.cpu_seconds.items()},
    }
    print(table(["", "storm"], [[name, value] for name, value in figures.items()]))
    for why in sorted(set(storm.refused)):
        print(f"refused: {storm.refused.count(why)} times {why}")
    whole = not (storm.refused or rows.lost or rows.doubled or rows.ungraded or rows.wrong)
    print(last_line("storm", ratio=AIM_SECONDS / p99 if p99 else 0.0, identical=whole, figures=figures))
    return 0 if whole and p99 <= AIM_SECONDS else 1


def main() -> int:
    """Runs one storm. `ratio` in the last line is the aim (2 s) divided by the p99 of receipts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--rate", type=float, default=300, help="submissions a minute")
    parser.add_argument("--students", type=int, default=60)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--postgres", action="store_true", help="PostgreSQL and Redis instead of the embedded default")
    chosen = parser.parse_args()
    with fresh_place(postgres=chosen.postgres, WORKERS=str(chosen.workers)) as folder:
        return run(chosen, folder, folder / "data")


def run(chosen: argparse.Namespace, folder: Path, data: Path) -> int:
    """One storm in one data folder; see `main`."""
    with running(data):
        # Models can only be imported once Django is set up, which reads the environment.
        import django

        django.setup()
        from bench._nbgrader_course import Course, kernel_python
        from bench._storm_course import close, prepare

        course = Course(folder / "course", kernel_python())
        course.create()
        names = prepare(course, chosen.students)
        close()
        with Watch(data / "pids") as watch:
            url = f"http://127.0.0.1:{os.environ['PORT']}"
            found = asyncio.run(storm_over(url, names, chosen.rate, chosen.minutes))
        status = report(chosen, found, watch)
        close()
        return status


if __name__ == "__main__":
    sys.exit(main())
