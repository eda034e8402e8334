"""One person in a course: role, section, accommodations, extensions."""

from __future__ import annotations

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from classroom import forms_time, roster
from classroom.access import Act
from classroom.enter import Member, course_page
from classroom.errors import ClassroomError
from classroom.extend import extend, take_back
from classroom.forms_people import ExtensionForm, MemberForm
from classroom.invite import awaits
from classroom.models import Enrollment, Section
from classroom.queries import people as queries


def _found(me: Member, pk: int) -> Enrollment:
    found = queries.person(me.course, pk)
    if found is None:
        raise Http404
    return found


@require_http_methods(["GET", "HEAD", "POST"])
@course_page(Act.PEOPLE)
def person(request: HttpRequest, me: Member, enrollment: int) -> HttpResponse:
    """Shows and changes one person's part in the course."""
    found = _found(me, enrollment)
    form = MemberForm(request.POST or None, enrollment=found)
    if request.method == "POST" and form.is_valid() and _change(request, me, found, form):
        return redirect("person", me.course.slug, found.pk)
    return _page(request, me, found, form, ExtensionForm(course=me.course))


def _change(request: HttpRequest, me: Member, found: Enrollment, form: MemberForm) -> bool:
    if found.user_id == me.user.pk and form.cleaned_data["role"] != found.role:
        form.add_error("role", _("This is you: you cannot change your own role."))
        return False
    try:
        roster.move(found, role=form.cleaned_data["role"], section=form.section(me.course))
    except ClassroomError as error:
        form.add_error("role", str(error.user_message))
        return False
    messages.success(request, _("Saved."))
    return True


def _page(
    request: HttpRequest, me: Member, found: Enrollment, form: MemberForm, extension_form: ExtensionForm
) -> HttpResponse:
    context = {
        "me": me,
        "course": me.course,
        "person": found,
        "awaits": awaits(found.user),
        "form": form,
        "extension_form": extension_form,
        "extensions": queries.extensions(found),
        "sections": Section.objects.filter(course=me.course),
    }
    return render(request, "teach/person.html", context, status=422 if form.errors or extension_form.errors else 200)


@require_POST
@course_page(Act.PEOPLE)
def extension(request: HttpRequest, me: Member, enrollment: int) -> HttpResponse:
    """Gives a later due date, or another one in its place."""
    found = _found(me, enrollment)
    form = ExtensionForm(request.POST, course=me.course)
    if not form.is_valid():
        return _page(request, me, found, MemberForm(enrollment=found), form)
    said = form.cleaned_data
    extend(said["assignment"], found.user, due_at=said["due_at"], reason=said["reason"], by=me.user)
    for note in forms_time.notes(form):
        messages.info(request, note)
    messages.success(
        request, _("%(name)s has more time for %(title)s.") % {"name": found.user, "title": said["assignment"]}
    )
    return redirect("person", me.course.slug, found.pk)


@require_POST
@course_page(Act.PEOPLE)
def extension_back(request: HttpRequest, me: Member, enrollment: int, extension: int) -> HttpResponse:
    """Takes an extension back: everyone's due date holds again for what is handed in from now on."""
    found = _found(me, enrollment)
    if take_back(me.course, found.user, extension):
        messages.success(request, _("The extension is taken back."))
    return redirect("person", me.course.slug, found.pk)
