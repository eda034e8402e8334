"""The course that a folder is imported into, and who takes the responsibility."""

from __future__ import annotations

from classroom import courses
from classroom.models import Course, Enrollment
from classroom.people.models import User


class CannotImport(Exception):
    """There is no course, or nobody to teach it. `str()` says what to type instead."""


def course_for(slug: str, *, title: str, teacher: str, time_zone: str) -> tuple[Course, User]:
    """The course, made if there is none, and the teacher under whose name marks are taken over. Raises CannotImport.

    `teacher` is a user name or an email; "" is the first teacher of a course that exists.
    """
    course = Course.objects.filter(slug=slug).first()
    by = _person(teacher) if teacher else _first_teacher(course)
    if by is None:
        wanted = (
            f"Nobody here is called {teacher!r}." if teacher else f"There is no course {slug!r} with a teacher yet."
        )
        raise CannotImport(
            f"{wanted} Say who teaches it: --teacher USERNAME (manage.py createsuperuser makes a first account)."
        )
    if course is None:
        return courses.create(slug=slug, title=title or slug, term="", time_zone=time_zone, by=by), by
    return course, by


def _person(name: str) -> User | None:
    people = User.objects.filter(is_active=True)
    return people.filter(username=name).first() or people.filter(email__iexact=name).first()


def _first_teacher(course: Course | None) -> User | None:
    if course is None:
        return None
    teaching = Enrollment.objects.select_related("user").filter(course=course, role=Enrollment.Role.TEACHER)
    first = teaching.exclude(state=Enrollment.State.DROPPED).order_by("pk").first()
    return first.user if first else None
