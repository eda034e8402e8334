"""An assignment's settings as a form."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from django import forms
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from classroom.forms_late import StepsField
from classroom.forms_time import LocalDateTimeField
from classroom.machines import open_to
from classroom.models import Assignment
from grading.models import LineItem
from runtimes.models import Profile


class SettingsForm(forms.Form):
    """An assignment's settings, in the groups that the page shows."""

    GROUPS = (
        (_("On the course page"), ("title", "unit")),
        (_("Dates"), ("due_at", "closes_at")),
        (
            _("Late work"),
            (
                "late_policy",
                "late_percent_per_day",
                "late_cap_percent",
                "late_floor_percent",
                "late_steps",
                "grace_minutes",
            ),
        ),
        (_("Attempts"), ("attempt_limit", "keep")),
        (_("Groups"), ("group_size", "groups_by_students")),
        (_("Machine"), ("profile", "grading_profile", "cell_seconds", "wall_minutes")),
        (_("Grading"), ("strict_nbgrader", "heal", "warnings_cost")),
        (_("Check before submitting"), ("check_limit", "check_cooldown_seconds")),
        (_("What students see"), ("hide_scores", "show_all_outputs", "show_hidden_tests")),
    )

    title = forms.CharField(label=_("Title"), max_length=200)
    unit = forms.CharField(label=_("Unit"), max_length=100, required=False)
    due_at = LocalDateTimeField(label=_("Due"), required=False)
    closes_at = LocalDateTimeField(
        label=_("Closes"), required=False, help_text=_("Nobody changes or hands in anything after that.")
    )
    late_policy = forms.ChoiceField(label=_("Late work"), choices=LineItem.LatePolicy.choices, widget=forms.RadioSelect)
    late_percent_per_day = forms.DecimalField(
        label=_("Percent a started day"),
        min_value=Decimal(0),
        max_value=Decimal(100),
        decimal_places=2,
        help_text=_("Of the score. A day ends at the hour at which the work was due, in the course's time zone."),
    )
    late_cap_percent = forms.DecimalField(
        label=_("At most, in percent of the score"),
        min_value=Decimal(0),
        max_value=Decimal(100),
        decimal_places=2,
        required=False,
        help_text=_("However many days it is late."),
    )
    late_floor_percent = forms.DecimalField(
        label=_("Never below, in percent of the points"),
        min_value=Decimal(0),
        max_value=Decimal(100),
        decimal_places=2,
        required=False,
        help_text=_("Days take nothing from a score that is lower."),
    )
    late_steps = StepsField(
        label=_("Table of your own"),
        required=False,
        help_text=_(
            "Percent are of the score. The first line that fits holds; leave the time of the last line empty for "
            "everything later. Days end at the hour at which the work was due; hours count as they pass."
        ),
    )
    grace_minutes = forms.IntegerField(
        label=_("Minutes of grace"), min_value=0, max_value=60 * 24 * 7, help_text=_("Late by less counts as in time.")
    )
    attempt_limit = forms.IntegerField(
        label=_("Most attempts"), min_value=1, max_value=1000, required=False, help_text=_("Empty: any number.")
    )
    keep = forms.ChoiceField(label=_("Which attempt counts"), choices=LineItem.Keep.choices, widget=forms.RadioSelect)
    group_size = forms.IntegerField(
        label=_("People in a group, at most"),
        min_value=1,
        max_value=50,
        help_text=_("1: everyone works alone. Groups are made on a page of their own."),
    )
    groups_by_students = forms.BooleanField(label=_("Students form groups themselves"), required=False)
    profile = forms.ModelChoiceField(
        label=_("Machine to work on"),
        queryset=Profile.objects.none(),
        empty_label=None,
        help_text=_("Another one holds from each student's next start; files stay."),
    )
    grading_profile = forms.ModelChoiceField(
        label=_("Machine to grade on"), queryset=Profile.objects.none(), empty_label=None
    )
    cell_seconds = forms.IntegerField(label=_("Seconds a cell may run when graded"), min_value=1, max_value=3600)
    wall_minutes = forms.IntegerField(label=_("Minutes a notebook may run when graded"), min_value=1, max_value=240)
    strict_nbgrader = forms.BooleanField(
        label=_("Strictly as nbgrader"),
        required=False,
        help_text=_(
            "Scores are exactly those of “nbgrader autograde”, also where its rules are odd; tags that keep a test "
            "from running are removed all the same, and the limits hold. The next two choices then change nothing. "
            "Without it, the marking page says wherever nbgrader would have scored otherwise."
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
    show_all_outputs = forms.BooleanField(
        label=_("Show all outputs in the feedback"),
        required=False,
        help_text=_("Also of cells that ran after a hidden test: a student's code may have put its text there."),
    )
    show_hidden_tests = forms.BooleanField(
        label=_("Show hidden tests and mark schemes in the feedback"), required=False
    )

    def __init__(self, *args: Any, assignment: Assignment, **kwargs: Any) -> None:
        kwargs["initial"] = _settings_of(assignment)
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            if isinstance(field, LocalDateTimeField):
                field.in_zone(assignment.course.time_zone)
        self.machines = open_to(assignment.course, assignment.profile_id, assignment.line_item.profile_id)
        for name in ("profile", "grading_profile"):
            field = self.fields[name]
            assert isinstance(field, forms.ModelChoiceField)
            field.queryset = (
                self.machines.filter(accelerator_sharing="") if name == "grading_profile" else self.machines
            )
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
        if cleaned.get("late_policy") == LineItem.LatePolicy.CUSTOM and cleaned.get("late_steps") == []:
            self.add_error("late_steps", gettext("Write at least one line, or choose another policy."))
        return cleaned


_GRADED_ONLY = (
    "due_at", "late_policy", "late_percent_per_day", "late_cap_percent", "late_floor_percent", "late_steps",
    "grace_minutes", "attempt_limit", "keep", "group_size", "groups_by_students", "grading_profile",
    "cell_seconds", "wall_minutes", "hide_scores", "show_all_outputs", "show_hidden_tests", "strict_nbgrader",
    "heal", "warnings_cost", "check_limit", "check_cooldown_seconds",
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
        "late_cap_percent": item.late_cap_percent,
        "late_floor_percent": item.late_floor_percent,
        "late_steps": item.late_steps,
        "grace_minutes": item.grace // timedelta(minutes=1),
        "attempt_limit": item.attempt_limit,
        "keep": item.keep,
        "group_size": assignment.group_size,
        "groups_by_students": assignment.groups_by_students,
        "profile": assignment.profile_id,
        "grading_profile": item.profile_id,
        "cell_seconds": int(item.cell_timeout.total_seconds()),
        "wall_minutes": max(1, item.wall_timeout // timedelta(minutes=1)),
        "hide_scores": assignment.hide_scores,
        "show_all_outputs": item.show_all_outputs,
        "show_hidden_tests": item.show_hidden_tests,
        "strict_nbgrader": item.strict_nbgrader,
        "heal": item.heal,
        "warnings_cost": item.warnings_cost,
        "check_limit": item.check_limit,
        "check_cooldown_seconds": int(item.check_cooldown.total_seconds()),
    }
