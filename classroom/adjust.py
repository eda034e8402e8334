"""An assignment's settings changed; open notebooks learn of new dates at once."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from datetime import timedelta
from typing import Any

from django.db import transaction

from classroom.models import Assignment, Work
from classroom.publish import access_changed
from classroom.redate import Effects, effects, follow
from grading.models import LineItem
from runtimes.models import Workspace

_OF_THE_ASSIGNMENT = (
    "title", "unit", "due_at", "closes_at", "profile", "hide_scores", "group_size",
    "groups_by_students",
)  # fmt: skip
_OF_THE_LINE_ITEM = {
    "late_policy": "late_policy",
    "late_percent_per_day": "late_percent_per_day",
    "late_cap_percent": "late_cap_percent",
    "late_floor_percent": "late_floor_percent",
    "late_steps": "late_steps",
    "attempt_limit": "attempt_limit",
    "keep": "keep",
    "grading_profile": "profile",
    "show_hidden_tests": "show_hidden_tests",
    "show_all_outputs": "show_all_outputs",
    "strict_nbgrader": "strict_nbgrader",
    "heal": "heal",
    "warnings_cost": "warnings_cost",
    "check_limit": "check_limit",
}
_DURATIONS = {
    "grace_minutes": ("grace", timedelta(minutes=1)),
    "cell_seconds": ("cell_timeout", timedelta(seconds=1)),
    "wall_minutes": ("wall_timeout", timedelta(minutes=1)),
    "check_cooldown_seconds": ("check_cooldown", timedelta(seconds=1)),
}


def adjust(assignment: Assignment, wanted: Mapping[str, Any]) -> None:
    """Sets what `wanted` names (the fields of `SettingsForm` or a part of them) and leaves the rest.

    The lateness of what was handed in follows the dates; a new late policy holds for what it costs from now on.
    """
    mine = {name: wanted[name] for name in _OF_THE_ASSIGNMENT if name in wanted}
    items = {field: wanted[name] for name, field in _OF_THE_LINE_ITEM.items() if name in wanted}
    items |= {field: wanted[name] * unit for name, (field, unit) in _DURATIONS.items() if name in wanted}
    with transaction.atomic():
        if mine:
            Assignment.objects.filter(pk=assignment.pk).update(**mine)
        if "profile" in mine and mine["profile"].pk != assignment.profile_id:
            # Work that was begun, too: from the next start of its machine.
            begun = Work.objects.filter(assignment=assignment).values("workspace")
            Workspace.objects.filter(pk__in=begun).update(profile=mine["profile"])
        if items:
            LineItem.objects.filter(pk=assignment.line_item_id).update(**items)
        if any(name in mine and mine[name] != getattr(assignment, name) for name in ("due_at", "closes_at")):
            # The due date too: who has more time has a closing date that moves with it.
            access_changed(assignment)
        follow(assignment)
    assignment.refresh_from_db()
    assignment.line_item.refresh_from_db()


def effects_of(assignment: Assignment, wanted: Mapping[str, Any]) -> Effects:
    """What `adjust` would do to the lateness of what was handed in. Changes nothing."""
    wish, item = copy(assignment), copy(assignment.line_item)
    wish.due_at = wanted.get("due_at", assignment.due_at)
    if "grace_minutes" in wanted:
        item.grace = wanted["grace_minutes"] * timedelta(minutes=1)
    wish.line_item = item
    return effects(wish)
