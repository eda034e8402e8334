"""An assignment's rules as its students read them: late work, attempts, which of them counts, with whom."""

from __future__ import annotations

from django.utils.translation import gettext, ngettext

from classroom import attempts
from classroom.deadlines import Dates, Why
from classroom.models import Assignment
from grading.late import words
from grading.models import LineItem

Keep = LineItem.Keep


def policy(assignment: Assignment, terms: Dates, used: int) -> list[str]:
    """Sentences, most important first; none for a tutorial. `used`: how many attempts the person has used."""
    item = assignment.line_item
    if not item.graded:
        return []
    found = [_own_date(terms)] if terms.own and terms.due_at is not None else []
    if terms.due_at is not None:
        found.append(words(item))
    found.append(attempt_words(item, terms, used))
    if assignment.group_size > 1:
        text = ngettext(
            "You may hand in together with %(n)d other person.",
            "You may hand in together with up to %(n)d others.",
            assignment.group_size - 1,
        )
        found.append(text % {"n": assignment.group_size - 1})
    return found


def attempt_words(item: LineItem, terms: Dates, used: int) -> str:
    """How many attempts there are, how many are used, and which counts."""
    most = attempts.limit(item, terms)
    counts = gettext("the best counts") if item.keep == Keep.BEST else gettext("the last counts")
    if most is None:
        return gettext("Any number of attempts; %(counts)s.") % {"counts": counts}
    if used >= most:
        text = ngettext("The one attempt is used.", "All %(most)d attempts are used; %(counts)s.", most)
    elif most - used == 1:
        text = ngettext("You have one attempt.", "One of %(most)d attempts is left; %(counts)s.", most)
    else:
        text = gettext("%(used)d of %(most)d attempts used; %(counts)s.")
    return text % {"used": used, "most": most, "counts": counts}


def _own_date(terms: Dates) -> str:
    if terms.why is Why.EXTENSION:
        return gettext("This due date is yours: you have an extension.")
    return gettext("This due date is yours: you have more time in this course.")
