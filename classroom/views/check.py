"""Check: the tests that a student sees, run over their work; what came of it, cell by cell."""

from __future__ import annotations

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from classroom import rehearse as verb
from classroom.enter_work import Inside, work_page
from classroom.errors import ClassroomError
from classroom.queries import check as queries
from grading.errors import GradingError
from runtimes.errors import RuntimesError


@require_http_methods(["GET", "POST"])
@never_cache
@work_page(own=True)
def check(request: HttpRequest, place: Inside) -> HttpResponse:
    """A POST asks for a check, or for the one that runs already; a GET says how far it is."""
    work, problem = place.work, ""
    if request.method == "POST":
        if not place.writes or not work.assignment.line_item.graded:
            raise PermissionDenied
        try:
            verb.check(work)
        except (ClassroomError, GradingError, RuntimesError) as error:
            problem = str(error.user_message)
        if not problem and not request.htmx:  # type: ignore[attr-defined]
            return redirect("check", work.workspace.slug)
    context = {
        "place": place,
        "work": work,
        "workspace": work.workspace,
        "assignment": work.assignment,
        "course": work.assignment.course,
        "last": queries.last(work),
        "problem": problem,
    }
    if not request.htmx:  # type: ignore[attr-defined]
        return render(request, "study/check_page.html", context)
    return render(request, "study/check_asked.html" if request.method == "POST" else "study/check.html", context)
