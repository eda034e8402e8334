"""nbgrader's assignments as published ones of the course, with their tests, dates and late policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from django.db import transaction

from classroom import publish
from classroom.migrate.names import short_name
from classroom.migrate.report import Report
from classroom.models import Assignment, Course
from classroom.people.models import User
from grading import release as releases
from grading.engine.course_folder import CourseFolder
from grading.engine.gradebook_file import GradebookFile
from grading.engine.gradebook_values import BookAssignment
from grading.explain import PROBLEMS, explain
from grading.models import LineItem, Release
from grading.specify import COURSE_FOLDER
from runtimes import storage

_AUTOTESTS = "autotests.yml"


@dataclass(frozen=True)
class Opened:
    """An assignment of the course that submissions can be taken into."""

    name: str
    assignment: Assignment
    release: Release


def take_assignments(
    course: Course, folder: CourseFolder, book: GradebookFile | None, by: User, report: Report
) -> list[Opened]:
    """Every assignment of the folder that has files, published; those that cannot be are named."""
    known = {row.name: row for row in book.assignments()} if book else {}
    names = sorted({*folder.names("source"), *folder.names("release"), *known})
    course_files = _course_files(folder)
    slugs: dict[str, str] = {}
    opened = []
    for name in names:
        slug = short_name(name)
        if not slug or slug in slugs:
            report.remark(name, f"no short name can be made of it that is not taken by {slugs.get(slug, 'nobody')!r}")
            continue
        slugs[slug] = name
        taken = _take(_Given(course, folder, book, by, report, course_files), known.get(name), name)
        report.take(folder.remarks)
        if taken is not None:
            opened.append(taken)
    return opened


@dataclass(frozen=True)
class _Given:
    course: Course
    folder: CourseFolder
    book: GradebookFile | None
    by: User
    report: Report
    course_files: Mapping[str, bytes]


def _course_files(folder: CourseFolder) -> dict[str, bytes]:
    """nbgrader's header, footer and test templates."""
    paths = {f"{part}.ipynb": folder.config.get("IncludeHeaderFooter", part, "") for part in ("header", "footer")}
    found = {name: folder.file(path) for name, path in paths.items() if path}
    found[_AUTOTESTS] = folder.file(_AUTOTESTS, missing_is_fine=True)
    return {name: data for name, data in found.items() if data is not None}


def _take(given: _Given, row: BookAssignment | None, name: str) -> Opened | None:
    report = given.report
    files = given.folder.files("source", name)
    if files is None or not files.content:
        files = given.folder.files("release", name)
        if files is None or not files.content:
            report.remark(name, "has neither a source nor a release, so its submissions were left out")
            return None
        report.remark(f"release/{name}", "was taken as the source, which is missing: hidden tests are not in it")
    assignment = _assignment(given, row, name)
    report.count("assignments")
    release = _release(given, assignment, files.content, name)
    if release is None:
        return None
    return Opened(name, assignment, release)


def _assignment(given: _Given, row: BookAssignment | None, name: str) -> Assignment:
    """The course's assignment of that name, or a new one with nbgrader's date, late policy and limit a cell."""
    slug = short_name(name)
    due_at = row.due_at if row else None
    found = given.course.assignments.select_related("line_item", "course").filter(slug=slug).first()
    if found is not None:
        if due_at is not None and found.due_at is None:
            Assignment.objects.filter(pk=found.pk, due_at=None).update(due_at=due_at)
            found.refresh_from_db()
        elif due_at is not None and found.due_at != due_at:
            given.report.remark(name, f"is due {found.due_at} here and {due_at} in gradebook.db; here it stays")
        return found
    with transaction.atomic():
        made = publish.create(given.course, slug=slug, title=name, graded=True)
        Assignment.objects.filter(pk=made.pk).update(due_at=due_at)
        config = given.folder.config
        LineItem.objects.filter(pk=made.line_item_id).update(
            late_policy=config.late_policy or LineItem.LatePolicy.NONE,
            cell_timeout=timedelta(seconds=max(1, config.cell_seconds)),
        )
    if not config.late_policy:
        given.report.remark(name, "late penalties come from a plugin of the course: none is set; see its settings")
    given.report.count("assignments made")
    return Assignment.objects.select_related("line_item", "course").get(pk=made.pk)


def _release(given: _Given, assignment: Assignment, files: Mapping[str, bytes], name: str) -> Release | None:
    """The published release with these files, made where the assignment has none; None, and why, if it cannot be."""
    item, traits = assignment.line_item, given.folder.config.traits
    source = {**files, **{COURSE_FOLDER + path: data for path, data in given.course_files.items()}}
    same = item.releases.filter(source=storage.snapshot_of(source), state=Release.State.PUBLISHED)
    known = same.filter(engine_settings={"traits": traits}).order_by("-number").first()
    if known is not None:
        return known
    with transaction.atomic():
        made = releases.draft(
            item,
            files,
            given.by,
            course_files=given.course_files,
            traits=traits,
            sources=given.book.sources(name) if given.book else None,
        )
        if made.state == Release.State.DRAFT and made.student_id is not None:
            publish.publish(assignment, made, anyway=True, unrun=True)
            given.report.count("releases made")
            return made
    _say_why(given.report, made, name)
    return None


def _say_why(report: Report, release: Release, name: str) -> None:
    errors = [problem for problem in release.problems if problem["severity"] == "error"]
    for problem in errors:
        place = f"source/{name}/{problem['path']}" + (f", cell {problem['cell']}" if problem["cell"] else "")
        report.remark(place, explain(PROBLEMS, problem))
    if not errors:
        report.remark(
            f"source/{name}",
            "its AUTOTEST lines have to be run first: publish it on its page while the site runs, then import again",
        )
    report.remark(name, "is a draft with problems, so its submissions were left out; they come when you import again")
