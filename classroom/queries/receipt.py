"""What a receipt says: when, which attempt, which files, and how far grading is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import F
from django.utils.translation import gettext

from classroom.attempts import limit
from classroom.deadlines import Dates
from classroom.models import Assignment
from classroom.queries import strictly
from classroom.queries.policy import policy
from classroom.queries.scores import Score, scores_of
from classroom.queries.study import released, sees_score
from classroom.submit import files_of
from grading import review, states
from grading.explain import FAILURES, explain
from grading.late import cost_words, penalty_of, span
from grading.models import Autograding, RegradeChange, Submission
from grading.steady import steady
from runtimes.describe import not_kept
from runtimes.models import SnapshotFile

SOONEST_MS, MS_EACH_AHEAD, LATEST_MS = 1000, 200, 30_000


@dataclass(frozen=True)
class Progress:
    """How far the grading of a submission is, as its authors may know it."""

    submission: Submission
    score: Score | None
    failures: Sequence[str]
    hide_scores: bool
    returned: bool
    ahead: int
    run: Autograding | None
    changes: Sequence[RegradeChange]

    @property
    def moving(self) -> bool:
        """Whether it changes by itself."""
        return self.submission.state in states.UNDER_WAY

    @property
    def look_again_ms(self) -> int:
        """When the page asks again: soon for who is next, later the more are ahead, or those who wait would be what
        keeps the site busy."""
        return min(SOONEST_MS + MS_EACH_AHEAD * self.ahead, LATEST_MS)


def progress(assignment: Assignment, submission: Submission) -> Progress:
    """The state now. `submission` must have its `line_item` and `feedback`."""
    return steady(submission, lambda row: _progress(assignment, row))


def _progress(assignment: Assignment, submission: Submission) -> Progress:
    latest = review.shown_run(submission)
    ahead = 0
    if latest is not None and latest.state == Autograding.State.QUEUED:
        waiting = Autograding.objects.filter(state=Autograding.State.QUEUED, regrade=None)
        ahead = waiting.filter(queued_at__lt=latest.queued_at).count()
    failed = submission.state == Submission.State.FAILED and latest is not None
    # Pages ask this again and again while there is nothing to see yet.
    score = scores_of([submission]).get(submission.pk) if sees_score(assignment, submission) else None
    return Progress(
        submission=submission,
        score=score,
        failures=[explain(FAILURES, row) for row in latest.failures] if failed and latest is not None else [],
        hide_scores=assignment.hide_scores,
        returned=released(submission),
        ahead=ahead,
        run=latest if latest is not None and latest.finished_at is not None else None,
        changes=changes(submission) if score is not None else (),
    )


def changes(submission: Submission) -> list[RegradeChange]:
    """When and why its score was changed by grading it again, newest first. One query."""
    moved = strictly(RegradeChange.objects).filter(submission=submission).exclude(old_score=F("new_score"))
    return list(moved.order_by("-pk"))


def graded_with(submission: Submission) -> Autograding | None:
    """What the result that counts was made with; None before there is one. One query."""
    return strictly(Autograding.objects).select_related("release").filter(submission=submission, current=True).first()


def lacking(submission: Submission) -> list[str]:
    """What is known not to be among the files, and why, in the reader's language."""
    sentences = not_kept(submission.left_out)
    if submission.files_may_lack:
        sentences.insert(
            0, gettext("Files that code wrote in the last moments may be missing: the machine did not answer in time.")
        )
    return sentences


@dataclass(frozen=True)
class Terms:
    """What held for this submission: by how much it is late and what that costs, how many attempts there are, and the
    names of those who handed it in together."""

    late: str
    attempt_of: int | None
    policy: Sequence[str]
    together: Sequence[str] = ()


def terms(assignment: Assignment, submission: Submission, mine: Dates) -> Terms:
    """In words, by the policy now. `submission` must have its `line_item`; `mine` is what holds for the reader."""
    same = Submission.objects.filter(line_item=submission.line_item_id, authors_key=submission.authors_key)
    late = ""
    if submission.late_by:
        cost = {"span": span(submission.late_by), "cost": cost_words(penalty_of(submission))}
        late = gettext("late by %(span)s: %(cost)s") % cost
    rules = policy(assignment, mine, same.count())
    return Terms(late, limit(submission.line_item, mine), rules, _together(submission))


def _together(submission: Submission) -> list[str]:
    """The authors of a group's submission; nobody for one person's."""
    if not submission.authors_key.startswith("group:"):
        return []
    return [author.get_full_name() for author in submission.authors.order_by("display_name", "username")]


def files(submission: Submission) -> list[SnapshotFile]:
    """The frozen files, with their digests and sizes."""
    return files_of(submission.snapshot)
