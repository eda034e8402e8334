"""The machines that a new assignment begins with, which ones a course may choose, share a GPU, and are retired."""

from __future__ import annotations

from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from classroom.models import Assignment, Course
from runtimes.models import GIB, Profile

_GRADING = "grading"
# So many assignments are named where one would do.
_NAMED = 5


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
    return Profile.objects.get_or_create(slug=_GRADING, defaults=defaults)[0]


def open_to(course: Course, *chosen: int) -> QuerySet[Profile]:
    """The machines that may be chosen in the course, by name; `chosen` are there in any case, also if retired."""
    free = Q(retired_at=None) & (Q(for_all=True) | Q(pk__in=course.profiles.values("pk")))
    return Profile.objects.filter(free | Q(pk__in=chosen)).order_by("name")


def why_unshared(profile: Profile) -> str:
    """Why this machine, as it is filled in, must not share a GPU; "" where it does not, or may. Nothing is graded on
    one that does (`machine.Gpu.refusal`), which would show only when the next submission is."""
    if not (profile.gpu and profile.accelerator_sharing):
        return ""
    if profile.slug == _GRADING:
        return _(
            "New assignments are graded on it, and nothing is graded on a shared GPU: let another machine have one."
        )
    graded = Assignment.objects.filter(line_item__profile=profile.pk).order_by("course__title", "position", "pk")
    found = list(graded.values_list("title", "course__title")[: _NAMED + 1])
    named = [_("“%(title)s” in “%(course)s”") % {"title": title, "course": course} for title, course in found[:_NAMED]]
    if not named:
        return ""
    told = _(
        "Nothing is graded on a shared GPU, and this machine grades %(assignments)s. Choose another one there first, "
        "or let another machine have a shared GPU."
    )
    return told % {"assignments": ", ".join([*named, "…"][: len(found)])}


def retire(profile: Profile) -> bool:
    """Nobody chooses it any more, nothing of it is kept ready; what has it goes on. False if it was so already."""
    mine = Profile.objects.filter(pk=profile.pk, retired_at=None)
    return bool(mine.update(retired_at=timezone.now(), warm=0, timetable=[]))


def bring_back(profile: Profile) -> bool:
    """It may be chosen again. False if it may."""
    return bool(Profile.objects.filter(pk=profile.pk, retired_at__isnull=False).update(retired_at=None))
