"""Marking: one submission's frozen copy, cell by cell, with scores and comments that are saved as they are typed."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.middleware.csp import get_nonce
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from classroom import mark as verb
from classroom.access import Act
from classroom.enter_submission import Handed, submission_page
from classroom.errors import ClassroomError
from classroom.hand_out import files_response
from classroom.queries import review as queries
from classroom.queries.study import released
from classroom.views.submissions import is_anonymous
from grading import review
from grading.errors import GradingError
from grading.models import GradeCell
from runtimes import storage


@require_GET
@never_cache
@submission_page(Act.REVIEW)
def review_page(request: HttpRequest, it: Handed) -> HttpResponse:
    """The submission, ready to be marked by keyboard alone."""
    context = {
        **_about(request, it),
        "sheet": queries.sheet(it.submission, nonce=str(get_nonce(request))),
        "place": queries.place(it.me, it.assignment, it.submission),
        "others": queries.visit(it.submission, it.me.user),
        "authors": list(it.submission.authors.order_by("display_name")),
        "returned": released(it.submission),
        "ready": it.submission.state in queries.FILTERS["done"],
    }
    return render(request, "review/submission.html", context)


@require_GET
@never_cache
@submission_page(Act.REVIEW)
def here(request: HttpRequest, it: Handed) -> HttpResponse:
    """Says that the person is still there, and who else is."""
    context = {**_about(request, it), "others": queries.visit(it.submission, it.me.user)}
    return render(request, "review/here.html", context)


@require_POST
@submission_page(Act.REVIEW)
def mark(request: HttpRequest, it: Handed, cell: int) -> HttpResponse:
    """Saves what was given to one cell; without a script, back to the cell."""
    found = GradeCell.objects.select_related("notebook").filter(pk=cell, notebook__release=it.submission.scored_by_id)
    grade_cell = found.first()
    if grade_cell is None:
        raise Http404
    problem: ClassroomError | GradingError | None = None
    try:
        verb.mark(it.submission, grade_cell, it.me.user, _given(request))
    except (ClassroomError, GradingError) as error:
        problem = error
    if not request.htmx:  # type: ignore[attr-defined]
        if problem is not None:
            messages.error(request, str(problem.user_message))
        return redirect(f"{_address(it)}#cell-{cell}")
    rows = review.marked_cells(it.submission)
    row = next(row for row in rows if row.cell.pk == cell)
    context = {**_about(request, it), "row": row, "problem": problem, "total": review.total_of(it.submission, rows)}
    return render(request, "review/saved.html", context)


@require_POST
@submission_page(Act.REVIEW)
def finish(request: HttpRequest, it: Handed) -> HttpResponse:
    """Marks the submission as reviewed, or opens it again; `then=next` goes on to the next one that waits."""
    try:
        if "reopen" in request.POST:
            review.reopen(it.submission)
        else:
            review.finish(it.submission, it.me.user)
    except GradingError as error:
        messages.error(request, str(error.user_message))
        return redirect(_address(it))
    following = queries.place(it.me, it.assignment, it.submission).next_to_mark
    if request.POST.get("then") != "next" or "reopen" in request.POST:
        return redirect(_address(it))
    if not following:
        messages.success(request, _("Everything is marked."))
        return redirect("submissions", it.assignment.course.slug, it.assignment.slug)
    return redirect("review", following)


@require_GET
@submission_page(Act.REVIEW)
def files(request: HttpRequest, it: Handed) -> HttpResponse:
    """What was handed in, byte for byte."""
    name = f"{it.assignment.slug}-{it.submission.code}"
    return files_response(name, storage.read_snapshot(it.submission.snapshot))


def _address(it: Handed) -> str:
    return reverse("review", args=[it.submission.code])


def _about(request: HttpRequest, it: Handed) -> dict[str, Any]:
    return {
        "it": it,
        "me": it.me,
        "submission": it.submission,
        "assignment": it.assignment,
        "course": it.assignment.course,
        "anonymous": is_anonymous(request),
    }


def _given(request: HttpRequest) -> verb.Given:
    def number(name: str) -> int:
        text = request.POST.get(name, "")
        return int(text) if text.isdecimal() else 0

    return verb.Given(
        manual_score=verb.points(request.POST.get("score", "")),
        extra_credit=verb.points(request.POST.get("extra", "")),
        comment=request.POST.get("comment", ""),
        seen_mark=number("seen_mark"),
        seen_comment=number("seen_comment"),
    )
