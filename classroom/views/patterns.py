"""Every component on one page, so that a page is made of what is there."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from django import forms
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from classroom.histogram import histogram


class PatternForm(forms.Form):
    """One field of each kind."""

    title = forms.CharField(label=_("Title"), help_text=_("What students see."))
    unit = forms.CharField(label=_("Unit"), required=False)
    kind = forms.ChoiceField(
        label=_("Kind"), choices=[("a", _("assignment")), ("t", _("tutorial"))], widget=forms.RadioSelect
    )
    hidden = forms.BooleanField(label=_("Hide scores until feedback is released"), required=False)
    upload = forms.FileField(label=_("Files"), required=False, help_text=_("Notebooks, data files or one zip."))


@login_required
def patterns(request: HttpRequest) -> HttpResponse:
    """The design system's page."""
    now = timezone.now()
    context = {
        "form": PatternForm({"title": "", "kind": "x"}),
        "soon": now + timedelta(days=3, hours=2),
        "past": now - timedelta(hours=5),
        "flow": {"people": 40, "opened": 31, "submitted": 22, "graded": 18, "returned": 6},
        "sample": {"pk": 0, "title": "ps2"},
        "chart": histogram(
            Decimal(percent) / 100 for percent in (12, 35, 41, 48, 55, 62, 66, 71, 78, 84, 91, 100, 104)
        ),
    }
    return render(request, "patterns.html", context)
