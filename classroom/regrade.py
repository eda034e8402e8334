"""A regrade as a teacher steers it: which attempts, whose score moves and who is told, and points changed in a form."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from django.utils.translation import gettext_lazy as _

from classroom import outbox, publish, wake
from classroom.access import sees_score
from classroom.errors import ClassroomError
from classroom.models import Assignment
from classroom.people.models import User
from grading import approve as decision
from grading import regrade as verb
from grading.compare import Difference, differences
from grading.models import Approval, CellKey, Feedback, Regrade, RegradeChange, Release, Submission
from grading.points import with_points
from runtimes import storage


class RegradeMoved(ClassroomError):
    """What was shown is no longer what would happen. Nothing was changed."""

    user_message = _("Something has changed since this was shown, so nothing was taken over. Look at it once more.")


class NoPointsChanged(ClassroomError):
    """The form gives every cell the points that it has."""

    user_message = _("Every cell has these points already, so there is no new version.")


def start(
    assignment: Assignment, release: Release | None, submissions: Iterable[Submission], by: User, *, reason: str
) -> Regrade:
    """Queues the candidates and wakes workers. Raises grading's NotRegradable, CourseArchived."""
    publish.check_runs(assignment.course)
    started = verb.start(assignment.line_item, release, submissions, by, reason=reason)
    wake.graders()
    return started


def include(regrade: Regrade, submissions: Iterable[Submission]) -> int:
    """Tries it also on these; how many are new."""
    count = verb.include(regrade, submissions)
    wake.graders()
    return count


def resume(regrade: Regrade) -> None:
    """Goes on with what waits."""
    verb.resume(regrade)
    wake.graders()


def again(regrade: Regrade) -> int:
    """Tries those that could not be graded once more; how many."""
    count = verb.again(regrade)
    wake.graders()
    return count


def digest(found: Iterable[Difference]) -> str:
    """Names all that was shown: these, with what would come of each."""
    return hashlib.sha256(",".join(sorted(one.fingerprint for one in found)).encode()).hexdigest()[:16]


def ticked(regrade: Regrade, found: Iterable[Difference]) -> list[Difference]:
    """Those that are to be approved: as somebody said, else those after which nobody has to look who need not before.

    One query.
    """
    said = dict(regrade.ticks.values_list("submission", "ticked"))
    return [one for one in found if said.get(one.submission.pk, not one.needs_person)]


def approve_all(regrade: Regrade, by: User, *, shown: str, reason: str, for_later: bool) -> Approval:
    """Approves everything that is ticked; `shown` is the digest of the page. Raises RegradeMoved, NothingToApprove."""
    found = differences(regrade)
    if digest(found) != shown:
        raise RegradeMoved(f"regrade {regrade.pk}")
    chosen = {one.submission.pk: one.fingerprint for one in ticked(regrade, found)}
    return approve(regrade, by, chosen, reason=reason, for_later=for_later)


def approve(regrade: Regrade, by: User, chosen: Mapping[int, str], *, reason: str, for_later: bool) -> Approval:
    """Decides that these count, and wakes a worker that takes them over. Raises grading's NothingToApprove."""
    decided = decision.approve(regrade, by, chosen, reason=reason, for_later=for_later)
    wake.worker("take_over", decided.pk)
    return decided


def take_over(approval_pk: int) -> bool:
    """Takes over some of what was approved, and tells those who could see a score that has moved; whether more waits.

    Safe to repeat, and to be broken off anywhere.
    """
    approval = Approval.objects.select_related("regrade").get(pk=approval_pk)
    assignment = Assignment.objects.get(line_item=approval.regrade.line_item_id)

    def tell(change: RegradeChange) -> None:
        if change.old_score != change.new_score and could_see(assignment, change.submission):
            key = f"score-changed:{change.pk}"
            outbox.post("score_changed_mail", key, {"change": change.pk}, wakes=False)

    more = decision.take_over(approval_pk, on_taken=tell)
    wake.worker("drain_outbox")
    return more


def could_see(assignment: Assignment, submission: Submission) -> bool:
    """Whether its authors could see its score before it was decided."""
    returned = Feedback.objects.filter(submission=submission, state=Feedback.State.RELEASED).exists()
    return sees_score(submission.state, returned=returned, hidden=assignment.hide_scores)


def give_points(assignment: Assignment, release: Release, points: Mapping[CellKey, Decimal], by: User) -> Release:
    """A new version with other points and nothing else new; its solution runs as for every version.

    Raises NoPointsChanged, CourseArchived.
    """
    files = {path: data for path, data in storage.read_snapshot(release.source).items() if path.endswith(".ipynb")}
    changed = with_points(files, points)
    if not changed:
        raise NoPointsChanged(f"release {release.pk}")
    return publish.upload(assignment, changed, by, keep_others=True)


def fingerprints(values: Sequence[str]) -> dict[int, str]:
    """What a form's boxes say: "submission:fingerprint". Anything else is left out."""
    pairs = (value.partition(":") for value in values)
    return {int(key): mark for key, colon, mark in pairs if colon and key.isdecimal()}


def ticks(shown: str, chosen: Sequence[str]) -> dict[int, bool]:
    """Of the submissions that a page showed ("1,2,3"), which are ticked. Anything else is left out."""
    on = fingerprints(chosen)
    return {int(key): int(key) in on for key in shown.split(",") if key.isdecimal()}
