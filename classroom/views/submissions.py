"""The list of submissions: who handed in, how far each is, and feedback for one or all."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import ngettext
from django.views.decorators.http import require_GET, require_POST

from classroom import enter, give_back
from classroom.access import Act
from classroom.enter import Member, course_page
from classroom.queries import review as queries

ANONYMOUS = "anonymous"


def is_anonymous(request: HttpRequest) -> bool:
    """Whether the person marks without seeing names; their choice holds until they sign out."""
    return bool(request.session.get(ANONYMOUS))


@require_GET
@course_page(Act.REVIEW)
def submissions(request: HttpRequest, me: Member, assignment: str) -> HttpResponse:
    """The last attempts of those whom the person looks after."""
    found = enter.assignment(me, assignment)
    state, section = request.GET.get("state", ""), request.GET.get("section", "")
    context = {
        "me": me,
        "course": me.course,
        "assignment": found,
        "listing": queries.listing(me, found, state=state, section=section),
        "sections": queries.sections(me),
        "state": state if state in queries.FILTERS else "",
        "section": section,
        "anonymous": is_anonymous(request),
        "here": request.get_full_path(),
    }
    return render(request, "review/submissions.html", context)


@require_POST
@course_page(Act.RELEASE)
def return_feedback(request: HttpRequest, me: Member, assignment: str) -> HttpResponse:
    """Returns feedback, or takes it back: of one submission (`code`), or of all of those one looks after."""
    found = enter.assignment(me, assignment)
    code = request.POST.get("code", "")
    if "withdraw" in request.POST:
        count = give_back.withdraw(me, found, code=code)
        text = ngettext("Feedback of %(n)d submission taken back.", "Feedback of %(n)d submissions taken back.", count)
    else:
        count = give_back.release(me, found, code=code)
        text = ngettext("Feedback returned for %(n)d submission.", "Feedback returned for %(n)d submissions.", count)
    messages.success(request, text % {"n": count})
    return _back(request, me, assignment)


@require_POST
@course_page(Act.REVIEW)
def grade_again(request: HttpRequest, me: Member, assignment: str) -> HttpResponse:
    """Queues a new autograding of one submission, or of all that could not be graded."""
    found = enter.assignment(me, assignment)
    every, code = "every" in request.POST, request.POST.get("code", "")
    count = give_back.grade_again(me, found, code=code, every_attempt=every and not code)
    text = ngettext("%(n)d submission is graded again.", "%(n)d submissions are graded again.", count)
    messages.success(request, text % {"n": count})
    return _back(request, me, assignment)


@require_POST
@course_page(Act.REVIEW)
def anonymous(request: HttpRequest, me: Member, assignment: str) -> HttpResponse:
    """Shows or hides names."""
    request.session[ANONYMOUS] = not is_anonymous(request)
    return _back(request, me, assignment)


def _back(request: HttpRequest, me: Member, assignment: str) -> HttpResponse:
    target = request.POST.get("next", "")
    if not url_has_allowed_host_and_scheme(target, {request.get_host()}, require_https=request.is_secure()):
        target = reverse("submissions", args=[me.course.slug, assignment])
    return redirect(target)
