"""One person in a course: role, section, accommodations, extensions."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from classroom import forms_time, roster
from classroom.access import Act
from classroom.enter import Member, course_page
from classroom.errors import ClassroomError
from classroom.extend import accommodate, accommodating, extend, extending, take_back, taking_back
from classroom.forms_people import AccommodationForm, ExtensionForm, MemberForm
from classroom.invite import awaits
from classroom.models import Enrollment, Section
from classroom.queries import people as queries
from classroom.views.publish import agreed


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
    return _page(request, me, found, form)


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
    request: HttpRequest, me: Member, found: Enrollment, form: MemberForm | None = None, **more: Any
) -> HttpResponse:
    """The person's page; `more` are the forms that were sent, and what they would do to what was handed in."""
    context: dict[str, Any] = {
        "me": me,
        "course": me.course,
        "person": found,
        "awaits": awaits(found.user),
        "form": form or MemberForm(enrollment=found),
        "extension_form": ExtensionForm(course=me.course),
        "accommodation_form": AccommodationForm(enrollment=found),
        "extensions": queries.extensions(found),
        "dates": queries.own_dates(found),
        "sections": Section.objects.filter(course=me.course),
    } | more
    forms = [context[name] for name in ("form", "extension_form", "accommodation_form")]
    asks = any(name in more for name in ("extension_effects", "accommodation_effects", "back_effects"))
    status = 422 if asks or any(one.errors for one in forms) else 200
    return render(request, "teach/person.html", context, status=status)


@require_POST
@course_page(Act.PEOPLE)
def extension(request: HttpRequest, me: Member, enrollment: int) -> HttpResponse:
    """Gives a later due date or more attempts, or others in their place."""
    found = _found(me, enrollment)
    form = ExtensionForm(request.POST, course=me.course)
    if not form.is_valid():
        return _page(request, me, found, extension_form=form)
    said = form.cleaned_data
    effects = extending(said["assignment"], found.user, said["due_at"])
    if not agreed(request, effects):
        return _page(request, me, found, extension_form=form, extension_effects=effects)
    more = {name: said[name] for name in ("due_at", "more_attempts", "reason")}
    extend(said["assignment"], found.user, by=me.user, **more)
    for note in forms_time.notes(form):
        messages.info(request, note)
    words = {"name": found.user, "title": said["assignment"]}
    messages.success(
        request,
        _("%(name)s has more time for %(title)s.") % words
        if said["due_at"]
        else _("%(name)s has more attempts at %(title)s.") % words,
    )
    return redirect("person", me.course.slug, found.pk)


@require_POST
@course_page(Act.PEOPLE)
def extension_back(request: HttpRequest, me: Member, enrollment: int, extension: int) -> HttpResponse:
    """Takes an extension back: everyone's due date holds again."""
    found = _found(me, enrollment)
    effects = taking_back(me.course, found.user, extension)
    if not agreed(request, effects):
        return _page(request, me, found, back_effects=effects, back=extension)
    if take_back(me.course, found.user, extension):
        messages.success(request, _("The extension is taken back."))
    return redirect("person", me.course.slug, found.pk)


@require_POST
@course_page(Act.PEOPLE)
def accommodation(request: HttpRequest, me: Member, enrollment: int) -> HttpResponse:
    """Sets the person's standing accommodation: later dates in all of the course."""
    found = _found(me, enrollment)
    form = AccommodationForm(request.POST, enrollment=found)
    if not form.is_valid():
        return _page(request, me, found, accommodation_form=form)
    effects = accommodating(found, form.allowance)
    if not agreed(request, effects):
        return _page(request, me, found, accommodation_form=form, accommodation_effects=effects)
    accommodate(found, form.allowance)
    messages.success(
        request,
        _("%(name)s has more time in every assignment of this course, those to come included.") % {"name": found.user}
        if form.allowance
        else _("Everyone's due dates hold for %(name)s.") % {"name": found.user},
    )
    return redirect("person", me.course.slug, found.pk)
