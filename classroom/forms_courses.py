"""Forms about courses."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.utils.functional import lazy
from django.utils.text import slugify
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from classroom.forms_people import time_zones
from classroom.forms_units import ShortNameField
from classroom.models import Course


class CourseForm(forms.ModelForm):  # type: ignore[type-arg]
    """A course's name, term and time zone. The short name is made from the title where none is given."""

    slug = ShortNameField(
        label=_("Short name"),
        max_length=60,
        required=False,
        help_text=_("Part of the course's address, like data-2026. Made from the title if you leave it empty."),
    )
    time_zone = forms.ChoiceField(
        label=_("Time zone"), choices=lazy(time_zones, list), help_text=_("Due dates are set in this time zone.")
    )

    class Meta:
        model = Course
        fields: ClassVar = ["title", "term", "slug", "time_zone"]
        help_texts: ClassVar = {"term": _("Like “Autumn 2026”.")}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.is_bound and self.instance.pk is None and not kwargs.get("initial"):
            # site.js chooses the browser's zone: most teachers are where their course is.
            self.fields["time_zone"].widget.attrs["data-guess-zone"] = ""

    def clean_slug(self) -> str:
        """Raises ValidationError for a name that is taken."""
        slug = self.cleaned_data["slug"] or slugify(self.cleaned_data.get("title", ""))[:60] or "course"
        others = Course.objects.filter(slug=slug).exclude(pk=self.instance.pk)
        if others.exists():
            raise forms.ValidationError(gettext("There is a course “%(slug)s” already.") % {"slug": slug})
        return str(slug)


class CourseSettingsForm(CourseForm):
    """The same without the short name: addresses stay what they are."""

    slug = None  # type: ignore[assignment]

    class Meta(CourseForm.Meta):
        fields: ClassVar = ["title", "term", "time_zone"]


class ConfirmNameForm(forms.Form):
    """Something far-reaching is confirmed by typing a name."""

    name = forms.CharField(label=_("Name"), max_length=200, widget=forms.TextInput(attrs={"autocomplete": "off"}))

    def __init__(self, *args: Any, wanted: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.wanted = wanted
        self.fields["name"].label = gettext("Type %(name)s to confirm") % {"name": wanted}

    def clean_name(self) -> str:
        """Raises ValidationError for any other name."""
        if self.cleaned_data["name"].strip() != self.wanted:
            raise forms.ValidationError(gettext("That is not the name. Nothing was changed."))
        return self.wanted
