"""What can go wrong in grading, each with what to do next.

    GradingError
    ├── NotPublishable     the release has problems, was not checked, or is published already
    ├── NotCollectable     a submission cannot be taken
    │   ├── AttemptsUsedUp
    │   └── NothingHandedIn
    ├── NotReviewable      a mark, a comment or a move that this submission does not allow
    │   ├── OutOfRange     a score below zero, or above the cell's maximum
    │   └── Unfinished         cells still wait for a score
    ├── NotRegradable      a version by which nothing can be scored again
    │   ├── AlreadyRegrading   another regrade of the assignment waits for its decision
    │   └── NothingToRegrade   none of the chosen work has scores yet
    ├── NothingToApprove   it was decided, is being taken over, or nothing was chosen
    ├── NotCheckable       the visible tests cannot be run now
    │   ├── ChecksUsedUp
    │   └── CheckedJustNow     `seconds` says when again
    └── GraderUnavailable  no sandbox could be had, or it was lost: the same work is tried again

A bad notebook is no error: it is a problem of a release or a failure of a submission (`grading.explain`).
"""

from __future__ import annotations

from typing import ClassVar

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext


class GradingError(Exception):
    """Base of the tree. `str()` is for operators, `user_message` for people, `retryable` for machines."""

    retryable: ClassVar[bool] = False
    user_message: str | Promise = _("That did not work. Try again; if it happens again, tell your administrator.")


class NotPublishable(GradingError):
    """This release cannot be published now."""

    user_message: str | Promise = _("This version cannot be published yet. Look at its report for what is missing.")


class NotCollectable(GradingError):
    """This work cannot be taken."""

    user_message: str | Promise = _("Your work could not be handed in. Reload the page and try again.")


class AttemptsUsedUp(NotCollectable):
    """The assignment allows no further attempt."""

    user_message: str | Promise = _("You have used all attempts at this assignment. Ask your teacher for another one.")


class NothingHandedIn(NotCollectable):
    """There are no files, or nobody handed them in."""

    user_message: str | Promise = _("There is nothing to hand in: the workspace is empty. Open the assignment first.")


class NotCheckable(GradingError):
    """The tests of this work cannot be run."""

    user_message: str | Promise = _("There is nothing to check: the assignment has no student version.")


class ChecksUsedUp(NotCheckable):
    """The assignment allows no further check of this work."""

    user_message: str | Promise = _(
        "You have used all checks of this assignment. You can still run the cells yourself."
    )


class CheckedJustNow(NotCheckable):
    """The last check was too short a time ago."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"{seconds} s")
        self.seconds = seconds
        self.user_message = ngettext(
            "You checked just now. You can check again in %(seconds)d second.",
            "You checked just now. You can check again in %(seconds)d seconds.",
            seconds,
        ) % {"seconds": seconds}


class NotReviewable(GradingError):
    """The submission is in a state in which this cannot be done."""

    user_message: str | Promise = _("This submission has just changed. Reload the page and try again.")


class OutOfRange(NotReviewable):
    """A score that the cell does not allow."""

    user_message: str | Promise = _("A score lies between zero and the points of its cell. Use extra credit for more.")


class Unfinished(NotReviewable):
    """A review cannot be finished while cells wait for a score. `waiting` says how many."""

    def __init__(self, waiting: int) -> None:
        super().__init__(f"{waiting} cells")
        self.waiting = waiting
        self.user_message = ngettext(
            "%(waiting)d cell still needs a score. Give it one, also if it is 0.",
            "%(waiting)d cells still need a score. Give each one, also if it is 0.",
            waiting,
        ) % {"waiting": waiting}


class NotRegradable(GradingError):
    """This version is not of the assignment, or its check is missing."""

    user_message: str | Promise = _(
        "Nothing can be graded by this version yet. Look at its report for what is missing."
    )


class AlreadyRegrading(NotRegradable):
    """One regrade of an assignment at a time."""

    user_message: str | Promise = _("Another regrade of this assignment waits for its decision. Decide that one first.")


class NothingToRegrade(NotRegradable):
    """Nothing that was chosen has scores."""

    user_message: str | Promise = _("None of the chosen work has been graded yet, so there is nothing to grade again.")


class NothingToApprove(GradingError):
    """It was decided already, or is being taken over, or none of what was chosen waits. Nothing was changed."""

    user_message: str | Promise = _(
        "Nothing was decided: it is being taken over already, was decided, or nothing was ticked."
    )


class GraderUnavailable(GradingError):
    """No sandbox could be had, or it disappeared. Nothing was decided; the submission waits for its next turn."""

    retryable = True
    user_message: str | Promise = _("Grading has to wait for a free place. It goes on by itself.")
