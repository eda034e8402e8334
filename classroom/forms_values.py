"""A machine's form for what is written in values (`machine_values.py`) instead of typed on a page: the same checks."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from math import inf
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.text import capfirst
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from classroom.forms_machines import MachineForm
from classroom.forms_units import LastingField, NumberField, ShortNameField, hours_of
from classroom.machine_values import Entry, form_data, key_of, lasting
from runtimes.models import GIB, Profile
from runtimes.pods.quantities import amount

_MIB = 1 << 20
# What a row can hold.
_MOST = 1 << 62


class AmountField(forms.Field):
    """Cleans a quantity of Kubernetes', such as 4Gi, to whole bytes."""

    def __init__(self, *, least: int = 0, **kwargs: Any) -> None:
        self._least = least
        super().__init__(**kwargs)

    def clean(self, value: Any) -> int:
        """Raises ValidationError for what is none, or too little."""
        found = _amount(value)
        if found < self._least:
            told = {"value": value, "least": f"{self._least // _MIB}Mi"}
            raise ValidationError(gettext("“%(value)s” is less than %(least)s.") % told)
        return int(found)


class CoresField(NumberField):
    """Cleans a quantity such as 2 or 500m to cores."""

    def clean(self, value: Any) -> Any:
        """Raises ValidationError for what is none, is too little or finer than a hundredth."""
        # A thousandth has no exact float.
        return super().clean(f"{Decimal(str(round(_amount(value), 9))):f}")


class LengthField(LastingField):
    """Cleans a length of time such as 30m or 12h, in whole units as the page has it."""

    def __init__(self, *, unit: timedelta, **kwargs: Any) -> None:
        self._whole = unit
        super().__init__(unit=unit, **kwargs)

    def clean(self, value: Any) -> Any:
        """Raises ValidationError for what is none, or not in whole units."""
        try:
            found = lasting(value)
        except ValueError as error:
            raise ValidationError(str(error)) from error
        if found % self._whole:
            told = {"value": value, "unit": "1h" if self._whole == timedelta(hours=1) else "1m"}
            raise ValidationError(gettext("“%(value)s” is not a multiple of %(unit)s.") % told)
        return super().clean(found // self._whole)


class ListField(forms.JSONField):
    """Cleans a list to itself."""

    def clean(self, value: Any) -> list[Any]:
        """It is one already."""
        return list(value)


class ModulesField(ListField):
    """Cleans a list of names of modules."""

    def clean(self, value: Any) -> list[Any]:
        """Raises ValidationError for what is no name."""
        for name in value:
            if not isinstance(name, str) or not all(part.isidentifier() for part in name.split(".")):
                raise ValidationError(gettext("“%(name)s” is no name of a module.") % {"name": name})
        return list(value)


class RowsField(ListField):
    """Cleans rows of class hours: {day: mon, from: "09:45", to: "12:00", warm: 30}."""

    def clean(self, value: Any) -> list[Any]:
        """Raises ValidationError, with the row's number."""
        return [self._row(number, row) for number, row in enumerate(value, start=1)]

    def _row(self, number: int, row: Any) -> dict[str, Any]:
        if not isinstance(row, Mapping):
            raise ValidationError(gettext("Line %(n)d: “%(row)s” is no class hours.") % {"n": number, "row": row})
        return hours_of(number, {**row, **{part: _clock(row.get(part, "")) for part in ("from", "to")}})


class LabelsMapField(forms.JSONField):
    """Cleans labels with their values to themselves; `profile_checks` says what is wrong with them."""

    def clean(self, value: Any) -> dict[str, Any]:
        """It is a mapping already."""
        return dict(value)


class MachineValuesForm(MachineForm):
    """One entry. Whose teachers may choose a machine that is not for all is not in it: that stays as it is."""

    slug = ShortNameField(max_length=50)
    cpu = CoresField(min_value=Decimal("0.05"), max_digits=6, decimal_places=2)
    cpu_request = CoresField(min_value=Decimal("0.01"), max_digits=6, decimal_places=2)
    memory_bytes = AmountField(least=GIB // 4)  # type: ignore[assignment]
    home_bytes = AmountField(least=50 * _MIB)  # type: ignore[assignment]
    scratch_bytes = AmountField()  # type: ignore[assignment]
    preload = ModulesField()  # type: ignore[assignment]
    idle_timeout = LengthField(unit=timedelta(minutes=1), min_value=1, max_value=7 * 24 * 60)
    lifetime = LengthField(unit=timedelta(hours=1), min_value=1, max_value=30 * 24)
    timetable = RowsField()  # type: ignore[assignment]
    node_selector = LabelsMapField()  # type: ignore[assignment]
    tolerations = ListField()
    fallback = forms.ModelChoiceField(
        Profile.objects.none(), to_field_name="slug", required=False,
        error_messages={"invalid_choice": _("There is no machine “%(value)s” without a GPU or TPU to fall back to.")},
    )  # fmt: skip

    def __init__(self, entry: Entry, instance: Profile) -> None:
        self._entry = entry
        super().__init__(form_data(entry), instance=instance)
        del self.fields["courses"]

    def sentences(self) -> list[str]:
        """What is wrong, each with the key at which it stands."""
        return [
            f"{key_of(name, self._entry)}: {error}" if name in self.fields else capfirst(str(error))
            for name, errors in self.errors.items()
            for error in errors
        ]

    def save(self, commit: bool = True) -> Profile:
        """The row alone."""
        saved: Profile = forms.ModelForm.save(self, commit)
        return saved


def _amount(value: Any) -> float:
    try:
        found = amount(str(value))
    except ValueError:
        found = inf
    if found < _MOST:
        return found
    raise ValidationError(gettext("“%(value)s” is not an amount such as 2, 500m or 4Gi.") % {"value": value})


def _clock(value: Any) -> Any:
    # YAML 1.1 reads an unquoted 12:00 as a number of minutes.
    return f"{value // 60:02}:{value % 60:02}" if isinstance(value, int) else value
