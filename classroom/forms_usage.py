"""Which period of usage, and whose."""

from __future__ import annotations

from datetime import date
from typing import Any

from django import forms
from django.core.validators import MaxValueValidator, MinValueValidator
from django.utils.translation import gettext_lazy as _

from classroom.queries.usage import Period

_HTML = "%Y-%m-%d"
_YEARS = [MinValueValidator(date(2000, 1, 1)), MaxValueValidator(date(2199, 12, 31))]


def _day(label: Any) -> forms.DateField:
    widget = forms.DateInput(attrs={"type": "date"}, format=_HTML)
    return forms.DateField(label=label, widget=widget, input_formats=[_HTML], validators=_YEARS)


class UsageForm(forms.Form):
    """Cleans to `period` and `words`."""

    use_required_attribute = False
    since = _day(_("First day"))
    until = _day(_("Last day"))
    words = forms.CharField(label=_("Name or email"), required=False, max_length=100)

    def clean(self) -> dict[str, Any]:
        """Raises ValidationError where the first day is after the last."""
        cleaned = super().clean() or self.cleaned_data
        since, until = cleaned.get("since"), cleaned.get("until")
        if since and until:
            if since > until:
                self.add_error("until", _("This is before the first day."))
            else:
                cleaned["period"] = Period(since, until)
        return cleaned
