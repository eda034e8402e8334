"""The door of every page about one submission: its authors, or those who look after one of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, Concatenate

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse

from classroom.access import Act
from classroom.enter import Member, member
from classroom.middleware import set_time_zone
from classroom.models import Assignment
from classroom.people.models import User
from grading.models import Submission


@dataclass(frozen=True)
class Handed:
    """A submission, its assignment, and the person who looks at it."""

    submission: Submission
    assignment: Assignment
    me: Member


type View[**P] = Callable[Concatenate[HttpRequest, Handed, P], HttpResponse]


def handed(user: User, code: str, act: Act) -> Handed:
    """The submission for one of its authors (`act` is READ), or for those who look after one of them (any other act).

    Raises Http404 for everyone else: nobody learns which codes exist.
    """
    submission = (
        Submission.objects.select_related("line_item", "release", "correction", "snapshot", "feedback", "finished_by")
        .filter(code=code)
        .first()
    )
    assignment = (
        Assignment.objects.select_related("course", "line_item").filter(line_item=submission.line_item_id).first()
        if submission is not None
        else None
    )
    if submission is None or assignment is None:
        raise Http404
    me = member(user, assignment.course.slug, Act.READ)
    if not me.may(act) or not _theirs(submission, me, act):
        raise Http404
    return Handed(submission=submission, assignment=assignment, me=me)


def _theirs(submission: Submission, me: Member, act: Act) -> bool:
    if act == Act.READ:
        return submission.authorships.filter(user=me.user).exists()
    return submission.authorships.filter(user__in=me.people()).exists()


def submission_page[**P](act: Act) -> Callable[[View[P]], Callable[..., HttpResponse]]:
    """Turns `view(request, it, …)` into a page with a `code` in its address."""

    def decorate(view: View[P]) -> Callable[..., HttpResponse]:
        @login_required
        @wraps(view)
        def page(request: HttpRequest, code: str, *args: Any, **kwargs: Any) -> HttpResponse:
            user = request.user
            if not isinstance(user, User):
                raise TypeError("login_required let an anonymous person through")
            it = handed(user, code, act)
            if not user.time_zone:
                set_time_zone(it.assignment.course.time_zone)
            request.member = it.me  # type: ignore[attr-defined]
            return view(request, it, *args, **kwargs)

        return page

    return decorate
