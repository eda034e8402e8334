"""Who may do what in a course. Pure: roles and states in, yes or no out."""

from __future__ import annotations

from enum import StrEnum

from classroom.models import Enrollment
from grading.models import Submission

Role = Enrollment.Role
State = Enrollment.State


class Act(StrEnum):
    """What someone may want to do in a course."""

    READ = "read"  # the course page
    LAUNCH = "launch"  # open a published assignment as one's own work
    SUBMIT = "submit"
    REVIEW = "review"  # read and mark what the students of one's section handed in
    RELEASE = "release"  # give feedback back, and take it back
    GRADEBOOK = "gradebook"
    PREVIEW = "preview"  # open what students will get, before it is published
    AUTHOR = "author"  # make, check, publish, close; settings
    PEOPLE = "people"  # add, move, drop; extensions


_STAFF = frozenset({Act.READ, Act.REVIEW, Act.RELEASE, Act.GRADEBOOK, Act.PREVIEW})
_ACTS: dict[str, frozenset[Act]] = {
    Role.TEACHER: _STAFF | {Act.AUTHOR, Act.PEOPLE},
    Role.TA: _STAFF,
    # A reader follows the course without being marked: an auditor, a colleague.
    Role.READER: frozenset({Act.READ, Act.LAUNCH}),
    Role.STUDENT: frozenset({Act.READ, Act.LAUNCH, Act.SUBMIT}),
}


def may(role: str, state: str, act: Act) -> bool:
    """Whether someone with this role may do it. Who was dropped may do nothing, who is invited what awaits them."""
    return state != State.DROPPED and act in _ACTS.get(role, frozenset())


def sees_score(state: str, *, returned: bool, hidden: bool) -> bool:
    """Whether students see the score of what they handed in: once feedback is back; before it what tests alone gave,
    unless the assignment hides scores until then."""
    return returned or (state == Submission.State.GRADED and not hidden)


def in_section(*, role: str, section_id: int | None, other_section_id: int | None) -> bool:
    """Whether a member of the staff looks after a student: TAs with a section after that section only."""
    if role == Role.TA and section_id is not None:
        return section_id == other_section_id
    return role in {Role.TEACHER, Role.TA}
