"""Forms about assignments."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from django import forms
from django.core.files.uploadedfile import UploadedFile
from django.utils import timezone
from django.utils.text import slugify
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from classroom.forms_time import LocalDateTimeField
from classroom.models import Assignment, Course
from grading.models import LineItem
from runtimes.models import Profile


class FilesInput(forms.ClearableFileInput):
    """A file input that takes several."""

    allow_multiple_selected = True
    template_name = "django/forms/widgets/file.html"


class FilesField(forms.FileField):
    """Cleans to a list of uploads."""

    widget = FilesInput(attrs={"accept": ".ipynb,.zip,*/*"})

    def clean(self, data: Any, initial: Any = None) -> list[UploadedFile[Any]]:
        """Raises ValidationError where none was chosen. An empty file is a file."""
        uploads = [data] if isinstance(data, UploadedFile) else list(data or [])
        if not uploads and self.required:
            raise forms.ValidationError(gettext("Choose the files first."))
        return uploads


class NewAssignmentForm(forms.Form):
    """An assignment or a tutorial from its files."""

    kind = forms.ChoiceField(
        label=_("Kind"),
        choices=[
            ("assignment", _("Assignment: handed in, graded, given back")),
            ("tutorial", _("Tutorial: read and tried, never handed in")),
        ],
        initial="assignment",
        widget=forms.RadioSelect,
    )
    title = forms.CharField(label=_("Title"), max_length=200)
    slug = forms.SlugField(
        label=_("Short name"),
        max_length=60,
        required=False,
        help_text=_("Like ps1. Part of its address; made from the title if you leave it empty."),
    )
    unit = forms.CharField(
        label=_("Unit"), max_length=100, required=False, help_text=_("A heading of the course page, like Week 4.")
    )
    uploads = FilesField(
        label=_("Notebooks and data files, or one zip"),
        help_text=_("The version with solutions, as nbgrader has it in source/. Students get it without them."),
    )

    def __init__(self, *args: Any, course: Course, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.course = course

    def clean(self) -> dict[str, Any]:
        """Raises ValidationError for a short name that the course has."""
        cleaned = super().clean() or {}
        slug = cleaned.get("slug") or slugify(cleaned.get("title", ""))[:60]
        cleaned["slug"] = slug or "assignment"
        if Assignment.objects.filter(course=self.course, slug=cleaned["slug"]).exists():
            self.add_error("slug", gettext("The course has “%(slug)s” already.") % {"slug": cleaned["slug"]})
        return cleaned


class UploadForm(forms.Form):
    """A new version of an assignment's files."""

    uploads = FilesField(label=_("Notebooks and data files, or one zip"))
    keep_others = forms.BooleanField(
        label=_("Keep the files that are not in this upload"), required=False, initial=True
    )


class PublishForm(forms.Form):
    """When students get it, when it is due, when it closes; with `dates_only`, of a version that they have already."""

    when = forms.ChoiceField(
        label=_("Publish"), choices=[("now", _("Now")), ("at", _("At a time"))], initial="now", widget=forms.RadioSelect
    )
    publish_at = LocalDateTimeField(label=_("Publish at"), required=False, later=False)
    due_at = LocalDateTimeField(label=_("Due"), required=False)
    closes_at = LocalDateTimeField(
        label=_("Closes"),
        required=False,
        help_text=_("Work that comes later than the due date is taken and marked late until then."),
    )
    anyway = forms.BooleanField(label=_("Publish although the solution did not get full marks"), required=False)

    def __init__(
        self, *args: Any, assignment: Assignment, needs_anyway: bool, dates_only: bool = False, **kwargs: Any
    ) -> None:
        kwargs.setdefault("initial", {}).update(
            due_at=assignment.due_at, closes_at=assignment.closes_at, publish_at=assignment.publish_at
        )
        super().__init__(*args, **kwargs)
        self.dates_only = dates_only
        self.needs_anyway = needs_anyway and not dates_only
        if not self.needs_anyway:
            del self.fields["anyway"]
        if dates_only:
            del self.fields["when"], self.fields["publish_at"]
        if not assignment.line_item.graded:
            del self.fields["due_at"]
        for field in self.fields.values():
            if isinstance(field, LocalDateTimeField):
                field.in_zone(assignment.course.time_zone)

    def clean(self) -> dict[str, Any]:
        """Raises ValidationError for dates in the wrong order, and where full marks are missing and not waived."""
        cleaned = super().clean() or {}
        due, closes, at = cleaned.get("due_at"), cleaned.get("closes_at"), cleaned.get("publish_at")
        if cleaned.get("when") == "at" and "publish_at" not in self.errors:
            if at is None:
                self.add_error("publish_at", gettext("Say when."))
            elif at <= timezone.now():
                self.add_error("publish_at", gettext("This time has passed. Choose “Now”, or a later one."))
        begins = at if cleaned.get("when") == "at" and at else timezone.now()
        if due and due <= begins and "due_at" in self.changed_data:
            self.add_error("due_at", gettext("It would be due before students have it."))
        if closes and (closes <= begins or (due and closes < due)):
            self.add_error("closes_at", gettext("It would close before it is due, or before students have it."))
        if self.needs_anyway and not cleaned.get("anyway"):
            self.add_error("anyway", gettext("Tick this, or upload a version whose solution gets full marks."))
        return cleaned


class SettingsForm(forms.Form):
    """An assignment's settings, in the groups that the page shows."""

    GROUPS = (
        (_("On the course page"), ("title", "unit")),
        (_("Dates"), ("due_at", "closes_at")),
        (_("Late work"), ("late_policy", "late_percent_per_day", "grace_minutes")),
        (_("Attempts"), ("attempt_limit", "keep")),
        (_("Machine"), ("profile", "grading_profile", "cell_seconds", "wall_minutes")),
        (_("Grading"), ("strict_nbgrader", "heal", "warnings_cost")),
        (_("Check before submitting"), ("check_limit", "check_cooldown_seconds")),
        (_("What students see"), ("hide_scores", "show_hidden_tests")),
    )

    title = forms.CharField(label=_("Title"), max_length=200)
    unit = forms.CharField(label=_("Unit"), max_length=100, required=False)
    due_at = LocalDateTimeField(label=_("Due"), required=False)
    closes_at = LocalDateTimeField(
        label=_("Closes"), required=False, help_text=_("Nobody changes or hands in anything after that.")
    )
    late_policy = forms.ChoiceField(label=_("Late work"), choices=LineItem.LatePolicy.choices, widget=forms.RadioSelect)
    late_percent_per_day = forms.DecimalField(
        label=_("Percent a started day"), min_value=Decimal(0), max_value=Decimal(100), decimal_places=2
    )
    grace_minutes = forms.IntegerField(
        label=_("Minutes of grace"), min_value=0, max_value=60 * 24 * 7, help_text=_("Late by less counts as in time.")
    )
    attempt_limit = forms.IntegerField(
        label=_("Most attempts"), min_value=1, max_value=1000, required=False, help_text=_("Empty: any number.")
    )
    keep = forms.ChoiceField(label=_("Which attempt counts"), choices=LineItem.Keep.choices, widget=forms.RadioSelect)
    profile = forms.ModelChoiceField(label=_("Machine to work on"), queryset=Profile.objects.none(), empty_label=None)
    grading_profile = forms.ModelChoiceField(
        label=_("Machine to grade on"), queryset=Profile.objects.none(), empty_label=None
    )
    cell_seconds = forms.IntegerField(label=_("Seconds a cell may run when graded"), min_value=1, max_value=3600)
    wall_minutes = forms.IntegerField(label=_("Minutes a notebook may run when graded"), min_value=1, max_value=240)
    strict_nbgrader = forms.BooleanField(
        label=_("Strictly as nbgrader"),
        required=False,
        help_text=_(
            "Scores are exactly those of “nbgrader autograde”, also where its rules are odd. The next two choices then "
            "change nothing. Without it, the marking page says wherever nbgrader would have scored otherwise."
        ),
    )
    heal = forms.BooleanField(
        label=_("Put deleted, copied, moved or changed test cells right before grading"),
        required=False,
        help_text=_("What a student handed in stays as it is; the copy that is graded is put right."),
    )
    warnings_cost = forms.BooleanField(
        label=_("A warning on stderr takes a test's points"),
        required=False,
        help_text=_("nbgrader's rule: a right answer that prints a warning gets 0."),
    )
    check_limit = forms.IntegerField(
        label=_("Most checks"),
        min_value=0,
        max_value=10000,
        required=False,
        help_text=_("How often the tests that students see may be run for one piece of work. Empty: any number."),
    )
    check_cooldown_seconds = forms.IntegerField(
        label=_("Seconds between two checks"), min_value=0, max_value=60 * 60 * 24
    )
    hide_scores = forms.BooleanField(label=_("Hide scores until feedback is released"), required=False)
    show_hidden_tests = forms.BooleanField(label=_("Show hidden tests in the feedback"), required=False)

    def __init__(self, *args: Any, assignment: Assignment, **kwargs: Any) -> None:
        kwargs["initial"] = _settings_of(assignment)
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            if isinstance(field, LocalDateTimeField):
                field.in_zone(assignment.course.time_zone)
            if isinstance(field, forms.ModelChoiceField):
                field.queryset = Profile.objects.order_by("name")
        if not assignment.line_item.graded:
            for name in _GRADED_ONLY:
                del self.fields[name]

    @property
    def groups(self) -> list[tuple[Any, list[forms.BoundField]]]:
        """(heading, fields), without what a tutorial has not."""
        found = [(title, [self[name] for name in names if name in self.fields]) for title, names in self.GROUPS]
        return [(title, fields) for title, fields in found if fields]

    def clean(self) -> dict[str, Any]:
        """Raises ValidationError for a closing date before the due date."""
        cleaned = super().clean() or {}
        due, closes = cleaned.get("due_at"), cleaned.get("closes_at")
        if due and closes and closes < due:
            self.add_error("closes_at", gettext("It would close before it is due."))
        return cleaned


_GRADED_ONLY = (
    "due_at", "late_policy", "late_percent_per_day", "grace_minutes", "attempt_limit", "keep", "grading_profile",
    "cell_seconds", "wall_minutes", "hide_scores", "show_hidden_tests", "strict_nbgrader", "heal", "warnings_cost",
    "check_limit", "check_cooldown_seconds",
)  # fmt: skip


def _settings_of(assignment: Assignment) -> dict[str, Any]:
    item = assignment.line_item
    return {
        "title": assignment.title,
        "unit": assignment.unit,
        "due_at": assignment.due_at,
        "closes_at": assignment.closes_at,
        "late_policy": item.late_policy,
        "late_percent_per_day": item.late_percent_per_day,
        "grace_minutes": item.grace // timedelta(minutes=1),
        "attempt_limit": item.attempt_limit,
        "keep": item.keep,
        "profile": assignment.profile_id,
        "grading_profile": item.profile_id,
        "cell_seconds": int(item.cell_timeout.total_seconds()),
        "wall_minutes": max(1, item.wall_timeout // timedelta(minutes=1)),
        "hide_scores": assignment.hide_scores,
        "show_hidden_tests": item.show_hidden_tests,
        "strict_nbgrader": item.strict_nbgrader,
        "heal": item.heal,
        "warnings_cost": item.warnings_cost,
        "check_limit": item.check_limit,
        "check_cooldown_seconds": int(item.check_cooldown.total_seconds()),
    }
