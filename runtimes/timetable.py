"""Class hours of a profile: when more runtimes shall be warm than usual. Pure.

A timetable is a list of rows {"day": "mon", "from": "09:45", "to": "12:00", "warm": 30}, in the hours of one time zone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time
from typing import Any, Self
from zoneinfo import ZoneInfo

from django.utils.translation import gettext as _

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MOST_WARM = 1000


@dataclass(frozen=True, slots=True)
class Hours:
    """One stretch of a week. day: 0 is Monday. warm: how many shall be ready from `begins` until `ends`."""

    day: int
    begins: time
    ends: time
    warm: int

    @classmethod
    def read(cls, row: Any) -> Self:
        """Raises ValueError with a sentence in the reader's language."""
        if not isinstance(row, Mapping) or set(row) != {"day", "from", "to", "warm"}:
            raise ValueError(_("Class hours have a day, a beginning, an end and a number of warm kernels."))
        if row["day"] not in DAYS:
            raise ValueError(_("“%(day)s” is not one of mon, tue, wed, thu, fri, sat and sun.") % {"day": row["day"]})
        begins, ends = _clock(row["from"]), _clock(row["to"])
        if begins >= ends:
            raise ValueError(
                _("Class hours end after they begin, on the same day: not from %(from)s to %(to)s.")
                % {"from": row["from"], "to": row["to"]}
            )
        warm = row["warm"]
        if not isinstance(warm, int) or isinstance(warm, bool) or not 0 < warm <= MOST_WARM:
            raise ValueError(_("Between 1 and %(most)s kernels can be kept warm.") % {"most": MOST_WARM})
        return cls(DAYS.index(row["day"]), begins, ends, warm)


def read(rows: Any) -> list[Hours]:
    """A whole timetable. Raises ValueError with a sentence in the reader's language."""
    if not isinstance(rows, list):
        raise ValueError(_("A timetable is a list of class hours."))  # noqa: TRY004 - one kind of error for a form
    return [Hours.read(row) for row in rows]


def warm_at(hours: list[Hours], zone: str, now: datetime, usual: int) -> int:
    """How many shall be ready at `now`: the most that any class hours ask for, and at least `usual`."""
    here = now.astimezone(ZoneInfo(zone))
    running = [each.warm for each in hours if each.day == here.weekday() and each.begins <= here.time() < each.ends]
    return max([usual, *running])


def _clock(text: Any) -> time:
    try:
        return datetime.strptime(text, "%H:%M").time()  # noqa: DTZ007 - a time of day has no zone of its own
    except (TypeError, ValueError):
        raise ValueError(_("“%(text)s” is not a time of day such as 09:45.") % {"text": text}) from None
