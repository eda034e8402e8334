"""What a teacher sees of the people in a course."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db import models
from django.db.models import Case, Value, When
from django.db.models.functions import Lower

from classroom.deadlines import Dates
from classroom.invite import awaits
from classroom.models import Assignment, Course, Enrollment, Extension, Section
from classroom.terms import terms_of_all

_RANK = {Enrollment.Role.TEACHER: 0, Enrollment.Role.TA: 1, Enrollment.Role.READER: 2, Enrollment.Role.STUDENT: 3}


@dataclass(frozen=True)
class People:
    """A course's people: those who are in it and those who left."""

    inside: Sequence[Enrollment]
    left: Sequence[Enrollment]
    sections: Sequence[Section]

    @property
    def waiting(self) -> list[Enrollment]:
        """Who has not chosen a password yet, nor signed in with Google."""
        return [enrollment for enrollment in self.inside if awaits(enrollment.user)]


def people(course: Course) -> People:
    """Staff first, then students by section and name. Two queries."""
    rank = Case(*[When(role=role, then=Value(place)) for role, place in _RANK.items()], default=Value(9))
    found = list(
        Enrollment.objects.all()
        .fetch_mode(models.FETCH_RAISE)
        .select_related("user", "section", "course")
        .filter(course=course)
        .order_by(rank, "section__name", Lower("user__display_name"), "user__username")
    )
    return People(
        inside=[one for one in found if one.state != Enrollment.State.DROPPED],
        left=[one for one in found if one.state == Enrollment.State.DROPPED],
        sections=list(Section.objects.all().fetch_mode(models.FETCH_RAISE).filter(course=course)),
    )


def person(course: Course, pk: int) -> Enrollment | None:
    """One enrollment of the course, whatever its state."""
    return (
        Enrollment.objects.all()
        .fetch_mode(models.FETCH_RAISE)
        .select_related("user", "section", "course")
        .filter(course=course, pk=pk)
        .first()
    )


def extensions(enrollment: Enrollment) -> list[Extension]:
    """The person's later due dates in this course, soonest first."""
    return list(
        Extension.objects.all()
        .fetch_mode(models.FETCH_RAISE)
        .select_related("assignment", "granted_by")
        .filter(user=enrollment.user_id, assignment__course=enrollment.course_id)
        .order_by("due_at")
    )


@dataclass(frozen=True)
class OwnDate:
    """What a standing accommodation and extensions make of one assignment's dates."""

    assignment: Assignment
    dates: Dates


def own_dates(enrollment: Enrollment) -> list[OwnDate]:
    """The assignments in which the person's due date is not everyone's, soonest first. Four queries."""
    assignments = list(
        Assignment.objects.all()
        .fetch_mode(models.FETCH_RAISE)
        .select_related("course")
        .filter(course=enrollment.course_id, due_at__isnull=False, line_item__graded=True)
    )
    terms = terms_of_all(enrollment.user, assignments)
    found = [OwnDate(one, terms[one.pk]) for one in assignments if terms[one.pk].own]
    return sorted(found, key=lambda row: (row.dates.due_at is None, row.dates.due_at))


def of_users(course: Course, users: Sequence[int]) -> list[Enrollment]:
    """The present enrollments of these users."""
    return list(
        Enrollment.objects.all()
        .fetch_mode(models.FETCH_RAISE)
        .select_related("user", "section", "course")
        .filter(course=course, user__in=users)
        .exclude(state=Enrollment.State.DROPPED)
        .order_by("section__name", Lower("user__display_name"))
    )
