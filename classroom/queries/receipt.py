"""What a receipt says: when, which attempt, which files, and how far grading is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from classroom.models import Assignment
from classroom.queries.scores import Score, scores_of
from classroom.queries.study import released, visible_score
from classroom.submit import files_of
from grading import review
from grading.explain import FAILURES, explain
from grading.models import Autograding, Submission
from runtimes.models import SnapshotFile

Moving = (Submission.State.QUEUED, Submission.State.GRADING)


@dataclass(frozen=True)
class Progress:
    """How far the grading of a submission is, as its authors may know it."""

    submission: Submission
    score: Score | None
    failures: Sequence[str]
    hide_scores: bool
    returned: bool
    ahead: int

    @property
    def moving(self) -> bool:
        """Whether it changes by itself."""
        return self.submission.state in Moving


def progress(assignment: Assignment, submission: Submission) -> Progress:
    """The state now. `submission` must have its `line_item` and `feedback`."""
    latest = review.shown_run(submission)
    ahead = 0
    if latest is not None and latest.state == Autograding.State.QUEUED:
        waiting = Autograding.objects.filter(state=Autograding.State.QUEUED, regrade=None)
        ahead = waiting.filter(queued_at__lt=latest.queued_at).count()
    failed = submission.state == Submission.State.FAILED and latest is not None
    return Progress(
        submission=submission,
        score=visible_score(assignment, submission, scores_of([submission])),
        failures=[explain(FAILURES, row) for row in latest.failures] if failed and latest is not None else [],
        hide_scores=assignment.hide_scores,
        returned=released(submission),
        ahead=ahead,
    )


def files(submission: Submission) -> list[SnapshotFile]:
    """The frozen files, with their digests and sizes."""
    return files_of(submission.snapshot)
