"""Every choice in an assignment's settings is stored, and shown again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from operator import attrgetter
from typing import Any

from classroom.models import Assignment, Course
from classroom.people.models import User
from runtimes.models import Profile

STEPS = [{"until": 24, "unit": "hours", "take": "10", "of": "percent"}]
#: Every field of the form → what is typed, and what is stored then: in the assignment, or in its line item.
TYPED: dict[str, tuple[str, str, Any]] = {
    "title": ("Squares", "title", "Squares"),
    "unit": ("Week 9", "unit", "Week 9"),
    "due_at": ("2099-06-01T12:00", "due_at", datetime(2099, 6, 1, 10, 0, tzinfo=UTC)),
    "closes_at": ("2099-06-02T12:00", "closes_at", datetime(2099, 6, 2, 10, 0, tzinfo=UTC)),
    "late_policy": ("per_day", "line_item.late_policy", "per_day"),
    "late_percent_per_day": ("12.5", "line_item.late_percent_per_day", Decimal("12.5")),
    "late_cap_percent": ("60", "line_item.late_cap_percent", Decimal(60)),
    "late_floor_percent": ("20", "line_item.late_floor_percent", Decimal(20)),
    "late_steps": ("", "line_item.late_steps", STEPS),
    "grace_minutes": ("15", "line_item.grace", timedelta(minutes=15)),
    "attempt_limit": ("3", "line_item.attempt_limit", 3),
    "keep": ("best", "line_item.keep", "best"),
    "group_size": ("4", "group_size", 4),
    "groups_by_students": ("on", "groups_by_students", True),
    "profile": ("other", "profile.slug", "other"),
    "grading_profile": ("other", "line_item.profile.slug", "other"),
    "cell_seconds": ("20", "line_item.cell_timeout", timedelta(seconds=20)),
    "wall_minutes": ("7", "line_item.wall_timeout", timedelta(minutes=7)),
    "strict_nbgrader": ("on", "line_item.strict_nbgrader", True),
    "heal": ("", "line_item.heal", False),
    "warnings_cost": ("on", "line_item.warnings_cost", True),
    "check_limit": ("11", "line_item.check_limit", 11),
    "check_cooldown_seconds": ("123", "line_item.check_cooldown", timedelta(seconds=123)),
    "hide_scores": ("on", "hide_scores", True),
    "show_all_outputs": ("on", "line_item.show_all_outputs", True),
    "show_hidden_tests": ("on", "line_item.show_hidden_tests", True),
}


def stored(ps1: Assignment) -> dict[str, Any]:
    fresh = Assignment.objects.select_related("profile", "line_item__profile").get(pk=ps1.pk)
    return {name: attrgetter(path)(fresh) for name, (_typed, path, _value) in TYPED.items()}


def test_settings_are_kept(course: Course, ps1: Assignment, grace: User, as_user):
    client = as_user(grace)
    assert set(client.get("/c/data/a/ps1/teach/settings/").context["form"].fields) == set(TYPED)
    other = Profile.objects.create(slug="other", name="Other")
    before = stored(ps1)
    body: dict[str, Any] = {name: typed for name, (typed, _path, _value) in TYPED.items() if typed}
    body |= {"profile": str(other.pk), "grading_profile": str(other.pk)}
    body |= {f"late_steps-{part}": [str(value)] for part, value in STEPS[0].items()}
    assert client.post("/c/data/a/ps1/teach/settings/", body).status_code == 302
    assert stored(ps1) == {name: value for name, (_typed, _path, value) in TYPED.items()}
    # None of it was so before, and the page shows what is stored.
    assert [name for name, value in stored(ps1).items() if value == before[name]] == []
    form = client.get("/c/data/a/ps1/teach/settings/").context["form"]
    numbers = {"grace_minutes": 15, "cell_seconds": 20, "wall_minutes": 7, "check_cooldown_seconds": 123}
    shown = {name: form[name].value() for name in TYPED}
    assert {name: shown[name] for name in numbers} == numbers
    assert (shown["heal"], shown["strict_nbgrader"], shown["check_limit"]) == (False, True, 11)
