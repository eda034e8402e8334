"""The door of every page in a course: finds the course and what the person is in it, or there is no such page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import wraps
from typing import Any, Concatenate

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone

from classroom.access import Act, in_section, may
from classroom.middleware import set_time_zone
from classroom.models import Assignment, Course, Enrollment
from classroom.people.models import User

SEEN_EVERY = timedelta(minutes=5)


@dataclass(frozen=True)
class Member:
    """A person in a course, now."""

    course: Course
    enrollment: Enrollment
    user: User

    def may(self, act: str) -> bool:
        """Whether the person may do it here."""
        return may(self.enrollment.role, self.enrollment.state, Act(act))

    @property
    def teaches(self) -> bool:
        """Whether the course's making is theirs."""
        return self.may(Act.AUTHOR)

    @property
    def reviews(self) -> bool:
        """Whether they mark."""
        return self.may(Act.REVIEW)

    def looks_after(self, other: Enrollment) -> bool:
        """Whether that enrollment's work is theirs to read and mark."""
        return (
            other.course_id == self.course.pk
            and self.may(Act.REVIEW)
            and in_section(
                role=self.enrollment.role,
                section_id=self.enrollment.section_id,
                other_section_id=other.section_id,
            )
        )

    def students(self) -> QuerySet[Enrollment]:
        """The student enrollments that they look after, dropped ones left out. Nobody for who does not mark."""
        mine = Enrollment.objects.filter(course=self.course, role=Enrollment.Role.STUDENT)
        mine = mine.exclude(state=Enrollment.State.DROPPED)
        if not self.may(Act.REVIEW):
            return mine.none()
        if self.enrollment.role == Enrollment.Role.TA and self.enrollment.section_id is not None:
            return mine.filter(section=self.enrollment.section_id)
        return mine

    def people(self) -> QuerySet[User]:
        """The users behind `students()`: what `grading.review.queue` takes."""
        return User.objects.filter(pk__in=self.students().values("user"))


def member(user: User, slug: str, act: Act) -> Member:
    """The person's part in the course. Raises Http404 for a stranger, PermissionDenied for a member who may not."""
    found = Enrollment.objects.select_related("course").filter(user=user, course__slug=slug).first()
    if found is None or found.state == Enrollment.State.DROPPED:
        raise Http404
    if not may(found.role, found.state, act):
        raise PermissionDenied
    _seen(found)
    return Member(course=found.course, enrollment=found, user=user)


def _seen(enrollment: Enrollment) -> None:
    """Notes the visit, at most once in SEEN_EVERY; whoever was invited and comes is in."""
    now = timezone.now()
    if enrollment.last_seen_at is None or enrollment.last_seen_at < now - SEEN_EVERY:
        Enrollment.objects.filter(pk=enrollment.pk).update(last_seen_at=now)
        enrollment.last_seen_at = now
    if enrollment.state == Enrollment.State.INVITED:
        invited = Enrollment.objects.filter(pk=enrollment.pk, state=Enrollment.State.INVITED)
        invited.update(state=Enrollment.State.ACTIVE, joined_at=now)
        enrollment.state = Enrollment.State.ACTIVE


type View[**P] = Callable[Concatenate[HttpRequest, Member, P], HttpResponse]


def course_page[**P](act: Act) -> Callable[[View[P]], Callable[..., HttpResponse]]:
    """Turns `view(request, me, …)` into a page below `c/<slug:course>/`, for those who may `act` there.

    Times are said in the person's zone, else in the course's. `request.member` is there for templates.
    """

    def decorate(view: View[P]) -> Callable[..., HttpResponse]:
        @login_required
        @wraps(view)
        def page(request: HttpRequest, course: str, *args: Any, **kwargs: Any) -> HttpResponse:
            user = request.user
            if not isinstance(user, User):
                raise TypeError("login_required let an anonymous person through")
            me = member(user, course, act)
            if not user.time_zone:
                set_time_zone(me.course.time_zone)
            request.member = me  # type: ignore[attr-defined]
            return view(request, me, *args, **kwargs)

        return page

    return decorate


def assignment(me: Member, slug: str) -> Assignment:
    """The course's assignment. Raises Http404 where there is none, or where it is not yet for this person."""
    found = (
        Assignment.objects.select_related("course", "line_item", "profile", "release", "next_release")
        .filter(course=me.course, slug=slug)
        .first()
    )
    hidden = {Assignment.State.DRAFT, Assignment.State.SCHEDULED}
    if found is None or (found.state in hidden and not me.may(Act.PREVIEW)):
        raise Http404
    return found
