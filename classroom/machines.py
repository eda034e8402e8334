"""The machines that a new assignment begins with, which ones a course may choose, and how they are retired."""

from __future__ import annotations

from django.db.models import Q, QuerySet
from django.utils import timezone

from classroom.models import Course
from runtimes.models import GIB, Profile


def interactive() -> Profile:
    """What students work on unless the teacher chooses another: made where the site has none of that name."""
    defaults = {"name": "Python · 1 CPU · 2 GB", "cpu": 1, "memory_bytes": 2 * GIB, "preload": ["numpy", "pandas"]}
    return Profile.objects.get_or_create(slug="standard", defaults=defaults)[0]


def grading() -> Profile:
    """What submissions are graded on: the same environment, never a network."""
    defaults = {
        "name": "Grading · 1 CPU · 2 GB",
        "cpu": 1,
        "memory_bytes": 2 * GIB,
        "network": Profile.Network.NONE,
    }
    return Profile.objects.get_or_create(slug="grading", defaults=defaults)[0]


def open_to(course: Course, *chosen: int) -> QuerySet[Profile]:
    """The machines that may be chosen in the course, by name; `chosen` are there in any case, also if retired."""
    free = Q(retired_at=None) & (Q(for_all=True) | Q(pk__in=course.profiles.values("pk")))
    return Profile.objects.filter(free | Q(pk__in=chosen)).order_by("name")


def retire(profile: Profile) -> bool:
    """Nobody chooses it any more, nothing of it is kept ready; what has it goes on. False if it was so already."""
    mine = Profile.objects.filter(pk=profile.pk, retired_at=None)
    return bool(mine.update(retired_at=timezone.now(), warm=0, timetable=[]))


def bring_back(profile: Profile) -> bool:
    """It may be chosen again. False if it may."""
    return bool(Profile.objects.filter(pk=profile.pk, retired_at__isnull=False).update(retired_at=None))
