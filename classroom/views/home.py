"""What is due, across courses."""

from __future__ import annotations

from datetime import UTC, datetime

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from classroom.models import Enrollment
from classroom.people.models import User
from classroom.queries import study, teach

_NEVER = datetime.max.replace(tzinfo=UTC)


@login_required
def home(request: HttpRequest) -> HttpResponse:
    """The signed-in person's start page: what is due, soonest first; what came back; their courses."""
    assert isinstance(request.user, User)
    courses = study.home_courses(request.user)
    studied = [one.course for one in courses if one.enrollment.role == Enrollment.Role.STUDENT]
    rows = study.rows(request.user, studied) if studied else []
    due = sorted((row for row in rows if row.still_to_do), key=lambda row: row.due_at or _NEVER)
    context = {
        "courses": courses,
        "studies": bool(studied),
        "due": due,
        "news": [row for row in rows if row.has_news],
        "archived": teach.archived(request.user),
        "may_create": request.user.has_perm("classroom.add_course"),
    }
    return render(request, "home.html", context)
