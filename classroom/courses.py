"""A course made, archived and opened again; its assignments put in order."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import transaction
from django.utils import timezone

from classroom.models import Assignment, Course, Enrollment, Work
from classroom.people.models import User
from grading.models import LineItem
from runtimes.bus import publish_on_commit


def create(*, slug: str, title: str, term: str, time_zone: str, by: User) -> Course:
    """A course with `by` as its teacher. Who may is the caller's question (permission classroom.add_course)."""
    with transaction.atomic():
        course = Course.objects.create(slug=slug, title=title, term=term, time_zone=time_zone, created_by=by)
        Enrollment.objects.create(course=course, user=by, role=Enrollment.Role.TEACHER, last_seen_at=timezone.now())
    return course


def archive(course: Course, *, archived: bool) -> None:
    """Nothing can be changed or handed in any more, and everyone can still read; or the way back."""
    moved = Course.objects.filter(pk=course.pk, archived_at__isnull=archived)
    with transaction.atomic():
        if moved.update(archived_at=timezone.now() if archived else None):
            for slug in Work.objects.filter(assignment__course=course).values_list("workspace__slug", flat=True):
                publish_on_commit(f"access:{slug}")


def count_days_there(course: Course) -> None:
    """Days late are counted by the clock of the course's time zone: to be called after that has changed."""
    items = Assignment.objects.filter(course=course).values("line_item")
    LineItem.objects.filter(pk__in=items).update(time_zone=course.time_zone)


def put_in_order(course: Course, places: Mapping[int, tuple[int, str]]) -> None:
    """Gives assignments (by primary key) a position and a unit; those of other courses are left alone."""
    with transaction.atomic():
        for pk, (position, unit) in places.items():
            Assignment.objects.filter(pk=pk, course=course).update(position=position, unit=unit)
