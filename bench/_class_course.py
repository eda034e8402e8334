"""An nbgrader course folder with many submissions, to try an import and grading at the size of a real class.

It is `nbgrader quickstart`, released by nbgrader's command line; students hand in right, wrong, blank and noisy answers
in turn, every fifth one late. Nothing is graded.
"""

from __future__ import annotations

from pathlib import Path

from bench._nbgrader_course import Course, kernel_python
from bench.grading import ANSWERS, answered

_IN_TIME, _LATE = b"2024-02-28 12:00:00 UTC\n", b"2024-03-03 09:30:00 UTC\n"


def make(folder: Path, students: int) -> None:
    """The course; RuntimeError where nbgrader's commands fail."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    course = Course(folder, kernel_python())
    course.create()
    course.release()
    released = course.files("release")
    for number in range(students):
        name = f"student{number:03}"
        answers = {**ANSWERS[number % len(ANSWERS)], "part-b": f"Written by {name}."}
        stamp = _LATE if number % 5 == 4 else _IN_TIME
        course.submit(name, {**answered(released, answers), "timestamp.txt": stamp})
    # A due date, so that late is late.
    course.run("db", "assignment", "add", "ps1", "--duedate=2024-03-01 17:00:00 UTC")
