"""The site's side of `bench.grading`: rows in, rows out. Imported once Django is set up."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from bench._nbgrader_course import ASSIGNMENT, CELL_SECONDS, Course, Rows
from classroom.people.models import User
from grading import check, collect
from grading import release as releases
from grading.models import CellScore, LineItem, Release
from runtimes import storage
from runtimes.models import Profile


def publish_course(course: Course) -> Release:
    """nbgrader's assignment as a release of ours, its solution checked in a sandbox."""
    profile = Profile.objects.create(slug="bench", name="Benchmark")
    item = LineItem.objects.create(
        label=ASSIGNMENT, profile=profile, cell_timeout=timedelta(seconds=CELL_SECONDS), strict_nbgrader=True
    )
    header = course.folder.joinpath("source", "header.ipynb").read_bytes()
    made = releases.draft(item, course.files("source"), None, course_files={"header.ipynb": header})
    check.check(made.pk)
    made.refresh_from_db()
    releases.publish(made)
    return made


def hand_in(release: Release, student: str, files: dict[str, bytes]) -> int:
    """The autograding that waits for this submission."""
    author = User.objects.create(username=student, email=f"{student}@example.org")
    submission = collect.collect(
        line_item=release.line_item,
        release=release,
        snapshot=storage.snapshot_of(files),
        authors=[author],
        received_at=timezone.now(),
        due_at=None,
        request_key=student,
    )
    return submission.autogradings.get().pk


def stored_rows(autograding: int) -> Rows:
    """What was stored, in the shape of nbgrader's gradebook."""
    rows: Rows = {}
    for row in CellScore.objects.filter(autograding=autograding).select_related("cell__notebook"):
        key = (row.cell.notebook.name, row.cell.grade_id)
        rows[(*key, "grade")] = (row.auto_score, row.needs_manual_grade)
        rows[(*key, "comment")] = row.auto_comment
    return rows
