"""An nbgrader course folder into a course: people, assignments, submissions, scores. Safe to repeat.

What is there already stays; what is new in the folder is added. A file that cannot be taken is named and the rest goes
on.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from django.conf import settings

from classroom.migrate.assignments import take_assignments
from classroom.migrate.people import take_students
from classroom.migrate.report import Report
from classroom.migrate.submissions import Source, take_submissions
from classroom.models import Course
from classroom.people.models import User
from grading.engine.course_folder import CourseFolder
from grading.engine.gradebook_file import GradebookFile, gradebook_file
from grading.engine.gradebook_values import BookStudent, GradebookUnreadable

type Say = Callable[[str], object]

_TELL_SECONDS = 2.0


def take_in(course: Course, root: Path, by: User, say: Say) -> Report:
    """Everything of the folder that can be taken. Raises NoCourseFolder, publish's CourseArchived, and
    GradebookUnreadable where the file turns out to be damaged half-way: what was taken until then stays.
    """
    report = Report()
    folder = CourseFolder(root, settings.UPLOAD_MOST_FILES, settings.UPLOAD_MOST_BYTES)
    report.take(folder.remarks)
    with ExitStack() as stack:
        book = _gradebook(stack, folder, report)
        handed_in = _handed_in(folder)
        students = {student.id: student for student in book.students()} if book else {}
        for student in {name for names in handed_in.values() for name in names} - students.keys():
            students[student] = BookStudent(student)
        people = take_students(course, (students[name] for name in sorted(students)), report)
        source = Source(folder, book, people, by, report)
        opened = take_assignments(course, folder, book, by, report)
        for one in opened:
            take_submissions(source, one, handed_in.pop(one.name, set()), _progress(say, one.name))
        for name, left in sorted(handed_in.items()):
            report.remark(f"submitted/*/{name}", f"{len(left)} submissions were left out")
    report.take(folder.remarks)
    return report


def _gradebook(stack: ExitStack, folder: CourseFolder, report: Report) -> GradebookFile | None:
    """The gradebook, open as long as `stack`; None, and a remark, where there is none that can be read."""
    path = folder.gradebook
    if path is None:
        report.remark("gradebook.db", "is not there: no scores, marks, names of students or due dates to take over")
        return None
    try:
        return stack.enter_context(gradebook_file(path))
    except GradebookUnreadable as error:
        report.remark(path.name, f"{error}; no scores, marks, names of students or due dates were taken over")
        return None


def _handed_in(folder: CourseFolder) -> dict[str, set[str]]:
    """Assignment → students who have a folder for it."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for student in folder.names("submitted"):
        for assignment in folder.names("submitted", student):
            found[assignment].add(student)
    return dict(found)


def _progress(say: Say, name: str) -> Callable[[int, int], None]:
    """Says how far it is, every other second."""
    last = time.monotonic()

    def tell(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last > _TELL_SECONDS:
            last = time.monotonic()
            say(f"{name}: {done} of {total} submissions")

    return tell
