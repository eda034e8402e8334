"""Machines as their administrator sees them: what each gives, who may use it, where it is used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from django.utils import timezone

from classroom.models import Assignment, Course
from classroom.queries import strictly
from runtimes.models import Profile
from runtimes.profiles import warm_now


@dataclass(frozen=True, slots=True)
class Row:
    """used: by how many assignments, to work or to grade on. courses: who may choose it, where it is not for all."""

    profile: Profile
    used: int
    courses: int
    warm: int


def rows() -> Sequence[Row]:
    """All machines by name, retired ones last. Three queries."""
    profiles = strictly(Profile.objects).select_related("fallback").order_by("name")
    chosen = Assignment.objects.values_list("profile", "line_item__profile")
    used = Counter(profile for both in chosen for profile in set(both))
    courses = Counter(Course.profiles.through.objects.values_list("profile", flat=True))
    now = timezone.now()
    found = [Row(one, used[one.pk], courses[one.pk], warm_now(one, now)) for one in profiles]
    return sorted(found, key=lambda row: row.profile.retired_at is not None)
