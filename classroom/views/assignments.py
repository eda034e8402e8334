"""An assignment from its files to its report: made, uploaded, checked, read."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django_htmx.http import retarget

from classroom import enter, publish
from classroom.access import Act
from classroom.body_limit import takes_files
from classroom.enter import Member, course_page
from classroom.errors import ClassroomError
from classroom.forms_assignments import NewAssignmentForm, UploadForm
from classroom.hand_out import files_response
from classroom.models import Assignment
from classroom.queries import assignment as queries
from classroom.uploads import files_of
from grading.models import Release
from grading.rendering import render as render_notebook
from runtimes import storage


@takes_files
@require_http_methods(["GET", "HEAD", "POST"])
@course_page(Act.AUTHOR)
def new(request: HttpRequest, me: Member) -> HttpResponse:
    """A new assignment or tutorial from its files."""
    form = NewAssignmentForm(request.POST or None, request.FILES or None, course=me.course)
    if request.method == "POST" and form.is_valid():
        made = _make(form, me)
        if made is not None:
            return redirect("teach_assignment", me.course.slug, made.slug)
    context = {"me": me, "course": me.course, "form": form}
    return render(request, "teach/assignment_new.html", context, status=422 if form.errors else 200)


def _make(form: NewAssignmentForm, me: Member) -> Assignment | None:
    """The assignment with its first version; None where the form now says why not."""
    said = form.cleaned_data
    try:
        # Read first: an upload that is refused leaves no empty assignment behind.
        files = files_of(said["uploads"])
        made = publish.create(
            me.course, slug=said["slug"], title=said["title"], unit=said["unit"], graded=said["kind"] == "assignment"
        )
        publish.upload(made, files, me.user)
    except ClassroomError as error:
        form.add_error("slug" if isinstance(error, publish.NameTaken) else "uploads", str(error.user_message))
        return None
    return made


def context_of(me: Member, found: Assignment, **more: Any) -> dict[str, Any]:
    """What the assignment's page and its parts show."""
    page = queries.page(me, found)
    upload = UploadForm()
    return {
        "me": me,
        "course": me.course,
        "assignment": found,
        "page": page,
        "report": page.report,
        "upload": upload,
    } | more


@require_GET
@course_page(Act.PREVIEW)
def assignment(request: HttpRequest, me: Member, assignment: str) -> HttpResponse:
    """The path from notebooks to feedback, each step with its state."""
    return render(request, "teach/assignment.html", context_of(me, enter.assignment(me, assignment)))


@require_GET
@course_page(Act.PREVIEW)
def check(request: HttpRequest, me: Member, assignment: str) -> HttpResponse:
    """The report while the solution runs; once it has ended, the whole path, whose other steps have moved too."""
    context = context_of(me, enter.assignment(me, assignment))
    if not request.htmx:  # type: ignore[attr-defined]
        return redirect("teach_assignment", me.course.slug, assignment)
    report = context["report"]
    if report is not None and report.running:
        return render(request, "teach/check.html", context)
    moved: HttpResponse = retarget(render(request, "teach/path.html", context), "#path")
    return moved


@takes_files
@require_POST
@course_page(Act.AUTHOR)
def upload(request: HttpRequest, me: Member, assignment: str) -> HttpResponse:
    """A new version. Students see nothing of it before it is published."""
    found = enter.assignment(me, assignment)
    form = UploadForm(request.POST, request.FILES)
    if form.is_valid():
        try:
            files = files_of(form.cleaned_data["uploads"])
            publish.upload(found, files, me.user, keep_others=form.cleaned_data["keep_others"])
            messages.success(request, _("The new version is uploaded. Students see nothing of it yet."))
            return redirect("teach_assignment", me.course.slug, found.slug)
        except ClassroomError as error:
            form.add_error("uploads", str(error.user_message))
    return render(request, "teach/assignment.html", context_of(me, found, upload=form), status=422)


@require_POST
@course_page(Act.AUTHOR)
def check_again(request: HttpRequest, me: Member, assignment: str) -> HttpResponse:
    """The same files once more as a new version: for a run that was unlucky, or a machine that was changed."""
    found = enter.assignment(me, assignment)
    try:
        publish.upload(found, {}, me.user, keep_others=True)
    except ClassroomError as error:
        messages.error(request, str(error.user_message))
    return redirect("teach_assignment", me.course.slug, found.slug)


def _release(found: Assignment, number: int) -> Release:
    release = (
        Release.objects.select_related("source", "student").filter(line_item=found.line_item_id, number=number).first()
    )
    if release is None:
        raise Http404
    return release


@require_GET
@course_page(Act.AUTHOR)
def source(request: HttpRequest, me: Member, assignment: str, number: int) -> HttpResponse:
    """A version's files as they were uploaded, with solutions."""
    found = enter.assignment(me, assignment)
    files = storage.read_snapshot(_release(found, number).source)
    if not files:
        raise Http404
    return files_response(f"{found.slug}-{number}", files)


@require_GET
@course_page(Act.AUTHOR)
def notebook(request: HttpRequest, me: Member, assignment: str, number: int, path: str) -> HttpResponse:
    """One notebook of a version, cell by cell: where the report's links lead."""
    found = enter.assignment(me, assignment)
    release = _release(found, number)
    files = storage.read_snapshot(release.source)
    if path not in files or not path.endswith(".ipynb"):
        raise Http404
    context = {
        "me": me,
        "course": me.course,
        "assignment": found,
        "release": release,
        "path": path,
        "cells": render_notebook(files[path], files, nonce=str(getattr(request, "csp_nonce", ""))),
        "problems": queries.problems_of(release, path),
    }
    return render(request, "teach/notebook.html", context)
