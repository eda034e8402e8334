"""Submit: what is on the server is frozen under a receipt; grading, Drive and anything else slow come after."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from classroom import attempts, deadlines, outbox, redate, wake
from classroom.errors import Closed, NotASubmission, NotSaved
from classroom.gather import Lacking, gather
from classroom.models import Enrollment, Work
from classroom.people.models import User
from classroom.terms import terms_of, terms_of_people
from grading.collect import collect
from grading.models import Submission
from runtimes import storage
from runtimes.errors import StorageError
from runtimes.models import Snapshot, SnapshotFile


@dataclass(frozen=True)
class HandedIn:
    """A receipt. `again`: this very request was taken before."""

    submission: Submission
    again: bool = False


def submit(work: Work, user: User, *, request_key: str, clicked_at: datetime | None = None) -> HandedIn:
    """Hands in the work as it is on the server now. A request key gives one submission, however often it is sent.

    Raises NotASubmission, Closed, NotSaved, or grading's NotCollectable; then nothing was
    handed in and nothing is lost.
    """
    clicked = clicked_at or timezone.now()
    if (earlier := _earlier(work, user, request_key)) is not None:
        return HandedIn(earlier, again=True)
    check_open(work, user, clicked)
    lacking = bring_in(work)
    with transaction.atomic():
        submission = _take(work, storage.snapshot(work.workspace), request_key, clicked, lacking)
    redate.follow_one(submission)
    return HandedIn(submission)


def bring_in(work: Work) -> Lacking:
    """Everything that was typed and that code wrote into storage; what is not there afterwards. Raises NotSaved."""
    try:
        return gather(work)
    except StorageError as error:
        raise NotSaved(str(error), why=error.user_message) from error


def submit_files(
    work: Work, user: User, files: Mapping[str, bytes], *, request_key: str, clicked_at: datetime | None = None
) -> HandedIn:
    """Hands in these files, with the rest of the work as it is on the server. The work itself is left as it is.

    Raises as `submit` does, and UnsafePath.
    """
    clicked = clicked_at or timezone.now()
    # A page that a browser kept may send its key again with other files: those are another request.
    request_key = hashlib.sha256(f"{request_key} {storage.digest_of(files)}".encode()).hexdigest()
    if (earlier := _earlier(work, user, request_key)) is not None:
        return HandedIn(earlier, again=True)
    check_open(work, user, clicked)
    lacking = bring_in(work)
    snapshot = storage.snapshot_of({**storage.read_snapshot(storage.snapshot(work.workspace)), **files})
    with transaction.atomic():
        submission = _take(work, snapshot, request_key, clicked, lacking)
    redate.follow_one(submission)
    return HandedIn(submission)


def check_open(work: Work, user: User, now: datetime) -> None:
    """Raises NotASubmission for a tutorial or a preview, Closed where nothing is taken any more."""
    if work.preview or not work.assignment.line_item.graded:
        raise NotASubmission(str(work.pk))
    if not deadlines.is_open(work.assignment, terms_of(work.assignment, user), now):
        raise Closed(str(work.pk))


def files_of(snapshot: Snapshot) -> list[SnapshotFile]:
    """What is in a receipt: path, digest and size of each file."""
    return list(SnapshotFile.objects.select_related("blob").filter(snapshot=snapshot).order_by("path"))


def _earlier(work: Work, user: User, request_key: str) -> Submission | None:
    return Submission.objects.filter(
        line_item=work.assignment.line_item_id, authorships__user=user, request_key=request_key
    ).first()


def _take(work: Work, snapshot: Snapshot, request_key: str, clicked: datetime, lacking: Lacking) -> Submission:
    """The receipt, the autograding and the Drive copy are decided together; the last two are done after commit.

    Everyone who works on it and is in the course is an author, and the latest of their due dates holds.
    """
    authors = _authors(work)
    terms = deadlines.latest(terms_of_people(work.assignment, [one.pk for one in authors]).values())
    submission = collect(
        line_item=work.assignment.line_item,
        release=work.release,
        snapshot=snapshot,
        authors=authors,
        received_at=clicked,
        due_at=terms.due_at,
        request_key=request_key,
        group=attempts.series(work),
        more_attempts=terms.more_attempts,
        files_may_lack=lacking.files_may_lack,
        left_out=lacking.left_out,
    )
    # Its autograding was queued by collect, in this transaction.
    wake.grader()
    outbox.post("drive_copy", f"drive:{submission.code}", {"submission": submission.pk, "work": work.pk})
    return submission


def _authors(work: Work) -> list[User]:
    here = Enrollment.objects.filter(course=work.assignment.course_id).exclude(state=Enrollment.State.DROPPED)
    return list(User.objects.filter(work_memberships__work=work, pk__in=here.values("user")).order_by("pk"))
