"""The door of every page about one piece of work: whoever has no business in the workspace finds no such page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, wraps
from typing import Any, Concatenate

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse

from classroom.access import Act
from classroom.deadlines import Dates
from classroom.enter import Member, member
from classroom.launch import access_of
from classroom.middleware import set_time_zone
from classroom.models import Work
from classroom.people.models import User
from classroom.terms import terms_of
from runtimes.jupyter.hooks import Access


@dataclass(frozen=True)
class Inside:
    """A person in a piece of work, now: their own, their group's, or one they look after."""

    work: Work
    me: Member
    access: Access
    own: bool

    @cached_property
    def terms(self) -> Dates:
        """Which dates and how many attempts hold for the person."""
        return terms_of(self.work.assignment, self.me.user)

    @property
    def writes(self) -> bool:
        """Whether they may change it now."""
        return self.access.mode == "write"


type View[**P] = Callable[Concatenate[HttpRequest, Inside, P], HttpResponse]


def inside(user: User, slug: str) -> Inside:
    """The person's place in the workspace. Raises Http404 for everyone who has none: nobody learns which exist."""
    work = (
        Work.objects.select_related(
            "assignment__course", "assignment__line_item", "workspace__profile", "release", "group"
        )
        .filter(workspace__slug=slug)
        .first()
    )
    if work is None:
        raise Http404
    me = member(user, work.assignment.course.slug, Act.READ)
    access = access_of(work, me.enrollment, user)
    if access is None:
        raise Http404
    own = work.members.filter(user=user).exists()
    return Inside(work=work, me=me, access=access, own=own)


def work_page[**P](*, own: bool = False) -> Callable[[View[P]], Callable[..., HttpResponse]]:
    """Turns `view(request, place, …)` into a page below `w/<slug:workspace>/`; `own`: for those whose work it is."""

    def decorate(view: View[P]) -> Callable[..., HttpResponse]:
        @login_required
        @wraps(view)
        def page(request: HttpRequest, workspace: str, *args: Any, **kwargs: Any) -> HttpResponse:
            user = request.user
            if not isinstance(user, User):
                raise TypeError("login_required let an anonymous person through")
            place = inside(user, workspace)
            if own and not place.own:
                raise PermissionDenied
            if not user.time_zone:
                set_time_zone(place.work.assignment.course.time_zone)
            request.member = place.me  # type: ignore[attr-defined]
            return view(request, place, *args, **kwargs)

        return page

    return decorate
