"""Forms about people."""

from __future__ import annotations

from typing import Any, ClassVar
from zoneinfo import available_timezones

from allauth.account.forms import LoginForm
from django import forms
from django.conf import settings
from django.utils.functional import lazy
from django.utils.translation import gettext_lazy as _

from classroom.people.models import User


def time_zones() -> list[tuple[str, str]]:
    """Every place of the IANA database, sorted; what is not a place (Etc/GMT+3, EST5EDT) left out, UTC kept."""
    places = sorted(name for name in available_timezones() if "/" in name and not name.startswith("Etc/"))
    return [("UTC", "UTC"), *((name, name.replace("_", " ")) for name in places)]


class SignInForm(LoginForm):
    """allauth's form with words of ours, and labels rather than placeholders (WCAG 2.2, 3.3.2)."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["login"].label = _("User name or email")
        self.fields["password"].help_text = ""
        self.fields["remember"].label = _("Stay signed in on this device")
        for field in self.fields.values():
            field.widget.attrs.pop("placeholder", None)


class ProfileForm(forms.ModelForm):  # type: ignore[type-arg]
    """What people may change about themselves. The email is how the roster knows them: it is the teacher's."""

    display_name = forms.CharField(
        label=_("Name"), max_length=200, help_text=_("As your teachers and fellow students read it.")
    )
    language = forms.ChoiceField(
        label=_("Language"),
        required=False,
        choices=[("", _("As the browser asks")), *settings.LANGUAGES],
    )
    time_zone = forms.ChoiceField(
        label=_("Time zone"),
        required=False,
        choices=lazy(lambda: [("", _("As each course says")), *time_zones()], list),
        help_text=_("Due dates are said in this time zone."),
    )
    theme = forms.ChoiceField(label=_("Appearance"), choices=User.Theme.choices, widget=forms.RadioSelect)

    class Meta:
        model = User
        fields: ClassVar = ["display_name", "language", "time_zone", "theme"]
