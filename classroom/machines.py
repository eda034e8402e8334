"""The machines that a new assignment begins with; the administrator changes them or adds others."""

from __future__ import annotations

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
