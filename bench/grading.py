"""Autograding against `nbgrader autograde`: the same submissions of nbgrader's quickstart course, in the same run.

    python -m bench.grading [--students 24] [--workers 2] [--rounds 3]

The peer is one `nbgrader autograde` over the whole class, as its users run it. Ours is what the site does: worker
processes that take rows, grade every notebook in a fresh sandbox, and store the scores. Both are timed from the first
submission to the last row; ours with its processes running, as they do on a site, in a few rounds of the same class
of which the median counts. Every row is compared. Exit status 1 if one differs, or if the ratio is below LEAST_RATIO.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from decimal import Decimal
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import nbformat

from bench._nbgrader_course import Course, Rows, kernel_python
from bench._report import last_line, table

MOST_SHOWN = 20
#: How many times as fast as `nbgrader autograde` a class must be graded at least.
LEAST_RATIO = 15
SQUARES = 'def squares(n):\n    if n < 1:\n        raise ValueError("n")\n    return [i ** 2 for i in range(1, n + 1)]'
SUM = "def sum_of_squares(n):\n    return sum(squares(n))"
#: What students do, in turn: right, wrong, blank, a warning on stderr.
ANSWERS: tuple[dict[str, str], ...] = (
    {"squares": SQUARES, "sum_of_squares": SUM, "sum_of_squares_equation": "$\\sum i^2$", "part-a": "Fibonacci."},
    {"squares": SQUARES.replace("** 2", "* 2"), "sum_of_squares": SUM, "part-b": "Negative numbers."},
    {},
    {
        "squares": SQUARES.replace("    if", "    import sys; print('!', file=sys.stderr)\n    if", 1),
        "sum_of_squares": SUM,
    },
)


def answered(release: dict[str, bytes], answers: dict[str, str]) -> dict[str, bytes]:
    """The released files with some answers filled in."""
    made = dict(release)
    for path in [path for path in release if path.endswith(".ipynb")]:
        notebook: Any = nbformat.reads(release[path].decode(), as_version=4)
        for cell in notebook.cells:
            grade_id = cell.metadata.get("nbgrader", {}).get("grade_id")
            cell.source = answers.get(grade_id, cell.source)
        made[path] = nbformat.writes(notebook).encode()
    return made


def run_peer(course: Course, students: int) -> float:
    """Seconds that `nbgrader autograde` takes for the class."""
    release = course.files("release")
    for number in range(students):
        course.submit(f"s{number:03}", answered(release, ANSWERS[number % len(ANSWERS)]))
    return course.autograde()


def run_ours(course: Course, students: int, workers: int, rounds: int) -> tuple[list[float], dict[str, list[Rows]]]:
    """Seconds that the site's own path takes, round by round, and what it stored in each."""
    # Models can only be imported once Django is set up.
    from bench._grading_rows import hand_in, publish_course, stored_rows
    from classroom import grading_process

    release, files = publish_course(course), course.files("release")
    names = [f"s{number:03}" for number in range(students)]
    warm_up = [hand_in(release, f"warm{number}", files) for number in range(workers)]
    classes = [
        {
            name: hand_in(release, f"{name}-{again}", answered(files, ANSWERS[number % len(ANSWERS)]))
            for number, name in enumerate(names)
        }
        for again in range(rounds)
    ]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=grading_process.prepare) as pool:
        # A running site has imported everything and graded something before.
        timed(pool, warm_up)
        seconds = [timed(pool, submissions.values()) for submissions in classes]
    return seconds, {name: [stored_rows(submissions[name]) for submissions in classes] for name in names}


def timed(pool: ProcessPoolExecutor, autogradings: Iterable[int]) -> float:
    """Seconds until all are graded. Raises RuntimeError where one was not."""
    from classroom import grading_process

    started = time.perf_counter()
    refused = list(filter(None, pool.map(grading_process.grade, autogradings)))
    if refused:
        raise RuntimeError(refused[0])
    return time.perf_counter() - started


def comparable(rows: Rows) -> Rows:
    """nbgrader's rows as the site stores them: decimals, and "" for no comment."""
    made: Rows = {}
    for key, row in rows.items():
        if isinstance(row, tuple):
            score, manual = row
            made[key] = (None if score is None else Decimal(str(score)), manual)
        else:
            made[key] = row or ""
    return made


def main() -> int:
    """Runs both and prints the table. The exit status of `status`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--students", type=int, default=24)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pb-", dir="/tmp") as top:
        folder = Path(top)
        folder.chmod(0o755)
        os.environ |= {"DATA_DIR": str(folder / "data"), "DJANGO_SETTINGS_MODULE": "classroom.settings"}
        folder.joinpath("data").mkdir(mode=0o755)
        return compare(folder, chosen)


def compare(folder: Path, chosen: argparse.Namespace) -> int:
    """Both sides in one data folder; see `main`."""
    students, workers = chosen.students, chosen.workers
    import django
    from django.core.management import call_command

    os.environ.setdefault("LOG_LEVEL", "ERROR")
    django.setup()
    call_command("migrate", verbosity=0)
    from classroom.grade_here import runtimes_process

    course = Course(folder / "course", kernel_python())
    course.create()
    course.release()
    theirs_seconds = run_peer(course, students)
    with runtimes_process():
        rounds, ours = run_ours(course, students, workers, chosen.rounds)
    theirs = {student: comparable(rows) for student, rows in course.rows().items()}
    different = [
        (student, key, row, [stored.get(key) for stored in ours[student]])
        for student, rows in theirs.items()
        for key, row in rows.items()
        if any(stored.get(key) != row for stored in ours[student])
    ]
    rows, ours_seconds = sum(map(len, theirs.values())), statistics.median(rounds)
    ratio = theirs_seconds / ours_seconds
    each = {"nbgrader autograde": theirs_seconds, f"ours, {workers} workers": ours_seconds}
    print(
        table(
            ["", "seconds", "ms a submission", "times as fast"],
            [
                [name, f"{seconds:.1f}", f"{1000 * seconds / students:.0f}", f"{theirs_seconds / seconds:.1f}"]
                for name, seconds in each.items()
            ],
        )
    )
    print(f"{students} submissions, {2 * students} notebooks, {rows} rows compared, {len(different)} differ")
    for student, key, row, stored in different[:MOST_SHOWN]:
        print(f"{student} {'/'.join(key)}: nbgrader {row!r}, ours {stored!r}")
    figures = {
        "students": students,
        "workers": workers,
        "nbgrader_seconds": round(theirs_seconds, 2),
        "ours_seconds": round(ours_seconds, 2),
        "ours_seconds_fastest": round(min(rounds), 2),
        "ours_seconds_slowest": round(max(rounds), 2),
        "rows": rows,
        "rows_that_differ": len(different),
    }
    print(last_line("grading", ratio=ratio, identical=not different, figures=figures))
    if ratio < LEAST_RATIO:
        print(
            f"Too slow: {ratio:.1f} times as fast as nbgrader autograde, and {LEAST_RATIO} is the least",
            file=sys.stderr,
        )
    return status(ratio, different=len(different))


def status(ratio: float, *, different: int) -> int:
    """0 where every row is nbgrader's and the class is graded fast enough, else 1."""
    return int(bool(different) or ratio < LEAST_RATIO)


if __name__ == "__main__":
    sys.exit(main())
