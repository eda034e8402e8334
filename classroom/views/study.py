"""A course as its students see it, and the buttons that open work."""

from __future__ import annotations

from datetime import timedelta

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from classroom import enter, launch
from classroom.access import Act
from classroom.enter import Member, course_page
from classroom.errors import WorkError
from classroom.models import Assignment
from classroom.queries import study
from classroom.queries.waiting import estimate_words
from runtimes import queue

SOON = timedelta(days=7)


@require_GET
@course_page(Act.READ)
def course(request: HttpRequest, me: Member) -> HttpResponse:
    """Units with their tutorials and assignments, in the teacher's order."""
    units = study.course_units(me.user, me.course)
    now = timezone.now()
    due_soon = sum(
        1
        for unit in units
        for row in unit.rows
        if row.still_to_do and row.due_at is not None and now < row.due_at <= now + SOON
    )
    return render(request, "study/course.html", {"me": me, "course": me.course, "units": units, "due_soon": due_soon})


@require_http_methods(["GET", "POST"])
@course_page(Act.READ)
def work(request: HttpRequest, me: Member, assignment: str) -> HttpResponse:
    """The person's work. A GET goes to it, or tells what would be opened; a POST makes it on first open."""
    found = enter.assignment(me, assignment)
    mine = launch.work_of(found, me.user)
    if mine is not None:
        return redirect("notebook", mine.workspace.slug)
    if not me.may(Act.LAUNCH):
        return _elsewhere(me, found)
    if request.method == "POST":
        try:
            return redirect("notebook", launch.open_work(found, me.user).workspace.slug)
        except WorkError as error:
            messages.error(request, str(error.user_message))
            return redirect("course", me.course.slug)
    row = next((row for row in study.rows(me.user, [me.course]) if row.assignment.pk == found.pk), None)
    crowd = queue.newcomer(found.profile)
    context = {
        "me": me, "course": me.course, "assignment": found, "row": row, "crowd": crowd,
        "crowd_estimate": estimate_words(crowd) if crowd else "",
    }  # fmt: skip
    return render(request, "study/work.html", context)


def _elsewhere(me: Member, found: Assignment) -> HttpResponse:
    """Those who teach have no work of their own here: theirs is the assignment's page."""
    if me.may(Act.PREVIEW):
        return redirect("teach_assignment", me.course.slug, found.slug)
    raise PermissionDenied


@require_POST
@course_page(Act.PREVIEW)
def preview(request: HttpRequest, me: Member, assignment: str) -> HttpResponse:
    """Opens a teacher's own try of what students get; with `afresh`, from the beginning."""
    found = enter.assignment(me, assignment)
    try:
        work = launch.preview(found, me.user, afresh="afresh" in request.POST)
    except WorkError as error:
        messages.error(request, str(error.user_message))
        return redirect("course", me.course.slug)
    return redirect("notebook", work.workspace.slug)
