"""Feedback as its authors read it: the notebook as handed in, with score and comment beside each graded cell."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.middleware.csp import get_nonce
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from classroom.access import Act
from classroom.enter_submission import Handed, submission_page
from classroom.hand_out import file_response
from classroom.queries import feedback as queries
from classroom.queries.study import released
from grading.models import Feedback

# A file that is opened from a disk has no headers: its policy is in it. Frames made of `srcdoc` inherit it.
FILE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; base-uri 'none'"


@require_GET
@submission_page(Act.READ)
def feedback_file(request: HttpRequest, it: Handed) -> HttpResponse:
    """The same as one file to keep: it loads nothing and runs nothing, wherever it is opened."""
    if not released(it.submission):
        return redirect("receipt", it.submission.code)
    context = {
        "submission": it.submission,
        "assignment": it.assignment,
        "course": it.assignment.course,
        "page": queries.page(it.submission, nonce=""),
        "policy": FILE_POLICY,
    }
    text = render_to_string("study/feedback_file.html", context, request)
    return file_response(f"feedback-{it.submission.code}.html", text.encode(), "text/html; charset=utf-8")


@require_GET
@never_cache
@submission_page(Act.READ)
def feedback(request: HttpRequest, it: Handed) -> HttpResponse:
    """Scores and comments once they are returned; before that, the receipt says how far it is."""
    if not released(it.submission):
        return redirect("receipt", it.submission.code)
    Feedback.objects.filter(submission=it.submission, read_at=None).update(read_at=timezone.now())
    context = {
        "it": it,
        "submission": it.submission,
        "assignment": it.assignment,
        "course": it.assignment.course,
        "page": queries.page(it.submission, nonce=str(get_nonce(request))),
    }
    return render(request, "study/feedback.html", context)
