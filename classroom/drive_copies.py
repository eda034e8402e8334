"""After Submit: each file of the submission to each author's Drive, exactly one copy a file, from an outbox row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.utils import timezone

from classroom.errors import DriveError
from classroom.google import drive
from classroom.models import DriveCopy, Work
from classroom.outbox import NothingToDo, handles
from classroom.people.models import User
from grading.models import Submission
from runtimes import storage


@handles("drive_copy")
def deliver(payload: Mapping[str, Any]) -> None:
    """Copies what was handed in. Repeatable: what is there already is left. Raises DriveError when a copy failed.

    Raises NothingToDo where a newer submission of the same work has its own row, and where there is no drive.
    """
    if not settings.DRIVE_BACKEND:
        raise NothingToDo("nothing is copied to a drive here")
    submission = Submission.objects.select_related("snapshot").get(pk=payload["submission"])
    newer = Submission.objects.filter(
        line_item=submission.line_item_id, authors_key=submission.authors_key, attempt__gt=submission.attempt
    )
    if newer.exists():
        raise NothingToDo("a newer submission is copied instead")
    work = Work.objects.select_related("assignment__course").get(pk=payload["work"])
    backend = drive.backend()
    files = storage.read_snapshot(submission.snapshot)
    problem: DriveError | None = None
    for author in submission.authors.order_by("pk"):
        for path, data in files.items():
            try:
                copy(backend, work, author, path, data)
            except DriveError as error:
                problem = problem or error
    if problem is not None:
        raise problem


def copy(backend: drive.DriveBackend, work: Work, user: User, path: str, data: bytes) -> DriveCopy:
    """One file to one person's Drive, and the row that says where it is. Raises DriveError after noting it."""
    row, _made = DriveCopy.objects.get_or_create(work=work, user=user, path=path)
    try:
        placed = backend.place(folders=_folders(work, user), name=path, data=data, target=row.target, sha256=row.sha256)
    except DriveError as error:
        row.state, row.message = DriveCopy.State.FAILED, str(error)
        row.save(update_fields=["state", "message"])
        raise
    # Where a changed file was kept stays to be read; what went wrong before does not.
    before = row.message if row.state == DriveCopy.State.COPIED else ""
    row.target, row.sha256, row.message = placed.target, placed.sha256, placed.kept or before
    row.state, row.copied_at = DriveCopy.State.COPIED, timezone.now()
    row.save(update_fields=["target", "sha256", "state", "message", "copied_at"])
    return row


def _folders(work: Work, user: User) -> tuple[str, ...]:
    course = work.assignment.course
    # Two people may have one name; a user name is unique.
    return (course.slug, work.assignment.slug, user.username)
