"""Whose usage is whose: a course's own account has what people work on, those of its assignments what grading takes."""

from __future__ import annotations

from classroom.models import Assignment, Course
from classroom.queries import strictly
from classroom.workspaces import account_of
from grading.check import account_of_item


def courses() -> dict[str, Course]:
    """Each account, and its course. What else is charged belongs to none. Two queries."""
    known = {one.pk: one for one in strictly(Course.objects).only("slug", "title")}
    found = {account_of(key): course for key, course in known.items()}
    for line_item, course in Assignment.objects.values_list("line_item", "course"):
        found[account_of_item(line_item)] = known[course]
    return found


def of(course: Course) -> list[str]:
    """One course's accounts. One query."""
    items = Assignment.objects.filter(course=course).values_list("line_item", flat=True)
    return [account_of(course.pk), *(account_of_item(item) for item in items)]
