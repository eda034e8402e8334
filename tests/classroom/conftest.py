"""A published problem set and tutorial in the course."""

from __future__ import annotations

import pytest

from classroom.models import Assignment, Course
from classroom.people.models import User
from tests.classroom.work import published


@pytest.fixture
def ps1(course: Course, grace: User) -> Assignment:
    """An open problem set: 2 points by tests, 3 by hand."""
    return published(course, grace)


@pytest.fixture
def tutorial(course: Course, grace: User) -> Assignment:
    """An open tutorial."""
    return published(course, grace, slug="tutorial", graded=False)
