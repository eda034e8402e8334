"""A course as an nbgrader course folder: files and a gradebook.db that nbgrader's command line and formgrader open."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from classroom.migrate.names import folder_name
from classroom.migrate.report import Report
from classroom.models import Assignment, Course, Enrollment
from classroom.queries.counting import by_person
from grading.engine.course_config import write_config
from grading.engine.course_folder import TIMESTAMP
from grading.engine.generate import is_notebook
from grading.engine.gradebook_values import BookStudent
from grading.engine.gradebook_write import NewGradebook, new_gradebook
from grading.export import book_assignment, book_submission, current_run
from grading.models import LineItem, Release, Submission, SubmissionAuthor
from grading.specify import COURSE_FOLDER, assignment_files
from runtimes import storage
from runtimes.errors import UnsafePath
from runtimes.paths import safe_path

type Progress = Callable[[str, int, int], object]
type Traits = dict[str, dict[str, object]]


class FolderInUse(Exception):
    """There is something in the folder already."""


@dataclass
class _Out:
    """Where everything goes. `ids` are nbgrader's names for people, by user."""

    root: Path
    report: Report
    ids: Mapping[int, str]
    book: NewGradebook
    config: Traits = field(default_factory=dict)

    def write(self, files: Mapping[str, bytes], *folder: str) -> None:
        """These files, into a folder of the course."""
        for path, data in files.items():
            target = self.root.joinpath(*folder, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)

    def configure(self, place: str, values: Mapping[str, Mapping[str, object]]) -> None:
        """Settings of one assignment. nbgrader has one configuration a course: the first one wins, others are named."""
        for section, pairs in values.items():
            for name, value in pairs.items():
                kept = self.config.setdefault(section, {}).setdefault(name, value)
                if kept != value:
                    self.report.remark(place, f"c.{section}.{name} is {value!r} here and {kept!r} in the configuration")


def write_out(course: Course, root: Path, progress: Progress) -> Report:
    """The course in `root`, which must be empty or not exist. Raises FolderInUse."""
    if root.exists() and any(root.iterdir()):
        raise FolderInUse(f"{root} is not empty: name a new folder.")
    root.mkdir(parents=True, exist_ok=True)
    report = Report()
    students = list(_students(course, report))
    with new_gradebook(root / "gradebook.db", course.slug) as book:
        book.add_students(student for _, student in students)
        report.count("students", len(students))
        out = _Out(root, report, {user: student.id for user, student in students}, book)
        found = course.assignments.select_related("line_item", "release__source", "release__student")
        for assignment in found.filter(line_item__graded=True).order_by("position", "pk"):
            if assignment.release is None:
                report.remark(assignment.slug, "is not published, so it was left out")
            else:
                _write_assignment(out, assignment, assignment.release, progress)
    root.joinpath("nbgrader_config.py").write_text(write_config(course.slug, out.config), encoding="utf-8")
    return report


def _students(course: Course, report: Report) -> Iterator[tuple[int, BookStudent]]:
    """Students, and whoever was one when they handed something in."""
    handed_in = SubmissionAuthor.objects.filter(
        submission__line_item__in=course.assignments.values("line_item")
    ).values_list("user_id", flat=True)
    authors, taken = set(handed_in), set[str]()
    for one in course.enrollments.select_related("user").order_by("pk"):
        present = one.role == Enrollment.Role.STUDENT and one.state != Enrollment.State.DROPPED
        if not present and one.user_id not in authors:
            continue
        name = _student_id(one.student_id or one.user.username, one.user_id, taken)
        if name != (one.student_id or one.user.username):
            report.remark(one.user.username, f"is called {name} there: the name cannot be a folder's")
        taken.add(name)
        yield one.user_id, _student(one, name)


def _student(one: Enrollment, name: str) -> BookStudent:
    user = one.user
    whole = " ".join(filter(None, [user.first_name, user.last_name]))
    # A name is not ours to split: one that was not imported in two parts is the last name. An id is no name.
    shown = "" if user.display_name == name else user.display_name
    parts = (user.first_name, user.last_name) if whole == user.display_name else ("", shown)
    email = "" if user.email.endswith(".invalid") else user.email
    return BookStudent(name, *parts, email=email, lms_user_id=one.lms_user_id)


def _student_id(wanted: str, user: int, taken: set[str]) -> str:
    """nbgrader looks for a student's folder by a pattern: an id that is one would be everybody."""
    try:
        fits = safe_path(wanted) == wanted and wanted not in taken and not set("/*?[") & set(wanted)
    except UnsafePath:
        fits = False
    return wanted if fits else f"person-{user}"


def _write_assignment(out: _Out, assignment: Assignment, release: Release, progress: Progress) -> None:
    name, item = folder_name(assignment.slug, assignment.title), assignment.line_item
    source = storage.read_snapshot(release.source)
    ours = assignment_files(source)
    out.write(ours, "source", name)
    if release.student is not None:
        out.write(storage.read_snapshot(release.student), "release", name)
    _write_course_files(out, name, source)
    out.configure(name, release.engine_settings.get("traits", {}))
    out.configure(name, {"Execute": {"timeout": int(item.cell_timeout.total_seconds())}})
    _write_late_policy(out, name, item)
    out.book.add_assignment(book_assignment(name, assignment.due_at, release))
    out.report.count("assignments")
    data = {path: content for path, content in ours.items() if not path.endswith(".ipynb")}
    _write_submissions(out, _Written(name, assignment, release, data), progress)


def _write_course_files(out: _Out, name: str, source: Mapping[str, bytes]) -> None:
    for path, data in source.items():
        if not path.startswith(COURSE_FOLDER):
            continue
        file = path.removeprefix(COURSE_FOLDER)
        there = out.root / ("source" if file.endswith(".ipynb") else "") / file
        if there.exists() and there.read_bytes() != data:
            out.report.remark(name, f"has another {file} than the assignments before it; theirs was written")
            continue
        there.write_bytes(data)
        if file.endswith(".ipynb"):
            out.configure(name, {"IncludeHeaderFooter": {file.removesuffix(".ipynb"): f"source/{file}"}})


def _write_late_policy(out: _Out, name: str, item: LineItem) -> None:
    if item.late_policy in {LineItem.LatePolicy.NONE, LineItem.LatePolicy.ZERO}:
        out.configure(name, {"LateSubmissionPlugin": {"penalty_method": str(item.late_policy)}})
    else:
        out.report.remark(
            name, "has a late policy that nbgrader has not: penalties are in gradebook.db, until it grades again"
        )


@dataclass(frozen=True)
class _Written:
    """An assignment whose submissions follow. `data` are the files of the release beside its notebooks."""

    name: str
    assignment: Assignment
    release: Release
    data: Mapping[str, bytes]


def _write_submissions(out: _Out, written: _Written, progress: Progress) -> None:
    """Of each person the attempt that counts; a group's goes to every member."""
    counted = by_person([written.assignment.line_item], list(out.ids))
    for done, ((user, _item), (submission, _others)) in enumerate(sorted(counted.items(), key=lambda row: row[0]), 1):
        whole = Submission.objects.select_related("line_item", "snapshot", "release", "correction")
        _write_submission(out, written, whole.get(pk=submission.pk), out.ids[user])
        progress(written.name, done, len(counted))


def _write_submission(out: _Out, written: _Written, submission: Submission, student: str) -> None:
    files = storage.read_snapshot(submission.snapshot)
    stamp = f"{submission.received_at:%Y-%m-%d %H:%M:%S.%f} UTC\n".encode()
    out.write({**files, TIMESTAMP: stamp}, "submitted", student, written.name)
    book = book_submission(submission, student, written.assignment.due_at)
    known = {(row.name, cell) for row in written.release.notebooks.all() for cell in row.cells.get("source", {})}
    for notebook, cell in sorted((book.grades.keys() | book.comments.keys()) - known):
        out.report.remark(f"{written.name}, {student}", f"{notebook}/{cell} is not in the newest version; left out")
    out.book.add_submission(book)
    out.report.count("submissions")
    run = current_run(submission)
    if run is not None and run.result is not None:
        other = {path: data for path, data in files.items() if not path.endswith(".ipynb")}
        executed = {path: data for path, data in storage.read_snapshot(run.result).items() if is_notebook(path)}
        graded = {**other, **written.data, **executed, TIMESTAMP: stamp}
        out.write(graded, "autograded", student, written.name)
        out.report.count("autograded")
