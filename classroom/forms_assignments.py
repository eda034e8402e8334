"""Forms about assignments."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.utils import timezone
from django.utils.text import slugify
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from classroom.forms_time import LocalDateTimeField
from classroom.forms_units import ShortNameField
from classroom.models import Assignment, Course


class FilesInput(forms.ClearableFileInput):
    """A file input that takes several."""

    allow_multiple_selected = True
    template_name = "django/forms/widgets/file.html"

    def build_attrs(self, base_attrs: dict[str, Any], extra_attrs: dict[str, Any] | None = None) -> dict[str, Any]:
        """With what the page's script needs to say before sending that it is too much."""
        said = {
            "data-most-bytes": settings.UPLOAD_MOST_BYTES,
            "data-too-large": gettext("These files are too large together."),
        }
        return super().build_attrs(base_attrs, {**said, **(extra_attrs or {})})


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
    slug = ShortNameField(
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
