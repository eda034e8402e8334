"""Submit and its receipt. The page then follows by itself: queued, running, graded."""

from __future__ import annotations

import secrets

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from classroom import submit as verb
from classroom.access import Act
from classroom.enter_submission import Handed, submission_page
from classroom.enter_work import Inside, work_page
from classroom.errors import ClassroomError
from classroom.hand_out import file_response, files_response
from classroom.queries import notebook, receipt
from classroom.terms import terms_of
from grading.errors import GradingError
from grading.models import Submission
from runtimes import storage
from runtimes.errors import RuntimesError


@require_POST
@work_page(own=True)
def submit(request: HttpRequest, place: Inside) -> HttpResponse:
    """Freezes the work as it is on the server. A double click or a repeated request gives the same receipt."""
    if not place.me.may(Act.SUBMIT):
        raise PermissionDenied
    key = request.POST.get("request_key", "")[:64] or secrets.token_urlsafe(16)
    try:
        handed_in = verb.submit(place.work, place.me.user, request_key=key)
    except (ClassroomError, GradingError, RuntimesError) as error:
        return _refused(request, place, str(error.user_message))
    if not request.htmx:  # type: ignore[attr-defined]
        return redirect("receipt", handed_in.submission.code)
    return _taken(request, place, handed_in)


def _taken(request: HttpRequest, place: Inside, handed_in: verb.HandedIn) -> HttpResponse:
    submission = _fresh(handed_in.submission)
    context = {
        "progress": receipt.progress(place.work.assignment, submission),
        "terms": receipt.terms(place.work.assignment, submission, place.terms),
        "submission": submission,
        "assignment": place.work.assignment,
        "work": place.work,
        "workspace": place.work.workspace,
        "bar": notebook.bar_state(place.work, place.me.user, place.terms),
        "submits": True,
        "oob": True,
        "findings": notebook.findings_in(submission, place.work),
        "lacking": receipt.lacking(submission),
        "request_key": secrets.token_urlsafe(16),
    }
    return render(request, "study/handed_in.html", context)


def _refused(request: HttpRequest, place: Inside, why: str) -> HttpResponse:
    if request.htmx:  # type: ignore[attr-defined]
        return render(request, "study/refused.html", {"why": why, "workspace": place.work.workspace})
    messages.error(request, why)
    return redirect("hand_in", place.work.workspace.slug)


def _fresh(submission: Submission) -> Submission:
    """The row as it is now, with what a receipt shows of it."""
    return Submission.objects.select_related("line_item", "feedback", "snapshot", "release", "correction").get(
        pk=submission.pk
    )


@require_GET
@never_cache
@submission_page(Act.READ)
def receipt_page(request: HttpRequest, it: Handed) -> HttpResponse:
    """The receipt, and how far grading is."""
    context = {
        "it": it,
        "submission": it.submission,
        "assignment": it.assignment,
        "course": it.assignment.course,
        "files": receipt.files(it.submission),
        "lacking": receipt.lacking(it.submission),
        "progress": receipt.progress(it.assignment, it.submission),
        "terms": receipt.terms(it.assignment, it.submission, terms_of(it.assignment, it.me.user)),
        "attempts": _attempts(it),
    }
    return render(request, "study/receipt.html", context)


@require_GET
@never_cache
@submission_page(Act.READ)
def receipt_state(request: HttpRequest, it: Handed) -> HttpResponse:
    """How far grading is, to be swapped in place until it stops moving."""
    context = {"submission": it.submission, "progress": receipt.progress(it.assignment, it.submission)}
    return render(request, "study/progress.html", context)


@require_GET
@submission_page(Act.READ)
def receipt_text(request: HttpRequest, it: Handed) -> HttpResponse:
    """The receipt as a text file, for one's own records."""
    context = {
        "submission": it.submission,
        "assignment": it.assignment,
        "course": it.assignment.course,
        "files": receipt.files(it.submission),
        "lacking": receipt.lacking(it.submission),
        "run": receipt.graded_with(it.submission),
        "terms": receipt.terms(it.assignment, it.submission, terms_of(it.assignment, it.me.user)),
        "authors": it.submission.authors.order_by("display_name", "username"),
    }
    text = render_to_string("study/receipt.txt", context, request)
    return file_response(f"receipt-{it.submission.code}.txt", text.encode(), "text/plain; charset=utf-8")


@require_GET
@submission_page(Act.READ)
def receipt_files(request: HttpRequest, it: Handed) -> HttpResponse:
    """What was handed in, byte for byte."""
    name = f"{it.assignment.slug}-{it.submission.code}"
    return files_response(name, storage.read_snapshot(it.submission.snapshot))


def _attempts(it: Handed) -> list[Submission]:
    mine = Submission.objects.filter(line_item=it.submission.line_item_id, authorships__user=it.me.user)
    return list(mine.order_by("-received_at", "-pk"))
