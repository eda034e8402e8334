"""Feedback as its authors read it: the notebook as handed in, with score and comment beside each graded cell."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.middleware.csp import get_nonce
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from classroom.access import Act
from classroom.enter_submission import Handed, submission_page
from classroom.queries import feedback as queries
from classroom.queries.study import released
from grading.models import Feedback


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
