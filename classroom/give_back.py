"""Feedback returned and taken back, and submissions graded once more; for those whom the person looks after."""

from __future__ import annotations

from django.db import transaction

from classroom import outbox, wake
from classroom.enter import Member
from classroom.models import Assignment
from classroom.queries import counting
from grading import feedback, review
from grading.autograde import enqueue
from grading.models import Feedback, Submission
from grading.states import REVIEWABLE

State = Submission.State


def release(me: Member, assignment: Assignment, *, code: str = "") -> int:
    """Lets students read scores and comments of everything that is marked (or of the one with `code`); how many new."""
    return feedback.release(_chosen(me, assignment, code), me.user, on_released=_tell)


def withdraw(me: Member, assignment: Assignment, *, code: str = "") -> int:
    """Takes feedback back; nothing that was written is lost. How many had it."""
    return feedback.withdraw(_chosen(me, assignment, code), me.user)


def grade_again(me: Member, assignment: Assignment, *, code: str = "", every_attempt: bool = False) -> int:
    """Queues a new autograding of the one with `code`, or of all that could not be graded. Marks and comments stay.

    Of the attempts that count, or of `every_attempt`.
    """
    every = review.queue(assignment.line_item, me.people(), every_attempt=True)
    chosen = list(every) if every_attempt else _chosen(me, assignment, code)
    wanted = [one for one in chosen if code or one.state == State.FAILED]
    return sum(_queue(one) for one in wanted)


def _queue(submission: Submission) -> bool:
    with transaction.atomic():
        free = Submission.objects.filter(pk=submission.pk, state__in=REVIEWABLE)
        if not free.update(state=State.QUEUED, finished_by=None, finished_at=None):
            return False
        # A regrade may have been approved since it was read.
        submission.refresh_from_db(fields=["correction"])
        enqueue(submission)
        wake.grader()
    return True


def _chosen(me: Member, assignment: Assignment, code: str) -> list[Submission]:
    if code:
        return list(review.queue(assignment.line_item, me.people(), every_attempt=True).filter(code=code))
    return list(counting.queue(assignment.line_item, me.people()))


def _tell(given: Feedback) -> None:
    """In the transaction that releases: a message to each author, once for each release."""
    key = f"feedback:{given.submission_id}:{given.at.isoformat()}"
    outbox.post("feedback_mail", key, {"submission": given.submission_id})
