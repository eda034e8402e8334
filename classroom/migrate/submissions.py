"""What students handed in to nbgrader, with nbgrader's scores and people's marks, one submission at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from classroom.migrate.assignments import Opened
from classroom.migrate.report import Report
from classroom.models import Extension, Work, WorkMember
from classroom.people.models import User
from classroom.workspaces import filled
from grading.adopt import Adopted, Elsewhere, adopt, cells_of
from grading.engine.course_folder import CourseFolder, Files
from grading.engine.gradebook_file import GradebookFile
from grading.engine.gradebook_values import BookSubmission, Place
from grading.models import GradeCell
from runtimes import storage
from runtimes.models import Snapshot

type Progress = Callable[[int, int], object]


@dataclass(frozen=True)
class Source:
    """Where submissions come from, and who takes them over."""

    folder: CourseFolder
    book: GradebookFile | None
    people: Mapping[str, User]
    by: User
    report: Report


def take_submissions(source: Source, opened: Opened, handed_in: set[str], progress: Progress) -> None:
    """Everything that was handed in to one assignment: `handed_in` are the students with a folder for it."""
    rows = source.book.submissions(opened.name) if source.book else {}
    known = cells_of(opened.release)
    wanted = sorted(handed_in | rows.keys())
    for done, student in enumerate(wanted, 1):
        book = source.book.submission(rows[student]) if source.book and student in rows else None
        user = source.people.get(student)
        if user is None:
            source.report.remark(f"{opened.name}, {student}", "is nobody that could be enrolled; it was left out")
        else:
            _take(source, opened, student, user, book, known)
        source.report.take(source.folder.remarks)
        progress(done, len(wanted))


def _take(
    source: Source,
    opened: Opened,
    student: str,
    user: User,
    book: BookSubmission | None,
    known: Mapping[Place, GradeCell],
) -> None:
    place = f"{opened.name}, {student}"
    files, result = _files(source, opened, student)
    if files is None or not files.content:
        if book is None or not book.marked:
            source.report.remark(place, "has no files that could be taken and no scores; it was left out")
            return
        source.report.remark(place, "has scores and no files")
    received_at, due_at = _times(opened, book, files)
    snapshot = storage.snapshot_of(files.content if files else {})
    said = book.timestamp if book and book.timestamp else files.timestamp if files else None
    given = Elsewhere(
        line_item=opened.assignment.line_item,
        release=opened.release,
        snapshot=snapshot,
        author=user,
        received_at=received_at,
        due_at=due_at,
        request_key="nbgrader:" + hashlib.sha256(f"{snapshot.digest} {said}".encode()).hexdigest()[:40],
        book=book,
        graded=_graded(source, opened, student, book),
        result=result,
    )
    with transaction.atomic():
        done = adopt(given, known, source.by)
        if done.made:
            _extend(opened, user, due_at, source.by)
            _work(opened, user, snapshot)
    _tell(source.report, place, done, book)


def _graded(source: Source, opened: Opened, student: str, book: BookSubmission | None) -> bool:
    """Whether nbgrader graded it to the end. A run that fails removes its copy, and leaves half of its rows."""
    if book is None:
        return False
    if source.folder.names("autograded"):
        return source.folder.has("autograded", student, opened.name)
    # Only a gradebook was kept.
    return book.marked


def _files(source: Source, opened: Opened, student: str) -> tuple[Files | None, Snapshot | None]:
    """What was handed in, and the executed notebooks; without the first, nbgrader's executed copy stands for it."""
    submitted = source.folder.files("submitted", student, opened.name)
    graded = source.folder.files("autograded", student, opened.name)
    if graded is None:
        return submitted, None
    notebooks = {path: data for path, data in graded.content.items() if path.endswith(".ipynb") and "/" not in path}
    if submitted is None or not submitted.content:
        source.report.remark(
            f"submitted/{student}/{opened.name}", "is missing or empty: the autograded copy was taken in its place"
        )
        submitted = graded
    return submitted, storage.snapshot_of(notebooks) if notebooks else None


def _times(opened: Opened, book: BookSubmission | None, files: Files | None) -> tuple[datetime, datetime | None]:
    """When it was handed in and was due. Without a timestamp nbgrader takes it as in time, so the files' own date is
    taken as far as that is before the due date."""
    due_at = opened.assignment.due_at
    if book and book.extension and due_at is not None:
        due_at += book.extension
    said = (book.timestamp if book else None) or (files.timestamp if files else None)
    if said is not None:
        return said, due_at
    newest = files.newest if files else opened.assignment.created_at
    return (newest if due_at is None else min(newest, due_at)), due_at


def _extend(opened: Opened, user: User, due_at: datetime | None, by: User) -> None:
    if due_at is not None and opened.assignment.due_at is not None and due_at > opened.assignment.due_at:
        Extension.objects.get_or_create(
            assignment=opened.assignment,
            user=user,
            defaults={"due_at": due_at, "reason": "nbgrader", "granted_by": by},
        )


def _work(opened: Opened, user: User, snapshot: Snapshot) -> None:
    """The student's own copy holds what they handed in. Whoever has one already keeps it."""
    assignment = opened.assignment
    if WorkMember.objects.filter(assignment=assignment, user=user, preview=False).exists():
        return
    workspace = filled(assignment, snapshot)
    work = Work.objects.create(assignment=assignment, workspace=workspace, release=opened.release)
    WorkMember.objects.create(work=work, assignment=assignment, user=user)


def _tell(report: Report, place: str, done: Adopted, book: BookSubmission | None) -> None:
    report.count("submissions")
    report.count("submissions new", int(done.made))
    report.count("  with scores from gradebook.db", int(done.scored))
    report.count("  waiting to be graded", int(done.made and not done.scored))
    report.count("manual scores and extra credit new", done.marks)
    report.count("comments new", done.comments)
    for notebook, name in done.unknown:
        report.remark(place, f"{notebook}/{name} is no cell of the source: its score was left out")
    if done.kept:
        cells = ", ".join(f"{notebook}/{name}" for notebook, name in done.kept[:5])
        report.remark(place, f"has other marks or comments here than in gradebook.db, which stay: {cells}")
    for odd in book.odd if book else ():
        report.remark(place, odd)
