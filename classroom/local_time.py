"""Wall-clock times as people type them → moments, also where a clock is put forward or back. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from zoneinfo import ZoneInfo

from django.utils.formats import date_format
from django.utils.translation import gettext as _


class Kind(StrEnum):
    """How often a wall-clock time happens: once; never (clocks go forward); twice (clocks go back)."""

    ONCE = "once"
    GAP = "gap"
    FOLD = "fold"


@dataclass(frozen=True)
class Meant:
    """The moment that is meant (UTC), and why it may surprise."""

    moment: datetime
    kind: Kind
    zone: str

    @property
    def note(self) -> str:
        """A sentence for a gap or a fold, "" for every other time."""
        if self.kind is Kind.ONCE:
            return ""
        local = self.moment.astimezone(ZoneInfo(self.zone))
        words = {
            "time": date_format(local, "H:i"),
            "date": date_format(local, "j F Y"),
            "zone": self.zone,
            "offset": f"{local:%z}"[:3] + ":" + f"{local:%z}"[3:],
        }
        if self.kind is Kind.GAP:
            return (
                _(
                    "The clocks in %(zone)s go forward on %(date)s and skip the time you chose: %(time)s "
                    "(UTC%(offset)s) is meant."
                )
                % words
            )
        return (
            _(
                "The clocks in %(zone)s go back on %(date)s, so %(time)s happens twice: "
                "the one at UTC%(offset)s is meant."
            )
            % words
        )


def meant(typed: datetime, zone: str, *, later: bool) -> Meant:
    """The moment that `typed` (naive) names in `zone`.

    A time that does not exist is moved on by as much as the clock is. Of one that happens twice the later is meant for
    what ends then (`later`: nobody loses an hour), else the earlier. Source: PEP 495.
    """
    place = ZoneInfo(zone)
    first, second = (typed.replace(tzinfo=place, fold=fold) for fold in (0, 1))
    if first.utcoffset() == second.utcoffset():
        return Meant(first.astimezone(UTC), Kind.ONCE, zone)
    if first.astimezone(UTC).astimezone(place).replace(tzinfo=None) != typed:
        return Meant(first.astimezone(UTC), Kind.GAP, zone)
    return Meant((second if later else first).astimezone(UTC), Kind.FOLD, zone)
