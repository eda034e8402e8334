"""An assignment published, planned, closed, opened again, set."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from classroom import enter, forms_time
from classroom import publish as verbs
from classroom.access import Act
from classroom.adjust import adjust, effects_of
from classroom.discard import discard, discardable
from classroom.enter import Member, course_page
from classroom.errors import ClassroomError
from classroom.forms_assignments import PublishForm
from classroom.forms_courses import ConfirmNameForm
from classroom.forms_settings import SettingsForm
from classroom.models import Assignment
from classroom.queries import assignment as queries
from classroom.queries import late
from classroom.redate import Effects
from classroom.templatetags.say import said
from grading.errors import GradingError


@require_http_methods(["GET", "HEAD", "POST"])
@course_page(Act.AUTHOR)
def publish(request: HttpRequest, me: Member, assignment: str) -> HttpResponse:
    """Says what will happen to how many people, then does it: now, or at a time."""
    found = enter.assignment(me, assignment)
    report = queries.report(found)
    if report is None or not report.publishable:
        messages.error(request, _("There is no version that can be published yet. Look at the report."))
        return redirect("teach_assignment", me.course.slug, found.slug)
    needs_anyway = report.check is not None and not report.full_marks
    dates_only = report.release.pk == found.release_id
    form = PublishForm(request.POST or None, assignment=found, needs_anyway=needs_anyway, dates_only=dates_only)
    effects = effects_of(found, form.cleaned_data) if request.method == "POST" and form.is_valid() else Effects()
    if request.method == "POST" and form.is_valid() and agreed(request, effects):
        if _publish(request, found, report, form):
            return redirect("teach_assignment", me.course.slug, found.slug)
        effects = Effects()
    context = {
        "me": me,
        "course": me.course,
        "assignment": found,
        "report": report,
        "form": form,
        "audience": queries.audience(me, found),
        "effects": effects,
    }
    return render(request, "teach/publish.html", context, status=422 if form.errors or effects else 200)


def _publish(request: HttpRequest, found: Assignment, report: queries.Report, form: PublishForm) -> bool:
    wanted, anyway = form.cleaned_data, bool(form.cleaned_data.get("anyway"))
    try:
        if form.dates_only:
            messages.success(request, _("The dates are saved."))
        elif wanted["when"] == "at":
            verbs.schedule(found, report.release, wanted["publish_at"], anyway=anyway)
            messages.success(request, _("It will be published %(when)s.") % {"when": said(wanted["publish_at"])})
        else:
            verbs.publish(found, report.release, anyway=anyway)
            messages.success(request, _("It is published."))
        adjust(found, {name: wanted[name] for name in ("due_at", "closes_at") if name in wanted})
    except (ClassroomError, GradingError) as error:
        form.add_error(None, str(error.user_message))
        return False
    for note in forms_time.notes(form):
        messages.info(request, note)
    return True


@require_POST
@course_page(Act.AUTHOR)
def move(request: HttpRequest, me: Member, assignment: str) -> HttpResponse:
    """close, reopen, unschedule or discard; what cannot be done is said."""
    found = enter.assignment(me, assignment)
    if request.POST.get("act") == "discard":
        return _discard(request, me, found)
    acts = {
        "close": (verbs.close, _("It is closed. Everyone keeps reading their own work.")),
        "reopen": (verbs.reopen, _("It is open again.")),
        "unschedule": (verbs.unschedule, _("It will not be published by itself any more.")),
    }
    if request.POST.get("act") in acts:
        act, words = acts[request.POST["act"]]
        try:
            act(found)
            messages.success(request, words)
        except ClassroomError as error:
            messages.error(request, str(error.user_message))
    return redirect("teach_assignment", me.course.slug, found.slug)


def _discard(request: HttpRequest, me: Member, found: Assignment) -> HttpResponse:
    confirm = ConfirmNameForm(request.POST, wanted=found.slug)
    if not confirm.is_valid():
        messages.error(request, _("That is not the name. Nothing was changed."))
        return redirect("assignment_settings", me.course.slug, found.slug)
    try:
        discard(found)
    except ClassroomError as error:
        messages.error(request, str(error.user_message))
        return redirect("teach_assignment", me.course.slug, found.slug)
    messages.success(request, _("The draft “%(title)s” is discarded.") % {"title": found.title})
    return redirect("teach_course", me.course.slug)


@require_http_methods(["GET", "HEAD", "POST"])
@course_page(Act.AUTHOR)
def settings(request: HttpRequest, me: Member, assignment: str) -> HttpResponse:
    """Dates, late work, attempts, machines, what students see."""
    found = enter.assignment(me, assignment)
    form = SettingsForm(request.POST or None, assignment=found)
    effects = effects_of(found, form.cleaned_data) if request.method == "POST" and form.is_valid() else Effects()
    if request.method == "POST" and form.is_valid() and agreed(request, effects):
        adjust(found, form.cleaned_data)
        for note in forms_time.notes(form):
            messages.info(request, note)
        messages.success(request, _("Saved."))
        return redirect("assignment_settings", me.course.slug, found.slug)
    context = {
        "me": me,
        "course": me.course,
        "assignment": found,
        "form": form,
        "effects": effects,
        "preview": late.preview(found) if found.line_item.graded else None,
        "confirm": ConfirmNameForm(wanted=found.slug) if discardable(found) else None,
    }
    return render(request, "teach/assignment_settings.html", context, status=422 if form.errors or effects else 200)


def agreed(request: HttpRequest, effects: Effects) -> bool:
    """Whether the person was shown just these effects and sent the form again, or there are none."""
    return not effects or request.POST.get("agreed") == effects.digest
