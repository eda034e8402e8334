"""What somebody who waits for a machine is told beside their place: about how long, and from what that is known."""

from __future__ import annotations

from datetime import timedelta

from django.utils.translation import gettext, ngettext

from classroom.templatetags.say import lasting
from runtimes.estimate import LEAST_MEASURED
from runtimes.queue import Outlook

_STEP = timedelta(minutes=5)


def estimate_words(outlook: Outlook) -> str:
    """A sentence. Five minutes are as exact as it gets; nothing is said that was not measured."""
    if outlook.measured < LEAST_MEASURED:
        return gettext("How long that takes is not known yet: too few runs on such a machine have been measured.")
    if not outlook.seats:
        return gettext("How long that takes is not known: nobody uses such a machine now.")
    if outlook.left is None:
        return gettext("How long that takes is not known: those at work now have run longer than others did.")
    of = ngettext("the last run", "the last %(n)d runs", outlook.measured) % {"n": outlook.measured}
    if outlook.left < _STEP:
        return gettext("It will be less than 5 minutes, going by %(runs)s on such a machine.") % {"runs": of}
    steps = -(-outlook.left // _STEP)
    about = {"time": lasting(steps * _STEP), "runs": of}
    return gettext("It will be about %(time)s, going by %(runs)s on such a machine.") % about
