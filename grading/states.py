"""Pure: which state follows which, and how often a machine tries."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from grading.models import Autograding, Release, Submission

#: A worker renews its lease while it grades. One that was killed loses it after this long.
LEASE = timedelta(seconds=60)
RENEW_EVERY_SECONDS = 15.0
#: A run that began this often and never came to its end is parked: a person looks at it.
MOST_TRIES = 3
#: A queued run that nobody took for this long has lost its message.
FORGOTTEN = timedelta(seconds=30)

#: Submissions whose scores and comments a person may change.
REVIEWABLE = (
    Submission.State.GRADED,
    Submission.State.TO_REVIEW,
    Submission.State.FAILED,
    Submission.State.REVIEWED,
)
#: Submissions whose automatic scores are still to come.
UNDER_WAY = (Submission.State.QUEUED, Submission.State.GRADING)
#: Autogradings that hold the place of their submission.
OPEN = (Autograding.State.QUEUED, Autograding.State.RUNNING)
#: Releases that nobody may change any more.
FROZEN = (Release.State.PUBLISHED,)


def after_grading(*, failed: bool, flags: Iterable[bool]) -> Submission.State:
    """The state of a submission whose autograding ended; `flags` are the needs_manual_grade of its scored cells."""
    if failed:
        return Submission.State.FAILED
    return Submission.State.TO_REVIEW if any(flags) else Submission.State.GRADED


def after_draft(*, errors: bool) -> Release.State:
    """A release with an error can only be replaced by a better one."""
    return Release.State.BROKEN if errors else Release.State.DRAFT
