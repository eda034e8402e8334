"""Fields that are filled in as people say things: gigabytes, minutes, lines of words, class hours."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any, ClassVar

from django import forms
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from runtimes import timetable
from runtimes.models import GIB

_DAYS = {
    "mon": _("Monday"), "tue": _("Tuesday"), "wed": _("Wednesday"), "thu": _("Thursday"), "fri": _("Friday"),
    "sat": _("Saturday"), "sun": _("Sunday"),
}  # fmt: skip
_PARTS = ("day", "from", "to", "warm")
_LINES = 3


class ShortNameField(forms.SlugField):
    """A part of an address."""

    default_error_messages: ClassVar = {"invalid": _("Letters without accents, digits, hyphens and underscores only.")}


class NumberField(forms.DecimalField):
    """A decimal, shown without needless zeros."""

    def prepare_value(self, value: Any) -> Any:
        """4 for 4.00; what was typed as it was typed."""
        return f"{value.normalize():f}" if isinstance(value, Decimal) else value


class GigabytesField(forms.DecimalField):
    """Cleans to bytes; GB are powers of 1024, as the pages say them."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_digits=8, decimal_places=2, **kwargs)

    def clean(self, value: Any) -> Any:
        """Raises ValidationError for what is no such number."""
        found = super().clean(value)
        return None if found is None else int(found * GIB)

    def prepare_value(self, value: Any) -> Any:
        """Bytes of a row as GB; what was typed as it was typed."""
        return f"{(Decimal(value) / GIB).quantize(Decimal('0.01')).normalize():f}" if isinstance(value, int) else value


class LastingField(forms.IntegerField):
    """Cleans to a length of time in whole `unit`s."""

    def __init__(self, *, unit: timedelta, **kwargs: Any) -> None:
        self._unit = unit
        super().__init__(**kwargs)

    def clean(self, value: Any) -> Any:
        """Raises ValidationError for what is no whole number."""
        found = super().clean(value)
        return None if found is None else found * self._unit

    def prepare_value(self, value: Any) -> Any:
        """A row's length of time as a number of units, at least one."""
        return max(1, value // self._unit) if isinstance(value, timedelta) else value


class WordsField(forms.CharField):
    """Cleans to a list of words."""

    def clean(self, value: Any) -> Any:
        """Words are apart by spaces or commas."""
        return str(super().clean(value)).replace(",", " ").split()

    def prepare_value(self, value: Any) -> Any:
        """A row's list as one line."""
        return " ".join(value) if isinstance(value, list) else value


class LabelsField(forms.CharField):
    """Cleans to a mapping: a line `key=value` each."""

    widget = forms.Textarea(attrs={"rows": 2, "spellcheck": "false"})

    def clean(self, value: Any) -> Any:
        """Raises ValidationError, with the line, for one without a value."""
        found = {}
        for line in str(super().clean(value)).splitlines():
            key, is_pair, text = (part.strip() for part in line.partition("="))
            if is_pair and key:
                found[key] = text
            elif line.strip():
                raise forms.ValidationError(gettext("“%(line)s” is not key=value.") % {"line": line.strip()})
        return found

    def prepare_value(self, value: Any) -> Any:
        """A row's mapping as lines."""
        return "\n".join(f"{key}={text}" for key, text in value.items()) if isinstance(value, dict) else value


class HoursWidget(forms.Widget):
    """A line of four inputs for each stretch of class hours, with some to spare; works without a script."""

    template_name = "django/forms/widgets/hours.html"
    use_fieldset = True

    def value_from_datadict(self, data: Any, files: Any, name: str) -> list[dict[str, str]]:
        """The lines as they were typed, also where they are wrong."""
        columns = [data.getlist(f"{name}-{part}") if hasattr(data, "getlist") else [] for part in _PARTS]
        return [dict(zip(_PARTS, row, strict=False)) for row in zip(*columns, strict=False)]

    def value_omitted_from_data(self, data: Any, files: Any, name: str) -> bool:
        """Whether there was no table in the form."""
        return f"{name}-warm" not in data

    def get_context(self, name: str, value: Any, attrs: Any) -> dict[str, Any]:
        """The lines that there are, and empty ones."""
        rows = [{part: row.get(part, "") for part in _PARTS} for row in value or []]
        rows += [dict.fromkeys(_PARTS, "") for _line in range(_LINES)]
        context: dict[str, Any] = super().get_context(name, value, attrs)
        return context | {"rows": rows, "days": _DAYS}


class HoursField(forms.Field):
    """Cleans to the rows of `Profile.timetable`. Lines without a number are left out."""

    widget = HoursWidget

    def clean(self, value: Any) -> list[dict[str, Any]]:
        """Raises ValidationError, with the line's number, for what is no class hours."""
        found = []
        for number, row in enumerate(value or [], start=1):
            if str(row.get("warm", "")).strip() or str(row.get("from", "")).strip():
                found.append(hours_of(number, row))
        return found


def hours_of(number: int, row: Mapping[str, Any]) -> dict[str, Any]:
    """One line as `Profile.timetable` has it. Raises ValidationError, with its number, for what is no class hours."""
    warm = str(row.get("warm", "")).strip()
    typed = {**row, "warm": int(warm) if warm.isascii() and warm.isdigit() and len(warm) < 6 else 0}
    # A browser sends a time as 09:45, some with seconds.
    typed |= {part: str(row.get(part, ""))[:5] for part in ("from", "to")}
    try:
        timetable.Hours.read(typed)
    except ValueError as error:
        raise forms.ValidationError(gettext("Line %(n)d: %(why)s") % {"n": number, "why": error}) from error
    return typed
