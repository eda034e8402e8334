"""A date and time in a course's own time zone, as a form field."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.utils import timezone
from django.utils.translation import gettext as _

from classroom.local_time import meant

_HTML = "%Y-%m-%dT%H:%M"


class LocalDateTimeField(forms.DateTimeField):
    """Cleans to a moment in UTC. After cleaning, `note` says what is meant where the clocks change ("" elsewhere).

    `zone` is set by the form that knows the course; `later` is for what ends at that time.
    """

    widget = forms.DateTimeInput(attrs={"type": "datetime-local"}, format=_HTML)
    input_formats = [_HTML, "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M"]

    def __init__(self, *, later: bool = True, **kwargs: Any) -> None:
        self.zone, self.later, self.note = "UTC", later, ""
        super().__init__(**kwargs)

    def in_zone(self, zone: str) -> None:
        """Reads and shows times in `zone`, and says so."""
        self.zone = zone
        said = _("Time in %(zone)s.") % {"zone": zone.replace("_", " ")}
        self.help_text = f"{said} {self.help_text}" if self.help_text else said

    def to_python(self, value: Any) -> datetime | None:
        """Raises ValidationError for what is not a date and time."""
        # The active time zone must not matter: as UTC, the field's own conversion leaves the typed digits as they are.
        with timezone.override(UTC):
            typed = super().to_python(value)
        self.note = ""
        if typed is None:
            return None
        found = meant(typed.replace(tzinfo=None), self.zone, later=self.later)
        self.note = found.note
        return found.moment

    def prepare_value(self, value: Any) -> Any:
        """The moment as its wall-clock time in `zone`."""
        if isinstance(value, datetime) and timezone.is_aware(value):
            return value.astimezone(ZoneInfo(self.zone)).replace(tzinfo=None)
        return value


def notes(form: forms.BaseForm) -> list[str]:
    """What the form's times mean where the clocks change."""
    return [field.note for field in form.fields.values() if isinstance(field, LocalDateTimeField) and field.note]
