"""A whole nbgrader course in, graded, and out again, from the command line, against `nbgrader autograde`.

    python -m bench.course [--students 300] [--peer 24] [--make FOLDER]

Ours is what somebody who comes from nbgrader types: `import_nbgrader`, `autograde --strict --wait`, `export_nbgrader`,
on a fresh site that does not run. The peer is `nbgrader autograde` over the first `--peer` students of the same course,
in the same run. Every row of the exported gradebook is compared with what nbgrader gave for the same answers. `ratio`
is of seconds a submission, of grading alone. With `--make` the course is only made, to try the commands by hand.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench._class_course import make
from bench._nbgrader_course import ASSIGNMENT, Course, Rows, kernel_python
from bench._report import last_line, table
from bench.grading import ANSWERS, MOST_SHOWN
from classroom.places import CHECKOUT

COURSE, TEACHER = "course101", "grace"
#: "300 submissions in 1 min 2 s (4.84 a second):"
_RATE = re.compile(r"submissions in .*\((\d+\.\d+) a second\)")


def manage(data: Path, *arguments: str) -> tuple[float, str]:
    """Seconds and output of `manage.py …`. RuntimeError with its messages where it fails."""
    variables = {**os.environ, "DATA_DIR": str(data), "DATABASE_URL": "", "REDIS_URL": "", "LOG_LEVEL": "ERROR"}
    variables["DJANGO_SUPERUSER_PASSWORD"] = "course in, course out"
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments], cwd=CHECKOUT, env=variables, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"{arguments[0]}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return time.perf_counter() - started, done.stdout


def run_peer(folder: Path, students: int) -> tuple[float, list[Rows]]:
    """Seconds that `nbgrader autograde` takes for these students, and what it gave for each kind of answers."""
    make(folder, students)
    course = Course(folder, kernel_python())
    seconds = course.autograde()
    rows = course.rows()
    return seconds, [rows[f"student{number:03}"] for number in range(len(ANSWERS))]


def run_ours(folder: Path, data: Path, students: int) -> dict[str, float]:
    """Seconds of each of the three commands, and those of grading without its start; the export is in `folder`.out."""
    make(folder, students)
    manage(data, "prepare")
    manage(data, "createsuperuser", "--noinput", "--username", TEACHER, "--email", f"{TEACHER}@example.org")
    took = {"import": manage(data, "import_nbgrader", str(folder), "--course", COURSE, "--teacher", TEACHER)[0]}
    took["autograde"], said = manage(data, "autograde", "--course", COURSE, "--strict", "--wait")
    rate = _RATE.search(said)
    if rate is None:
        raise RuntimeError(said)
    took["grading"] = students / float(rate[1])
    took["export"] = manage(data, "export_nbgrader", "--course", COURSE, f"{folder}.out")[0]
    return took


def differences(course: Course, students: int, theirs: list[Rows]) -> tuple[int, list[str]]:
    """How many rows were compared, and those of the exported gradebook that nbgrader would have written otherwise."""
    found, compared, ours = [], 0, course.rows()
    for number in range(students):
        name, expected = f"student{number:03}", theirs[number % len(theirs)]
        mine = ours.get(name, {})
        compared += len(expected)
        found += [
            f"{name} {'/'.join(key)}: nbgrader {expected.get(key)!r}, ours {mine.get(key)!r}"
            for key in sorted(expected.keys() | mine.keys())
            if (expected.get(key) or None) != (mine.get(key) or None)
        ]
        if not course.folder.joinpath("autograded", name, ASSIGNMENT).is_dir():
            found.append(f"{name}: not in autograded")
    return compared, found


def main() -> int:
    """Runs both and prints the table. Exit status 1 if a single row differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--students", type=int, default=300)
    parser.add_argument("--peer", type=int, default=24, help="students that nbgrader grades; at least 4")
    parser.add_argument("--make", type=Path, metavar="FOLDER", help="make the course there, and nothing else")
    chosen = parser.parse_args()
    if chosen.make:
        make(chosen.make.absolute(), chosen.students)
        print(f"{chosen.students} submissions to {ASSIGNMENT} in {chosen.make}")
        return 0
    peer = max(chosen.peer, len(ANSWERS))
    with tempfile.TemporaryDirectory(prefix="pc-", dir="/tmp") as top:
        folder = Path(top)
        folder.chmod(0o755)
        (folder / "data").mkdir(mode=0o755)
        theirs_seconds, theirs = run_peer(folder / "peer", peer)
        took = run_ours(folder / "course", folder / "data", chosen.students)
        exported = Course(folder / "course.out", kernel_python())
        compared, different = differences(exported, chosen.students, theirs)
    each = {"nbgrader autograde": theirs_seconds / peer} | {
        name: seconds / chosen.students for name, seconds in took.items()
    }
    print(table(["", "ms a submission"], [[name, f"{1000 * seconds:.0f}"] for name, seconds in each.items()]))
    print(f"{chosen.students} submissions, {compared} rows compared, {len(different)} differ")
    for line in different[:MOST_SHOWN]:
        print(line)
    figures: dict[str, object] = {
        "students": chosen.students,
        "peer_students": peer,
        "peer_seconds": round(theirs_seconds, 1),
        **{f"{name}_seconds": round(seconds, 1) for name, seconds in took.items()},
        "rows": compared,
        "rows_that_differ": len(different),
    }
    ratio = each["nbgrader autograde"] / each["grading"]
    print(last_line("course", ratio=ratio, identical=not different, figures=figures))
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
