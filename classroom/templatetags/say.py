"""How pages say dates, points, sizes and states."""

from __future__ import annotations

import zoneinfo
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django import template
from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext, pgettext

from classroom.models import Course
from classroom.people.models import User
from classroom.queries.usage import Amounts
from runtimes.describe import size
from runtimes.models import Profile

register = template.Library()


@register.inclusion_tag("parts/state.html")
def state(kind: str, icon: str, word: object, moving: bool = False) -> dict[str, Any]:
    """A chip: an icon and a word. `kind` is good, wait, bad, live or quiet; `moving` turns the icon."""
    return {"kind": kind, "icon": icon, "word": word, "moving": moving}


@register.filter
def said(moment: datetime) -> str:
    """As people say it, in the time zone of the page: "Fri 27 Nov, 18:00", with the year unless it is this one."""
    local = timezone.localtime(moment)
    if local.year == timezone.localtime().year:
        return date_format(local, pgettext("date format of this year", "D j M, H:i"))
    return date_format(local, pgettext("date format of another year", "D j M Y, H:i"))


@register.filter
def zone_of(course: Course, person: User) -> str:
    """The time zone to say this course's times in, on a page of many courses: the person's own, else the course's."""
    wanted = person.time_zone or course.time_zone
    # A zone that the time zone database has dropped must not close the page.
    return wanted if wanted in zoneinfo.available_timezones() else timezone.get_current_timezone_name()


@register.filter
def exactly(moment: datetime) -> str:
    """The whole truth: "Friday 27 November 2026, 18:00:00 (Europe/Paris)"."""
    local = timezone.localtime(moment)
    words = date_format(local, pgettext("exact date format", "l j F Y, H:i:s"))
    return f"{words} ({timezone.get_current_timezone_name()}, {date_format(local, 'O')})"


@register.simple_tag
def when(moment: datetime | None, nothing: str = "–") -> str | SafeString:
    """A `time` element: said shortly, exact on hover and for screen readers. `nothing` where there is no moment."""
    if moment is None:
        return nothing
    return format_html(
        '<time datetime="{}" title="{}">{}<span class="vh"> {}</span></time>',
        moment.isoformat(),
        exactly(moment),
        said(moment),
        timezone.get_current_timezone_name(),
    )


def _amount(distance: timedelta) -> str:
    minutes = int(distance.total_seconds() // 60)
    if minutes >= 2 * 24 * 60:
        return ngettext("%(n)d day", "%(n)d days", minutes // 1440) % {"n": minutes // 1440}
    if minutes >= 120:
        return ngettext("%(n)d hour", "%(n)d hours", minutes // 60) % {"n": minutes // 60}
    return ngettext("%(n)d minute", "%(n)d minutes", max(minutes, 1)) % {"n": max(minutes, 1)}


@register.filter
def lasting(length: timedelta) -> str:
    """A length of time as people say it: "3 minutes"; less than a minute is one."""
    return _amount(length)


@register.filter
def distance(moment: datetime | None) -> str:
    """ "in 3 days", "2 hours ago", "now"; empty without a moment."""
    if moment is None:
        return ""
    apart = moment - timezone.now()
    if abs(apart) < timedelta(seconds=45):
        return gettext("now")
    if apart > timedelta(0):
        return gettext("in %(amount)s") % {"amount": _amount(apart)}
    return gettext("%(amount)s ago") % {"amount": _amount(-apart)}


@register.simple_tag
def due(moment: datetime | None) -> str | SafeString:
    """ "due Fri 27 Nov, 18:00 · in 3 days", or "no due date"."""
    if moment is None:
        return gettext("no due date")
    word = gettext("due") if moment > timezone.now() else gettext("was due")
    return format_html("{} {} · {}", word, when(moment), distance(moment))


@register.filter
def points(value: Decimal | float | None) -> str:
    """Points to two places, without needless zeros: 8.5, 10; a dash where there are none."""
    if value is None:
        return "–"
    # number_format cuts off where people round.
    rounded = round(Decimal(str(value)), 2).normalize()
    return number_format(rounded, decimal_pos=max(0, -int(rounded.as_tuple().exponent)), use_l10n=True)


@register.filter
def hours(seconds: float) -> str:
    """Seconds as hours to one place: "3.2"; what is too little to be seen so is "< 0.1"."""
    if 0 < seconds < 180:
        return "< " + number_format(0.1, decimal_pos=1)
    # number_format cuts off where people round.
    return number_format(round(Decimal(seconds) / 3600, 1), decimal_pos=1, use_l10n=True, force_grouping=True)


@register.filter
def measured(amounts: Amounts) -> str:
    """The processor time that was used, in hours: "3.2", "at least 3.2" or "not known"."""
    if not amounts.unmeasured:
        return hours(amounts.used)
    if amounts.unmeasured >= amounts.wall:
        return gettext("not known")
    return gettext("at least %(hours)s") % {"hours": hours(amounts.used)}


register.filter("size", size)


@register.filter
def accelerator(profile: Profile) -> str:
    """How many GPUs or TPUs of what kind: "1 × nvidia-l4, shared by up to 4 at once"."""
    model = " ".join(part for part in (profile.accelerator_model, profile.accelerator_partition) if part)
    told = f"{profile.gpu} × {model}" if model else str(profile.gpu)
    if profile.accelerator_clients > 1:
        told += gettext(", shared by up to %(n)d at once") % {"n": profile.accelerator_clients}
    return told
