"""Regrades: tried on chosen attempts, watched, compared, approved or rejected; and points changed in a table."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django_htmx.http import retarget

from classroom import enter, publish
from classroom import regrade as verbs
from classroom.access import Act
from classroom.enter import Member, course_page
from classroom.errors import ClassroomError
from classroom.forms_regrade import PointsForm, RegradeForm
from classroom.models import Assignment
from classroom.queries import regrade as queries
from classroom.queries import run as runs
from grading import regrade as steps
from grading.errors import GradingError, NothingToApprove
from grading.models import GradeCell, LineItem, Regrade


@require_http_methods(["GET", "HEAD", "POST"])
@course_page(Act.AUTHOR)
def regrades(request: HttpRequest, me: Member, assignment: str) -> HttpResponse:
    """What can be tried on whom, and what was tried before."""
    found = enter.assignment(me, assignment)
    attempts = queries.attempts(me, found)
    form = RegradeForm(
        request.POST or None,
        versions=queries.versions(found),
        attempts=attempts,
        older=runs.older(me, found) if "older" in request.GET else None,
    )
    if request.method == "POST" and form.is_valid():
        try:
            reason = form.cleaned_data["reason"]
            started = verbs.start(found, form.release, form.submissions, me.user, reason=reason)
            return redirect("regrade", me.course.slug, found.slug, started.pk)
        except (ClassroomError, GradingError) as error:
            form.add_error(None, str(error.user_message))
    context = _about(me, found) | {"form": form, "attempts": attempts, "regrades": queries.regrades(found)}
    return render(request, "teach/regrades.html", context, status=422 if form.errors else 200)


@require_GET
@never_cache
@course_page(Act.AUTHOR)
def regrade(request: HttpRequest, me: Member, assignment: str, regrade: int) -> HttpResponse:
    """How far it is and what it would change; a script asks for the progress alone until it has ended."""
    found = enter.assignment(me, assignment)
    row = _regrade(found, regrade)
    if request.htmx and (going := queries.progress(row)).follows:  # type: ignore[attr-defined]
        context = _about(me, found) | {"page": going, "regrade": row}
        return render(request, "teach/regrade_progress.html", context)
    context = _about(me, found) | _shown(request, queries.page(me, found, row)) | {"regrade": row}
    if request.htmx:  # type: ignore[attr-defined]
        ended: HttpResponse = retarget(render(request, "teach/regrade_all.html", context), "#regrade")
        return ended
    return render(request, "teach/regrade.html", context)


def _shown(request: HttpRequest, page: queries.Page) -> dict[str, Any]:
    """The part of the page that was asked for: of one kind, of a name, so many at a time."""
    which, who = request.GET.get("show", ""), request.GET.get("who", "")[:100]
    rows = page.counted.students if which == "counted" else page.narrowed(which, who)
    return {
        "page": page,
        "part": Paginator(rows, queries.PAGE).get_page(request.GET.get("page")),
        "taken": Paginator(page.changes, queries.PAGE).get_page(request.GET.get("taken")),
        "which": which,
        "who": who,
        "keeps_best": page.regrade.line_item.keep == LineItem.Keep.BEST,
    }


@require_POST
@course_page(Act.AUTHOR)
def regrade_move(request: HttpRequest, me: Member, assignment: str, regrade: int) -> HttpResponse:
    """approve, approve_all, reject, stop, resume, again or include; what cannot be done is said.

    Ticks of the page are kept with each. With `page` instead of an act, that page is gone to.
    """
    found = enter.assignment(me, assignment)
    row = _regrade(found, regrade)
    act = request.POST.get("act", "")
    if me.course.archived_at is None:
        steps.tick(row, verbs.ticks(request.POST.get("on_page", ""), request.POST.getlist("chosen")))
    if me.course.archived_at is not None and act not in {"stop", "reject"}:
        messages.error(request, str(publish.CourseArchived.user_message))
    elif act in {"approve", "approve_all"}:
        _approve(request, me, row)
    elif act == "reject":
        if steps.reject(row, me.user):
            messages.success(request, _("Nothing more is taken over. What was approved before stays."))
        else:
            messages.error(request, str(NothingToApprove.user_message))
    elif act in _MOVES:
        _MOVES[act](row)
    elif act == "include":
        newer = [one.submission for one in queries.page(me, found, row).newer]
        verbs.include(row, newer)
    place = {name: request.POST[name] for name in ("show", "who", "page") if request.POST.get(name)}
    address = reverse("regrade", args=[me.course.slug, found.slug, row.pk])
    return redirect(f"{address}?{urlencode(place)}" if place else address)


_MOVES = {"stop": steps.stop, "resume": verbs.resume, "again": verbs.again}


def _approve(request: HttpRequest, me: Member, row: Regrade) -> None:
    reason, for_later = request.POST.get("reason", ""), "for_later" in request.POST
    try:
        if request.POST["act"] == "approve_all":
            shown = request.POST.get("digest", "")
            done = verbs.approve_all(row, me.user, shown=shown, reason=reason, for_later=for_later)
        else:
            chosen = verbs.fingerprints(request.POST.getlist("chosen"))
            done = verbs.approve(row, me.user, chosen, reason=reason, for_later=for_later)
    except (ClassroomError, GradingError) as error:
        messages.error(request, str(error.user_message))
        return
    count = done.lines.count()
    text = ngettext("Approved: %(n)d score is taken over now.", "Approved: %(n)d scores are taken over now.", count)
    messages.success(request, text % {"n": count})


@require_http_methods(["GET", "HEAD", "POST"])
@course_page(Act.AUTHOR)
def points(request: HttpRequest, me: Member, assignment: str) -> HttpResponse:
    """Points of the newest version's cells; saving makes a version with these, and nothing counts by it yet."""
    found = enter.assignment(me, assignment)
    release = publish.newest(found)
    if release is None:
        raise Http404
    scored = GradeCell.objects.exclude(kind=GradeCell.Kind.ANSWER).filter(notebook__release=release)
    cells = list(scored.select_related("notebook").order_by("notebook__position", "position"))
    form = PointsForm(request.POST or None, cells=cells)
    if request.method == "POST" and form.is_valid():
        try:
            made = verbs.give_points(found, release, form.points, me.user)
        except ClassroomError as error:
            form.add_error(None, str(error.user_message))
        else:
            text = _("Version %(n)s has these points. It is checked now; then try it on what was handed in.")
            messages.success(request, text % {"n": made.number})
            return redirect("teach_assignment", me.course.slug, found.slug)
    context = _about(me, found) | {"form": form, "release": release}
    return render(request, "teach/points.html", context, status=422 if form.errors else 200)


def _regrade(found: Assignment, pk: int) -> Regrade:
    rows = Regrade.objects.select_related("release", "by", "decided_by", "line_item")
    row = rows.filter(pk=pk, line_item=found.line_item_id).first()
    if row is None:
        raise Http404
    return row


def _about(me: Member, found: Assignment) -> dict[str, Any]:
    return {"me": me, "course": me.course, "assignment": found}
