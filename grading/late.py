"""A line item's late policy: applied to a submission, and said in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.utils.formats import number_format
from django.utils.translation import gettext, ngettext

from grading.models import LineItem, Submission
from grading.scoring import LatePenalty, Step

Policy = LineItem.LatePolicy
UNITS = {"minutes": timedelta(minutes=1), "hours": timedelta(hours=1), "days": timedelta(days=1)}


def steps_of(rows: Iterable[Mapping[str, Any]]) -> tuple[Step, ...]:
    """The table as it is stored, to steps. A row: `until` (a number, or None for the last), `unit`, `take`, `of`.

    `unit` is minutes, hours or days; `take` is a decimal as text; `of` is percent or points.
    """
    return tuple(
        Step(
            until=None if row["until"] is None else row["until"] * UNITS[row["unit"]],
            take=Decimal(row["take"]),
            in_points=row["of"] == "points",
            by_clock=row["unit"] == "days",
        )
        for row in rows
    )


def penalty(item: LineItem, late_by: timedelta, due_at: datetime | None) -> LatePenalty:
    """What being late by so much costs now."""
    return LatePenalty(
        item.late_policy,
        late_by,
        item.late_percent_per_day,
        cap_percent=item.late_cap_percent,
        floor_percent=item.late_floor_percent,
        steps=steps_of(item.late_steps),
        due_at=due_at,
        zone=item.time_zone,
    )


def penalty_of(submission: Submission) -> LatePenalty:
    """What lateness costs this submission, by the policy now. `line_item` must have been fetched."""
    return penalty(submission.line_item, submission.late_by, submission.due_at)


def words(item: LineItem) -> str:
    """The policy as students read it: "−10 % of the score a started day, at most 50 %. Late by up to 15 minutes …"."""
    said = _cost(item)
    if item.grace > timedelta(0):
        grace = gettext("Up to %(grace)s late counts as in time.") % {"grace": span(item.grace)}
        return f"{said} {grace}"
    return said


def _cost(item: LineItem) -> str:
    if item.late_policy == Policy.ZERO:
        return gettext("Late work scores zero.")
    if item.late_policy == Policy.PER_DAY:
        return _by_day(item)
    if item.late_policy == Policy.CUSTOM and item.late_steps:
        steps = gettext("; ").join(step_words(row) for row in item.late_steps)
        return gettext("Late: %(steps)s.") % {"steps": steps}
    return gettext("Late work loses nothing.")


def _by_day(item: LineItem) -> str:
    said = gettext("Late: −%(percent)s %% of the score a started day") % {"percent": plain(item.late_percent_per_day)}
    if item.late_cap_percent is not None:
        said += gettext(", at most −%(percent)s %%") % {"percent": plain(item.late_cap_percent)}
    if item.late_floor_percent is not None:
        floor = plain(item.late_floor_percent)
        said += gettext(", never below %(percent)s %% of the points") % {"percent": floor}
    return f"{said}."


def step_words(row: Mapping[str, Any]) -> str:
    """One row: "up to 24 hours −10 %", "later −100 %"."""
    take = taken(steps_of([row])[0])
    if row["until"] is None:
        return gettext("later %(take)s") % {"take": take}
    return gettext("up to %(span)s %(take)s") % {"span": _counted(row["until"], row["unit"]), "take": take}


def taken(step: Step) -> str:
    """What a step takes: "−10 %", "−2 points", "nothing"."""
    if step.take <= 0:
        return gettext("nothing")
    if step.in_points:
        text = ngettext("−%(n)s point", "−%(n)s points", 1 if step.take == 1 else 2)
        return text % {"n": plain(step.take)}
    return gettext("−%(percent)s %%") % {"percent": plain(step.take)}


def cost_words(late: LatePenalty) -> str:
    """What a submission loses, without its score: "−20 %", "−2 points", "scores zero", "nothing"."""
    if late.late_by <= timedelta(0) or late.policy == Policy.NONE:
        return gettext("nothing")
    if late.policy == Policy.ZERO:
        return gettext("scores zero")
    if late.policy == Policy.PER_DAY:
        share = min(late.percent_per_day * late.days, late.cap_percent or Decimal(100), Decimal(100))
        return taken(Step(None, share))
    return taken(late.step or Step(None, Decimal(0)))


def span(length: timedelta) -> str:
    """A length in few words: "15 minutes", "24 hours", "3 days 1 minute"."""
    minutes = max(round(length / UNITS["minutes"]), 1)
    days = minutes // 1440 if minutes >= 2 * 1440 else 0
    hours, rest = divmod(minutes - days * 1440, 60)
    parts = [_counted(days, "days"), _counted(hours, "hours"), _counted(rest, "minutes")]
    return " ".join(part for part, number in zip(parts, (days, hours, rest), strict=True) if number)


def _counted(number: int, unit: str) -> str:
    text = {
        "minutes": ngettext("%(n)d minute", "%(n)d minutes", number),
        "hours": ngettext("%(n)d hour", "%(n)d hours", number),
        "days": ngettext("%(n)d day", "%(n)d days", number),
    }[unit]
    return text % {"n": number}


def plain(number: Decimal) -> str:
    """A decimal in the reader's language, without needless zeros."""
    text = f"{number:f}"
    places = len(text.partition(".")[2].rstrip("0"))
    return str(number_format(number, decimal_pos=places, use_l10n=True))
