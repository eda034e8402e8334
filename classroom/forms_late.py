"""A teacher's own table of late penalties as a form field: a line each, read and never run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from typing import Any

from django import forms
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from grading.late import UNITS

MOST_LINES = 12
_LINES = 5
_UNITS = {"minutes": _("minutes"), "hours": _("hours"), "days": _("days")}
_OF = {"percent": "%", "points": _("points")}
_PARTS = ("until", "unit", "take", "of")
# A year; points as a column holds them.
_MOST_UNTIL = timedelta(days=366)
_MOST_POINTS = Decimal(10_000)


class StepsWidget(forms.Widget):
    """A line of four inputs for each step, with some to spare; works without a script. A percentage is of the score."""

    template_name = "django/forms/widgets/steps.html"
    use_fieldset = True

    def value_from_datadict(self, data: Any, files: Any, name: str) -> list[dict[str, str]]:
        """The lines as they were typed, also where they are wrong."""
        columns = {part: data.getlist(f"{name}-{part}") if hasattr(data, "getlist") else [] for part in _PARTS}
        return [dict(zip(_PARTS, row, strict=False)) for row in zip(*columns.values(), strict=False)]

    def value_omitted_from_data(self, data: Any, files: Any, name: str) -> bool:
        """Whether there was no table in the form."""
        return f"{name}-take" not in data

    def get_context(self, name: str, value: Any, attrs: Any) -> dict[str, Any]:
        """The lines that there are, and empty ones."""
        rows = [_shown(row) for row in value or []]
        spare = max(_LINES - len(rows), 2) if len(rows) < MOST_LINES else 0
        rows += [{"until": "", "unit": "hours", "take": "", "of": "percent"} for _line in range(spare)]
        context: dict[str, Any] = super().get_context(name, value, attrs)
        return context | {"rows": rows, "units": _UNITS, "kinds": _OF}


class StepsField(forms.Field):
    """Cleans to the rows of `LineItem.late_steps`, soonest first. Empty lines are left out."""

    widget = StepsWidget

    def to_python(self, value: Any) -> list[dict[str, Any]]:
        """Raises ValidationError, with the line's number, for what is no step."""
        found = []
        for number, row in enumerate(value or [], start=1):
            if str(row.get("until", "")).strip() or str(row.get("take", "")).strip():
                found.append(_step(number, row))
        if len(found) > MOST_LINES:
            raise forms.ValidationError(gettext("At most %(n)d lines.") % {"n": MOST_LINES})
        _check_order(found)
        return found

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Whether the lines are others."""
        try:
            return bool(self.to_python(data) != (initial or []))
        except forms.ValidationError:
            return True


def _shown(row: Mapping[str, Any]) -> dict[str, str]:
    return {part: "" if row.get(part) is None else str(row[part]) for part in _PARTS}


def _step(number: int, row: Mapping[str, str]) -> dict[str, Any]:
    unit, kind = row.get("unit", ""), row.get("of", "")
    if unit not in UNITS or kind not in _OF:
        raise _wrong(number, gettext("choose a unit."))
    take = _number(row.get("take", ""))
    if take is None or take < 0 or (kind == "percent" and take > 100) or take > _MOST_POINTS:
        raise _wrong(number, gettext("say what is taken: 0 to 100 %, or points."))
    typed = row.get("until", "").strip()
    if not typed:
        return {"until": None, "unit": unit, "take": _text(take), "of": kind}
    until = int(typed) if typed.isascii() and typed.isdigit() and len(typed) < 8 else 0
    if not timedelta(0) < until * UNITS[unit] <= _MOST_UNTIL:
        raise _wrong(number, gettext("the time is a whole number, at most a year."))
    return {"until": until, "unit": unit, "take": _text(take), "of": kind}


def _number(typed: str) -> Decimal | None:
    """A decimal with a point or a comma, to four places."""
    try:
        found = Decimal(typed.strip().replace(",", "."))
    except InvalidOperation:
        return None
    return found.quantize(Decimal("0.0001")) if found.is_finite() and abs(found) < 10**9 else None


def _text(number: Decimal) -> str:
    return f"{number.normalize():f}"


def _wrong(number: int, why: str) -> forms.ValidationError:
    return forms.ValidationError(gettext("Line %(n)d: %(why)s") % {"n": number, "why": why})


def _until(row: Mapping[str, Any]) -> timedelta:
    return int(row["until"]) * UNITS[row["unit"]]


def _check_order(rows: Sequence[Mapping[str, Any]]) -> None:
    """Raises ValidationError where a line could never hold, or a later one takes less than one before it."""
    for number, (before, after) in enumerate(pairwise(rows), start=2):
        if before["until"] is None:
            raise _wrong(number - 1, gettext("only the last line may have no time."))
        later = (
            after["until"] is None or after["until"] * UNITS[after["unit"]] > before["until"] * UNITS[before["unit"]]
        )
        if not later:
            raise _wrong(number, gettext("the time must be longer than in the line before."))
        if before["of"] == after["of"] and Decimal(after["take"]) < Decimal(before["take"]):
            raise _wrong(number, gettext("later work cannot lose less than earlier work."))
