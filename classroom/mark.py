"""What a person gives one cell: a score, extra credit, a comment; never over another's newer mark unseen."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from django.db import transaction
from django.utils.translation import gettext_lazy as _

from classroom.errors import ClassroomError, SomeoneElseMarked
from classroom.people.models import User
from grading import review
from grading.models import Comment, GradeCell, Mark, Submission


class NotANumber(ClassroomError):
    """What was typed as a score is none."""

    user_message = _("This is not a number. Write points like 3.5.")


@dataclass(frozen=True)
class Given:
    """What a person wants a cell to have. `seen_*`: the newest mark and comment that their page showed, 0 for none."""

    manual_score: Decimal | None
    extra_credit: Decimal | None
    comment: str
    seen_mark: int
    seen_comment: int


@dataclass(frozen=True)
class Kept:
    """The newest mark and comment after saving."""

    mark: Mark | None
    comment: Comment | None


def points(text: str) -> Decimal | None:
    """Points as people type them, with a dot or a comma; None for nothing. Raises NotANumber."""
    plain = text.strip().replace(",", ".")
    if not plain:
        return None
    try:
        value = Decimal(plain)
    except InvalidOperation as error:
        raise NotANumber(plain) from error
    if not value.is_finite() or abs(value) >= 10**5:
        raise NotANumber(plain)
    return value.quantize(Decimal("0.0001"))


def mark(submission: Submission, cell: GradeCell, author: User, given: Given) -> Kept:
    """Appends what is new. Raises SomeoneElseMarked if another person's newer mark or comment was not seen, and
    grading's NotReviewable or OutOfRange; then nothing is changed."""
    with transaction.atomic():
        last = submission.marks.about(cell).order_by("-pk").first()
        said = submission.comments.about(cell).order_by("-pk").first()
        _check_seen(last, given.seen_mark, author)
        _check_seen(said, given.seen_comment, author)
        if cell.kind != GradeCell.Kind.ANSWER and _differs(last, given):
            last = review.give(
                submission, cell, author, manual_score=given.manual_score, extra_credit=given.extra_credit
            )
        if given.comment.strip() != (said.text if said else ""):
            said = review.comment(submission, cell, author, given.comment)
    return Kept(last, said)


def _check_seen(newest: Mark | Comment | None, seen: int, author: User) -> None:
    if newest is not None and newest.pk > seen and newest.author_id != author.pk:
        raise SomeoneElseMarked(str(newest.pk))


def _differs(last: Mark | None, given: Given) -> bool:
    now = (last.manual_score, last.extra_credit) if last else (None, None)
    return now != (given.manual_score, given.extra_credit)
