"""The run of autograding: progress, pace, failures by kind, pass rates, versions, the log of one; stop and go on."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from classroom import enter, run
from classroom.access import Act
from classroom.enter import Member, course_page
from classroom.queries import run as queries
from classroom.views.submissions import is_anonymous


@require_GET
@never_cache
@course_page(Act.REVIEW)
def grading_run(request: HttpRequest, me: Member, assignment: str) -> HttpResponse:
    """Follows by itself while something is graded; a script asks for the changing part alone."""
    found = enter.assignment(me, assignment)
    kind = request.GET.get("kind", "")
    context = {
        "me": me,
        "course": me.course,
        "assignment": found,
        "page": queries.page(me, found, kind=kind),
        "kind": kind,
        "anonymous": is_anonymous(request),
    }
    template = "teach/run_live.html" if request.htmx else "teach/run.html"  # type: ignore[attr-defined]
    return render(request, template, context)


@require_POST
@course_page(Act.AUTHOR)
def grading_move(request: HttpRequest, me: Member, assignment: str) -> HttpResponse:
    """stop or resume."""
    found = enter.assignment(me, assignment)
    act = {"stop": run.stop, "resume": run.resume}.get(request.POST.get("act", ""))
    if act is not None:
        act(found)
    return redirect("grading_run", me.course.slug, found.slug)


@require_GET
@course_page(Act.REVIEW)
def grading_log(request: HttpRequest, me: Member, assignment: str, autograding: int) -> HttpResponse:
    """One run: what it was made with, why it failed, its log."""
    found = enter.assignment(me, assignment)
    log = queries.log(me, found, autograding)
    if log is None:
        raise Http404
    context = {
        "me": me,
        "course": me.course,
        "assignment": found,
        "log": log,
        "run": log.run,
        "anonymous": is_anonymous(request),
    }
    return render(request, "teach/run_log.html", context)
