"""The people of a course: a class list previewed and applied, invitations, one person's part."""

from __future__ import annotations

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from classroom import csv_out, invite, roster
from classroom.access import Act
from classroom.enter import Member, course_page
from classroom.errors import ClassroomError
from classroom.forms_people import ClassListForm, ConfirmListForm
from classroom.queries import people as queries
from classroom.roster_read import read


@require_GET
@course_page(Act.PEOPLE)
def people(request: HttpRequest, me: Member) -> HttpResponse:
    """Everyone, with role, section, and when they came and were last seen."""
    return render(request, "teach/people.html", {"me": me, "course": me.course, "people": queries.people(me.course)})


@require_GET
@course_page(Act.PEOPLE)
def export(request: HttpRequest, me: Member) -> HttpResponse:
    """The class list as CSV; what it says can be read back in."""
    header = ["email", "name", "role", "section", "state", "joined", "last_seen"]
    found = queries.people(me.course)
    rows = [
        [
            one.user.email,
            one.user.get_full_name(),
            one.role,
            one.section.name if one.section else "",
            one.state,
            one.joined_at,
            one.last_seen_at,
        ]
        for one in found.inside
    ]
    return csv_out.download(f"{me.course.slug}-people", header, rows)


#: A class list. The words of its columns and roles are not translated: they are what a file must say.
EXAMPLE = """email,name,role,section
ada@example.org,Ada Lovelace,student,A
ben@example.org,"Baker, Ben",student,B
tim@example.org,Tim Tutor,ta,A"""


@require_http_methods(["GET", "HEAD", "POST"])
@course_page(Act.PEOPLE)
def add(request: HttpRequest, me: Member) -> HttpResponse:
    """Takes a class list and shows what it would do. Nothing is applied here."""
    form = ClassListForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        return _preview(request, me, form.cleaned_data["text"], note=form.note)
    context = {"me": me, "course": me.course, "form": form, "example": EXAMPLE}
    return render(request, "teach/people_add.html", context, status=422 if form.errors else 200)


def _preview(request: HttpRequest, me: Member, text: str, *, note: str = "") -> HttpResponse:
    class_list = read(text)
    plan = roster.plan(me.course, class_list, me.user)
    form = ConfirmListForm(initial={"text": text, "digest": plan.digest, "mail": True})
    context = {
        "me": me,
        "course": me.course,
        "list": class_list,
        "plan": plan,
        "form": form,
        "again": ClassListForm(initial={"text": text}),
        "notes": [*([note] if note else []), *class_list.notes],
        "dropping": request.POST.getlist("drop"),
    }
    return render(request, "teach/people_preview.html", context, status=422 if class_list.problem else 200)


@require_POST
@course_page(Act.PEOPLE)
def confirm(request: HttpRequest, me: Member) -> HttpResponse:
    """Applies the list as it was previewed; where the course has changed meanwhile, previews it again."""
    text = request.POST.get("text", "")
    class_list = read(text)
    missing = [one.pk for one in roster.plan(me.course, class_list, me.user).missing]
    form = ConfirmListForm(request.POST, missing=missing)
    if not form.is_valid():
        messages.error(request, str(roster.RosterChanged.user_message))
        return _preview(request, me, text)
    said = form.cleaned_data
    try:
        done = roster.apply(me.course, class_list, by=me.user, digest=said["digest"], drop=said["drop"])
    except ClassroomError as error:
        messages.warning(request, str(error.user_message))
        return _preview(request, me, text)
    mailed = roster.invite(me.course, done.new, me.user) if said["mail"] else 0
    messages.success(request, _summary(done, mailed))
    return redirect("people", me.course.slug)


def _summary(done: roster.Applied, mailed: int) -> str:
    parts = [
        ngettext("%(n)d person joined", "%(n)d people joined", done.joined) % {"n": done.joined},
        ngettext("%(n)d came back", "%(n)d came back", done.returned) % {"n": done.returned} if done.returned else "",
        ngettext("%(n)d moved", "%(n)d moved", done.moved) % {"n": done.moved} if done.moved else "",
        ngettext("%(n)d dropped", "%(n)d dropped", done.dropped) % {"n": done.dropped} if done.dropped else "",
        ngettext("%(n)d invitation is on its way", "%(n)d invitations are on their way", mailed) % {"n": mailed}
        if mailed
        else "",
    ]
    return ", ".join(part for part in parts if part) + "."


@never_cache
@require_POST
@course_page(Act.PEOPLE)
def invitations(request: HttpRequest, me: Member) -> HttpResponse:
    """A link for everyone who waits for one: mailed, or on a sheet to print. `who` limits it to one enrollment."""
    waiting = [one for one in queries.people(me.course).waiting if request.POST.get("who", str(one.pk)) == str(one.pk)]
    if request.POST.get("how") == "print" and waiting:
        slips = [(one, invite.issue(one.user, me.user, on_paper=True)) for one in waiting]
        return render(request, "teach/invitations.html", {"me": me, "course": me.course, "slips": slips})
    count = roster.invite(me.course, [one.user for one in waiting], me.user)
    messages.success(
        request,
        ngettext("%(n)d invitation is on its way.", "%(n)d invitations are on their way.", count) % {"n": count}
        if count
        else _("Nobody waits for an invitation."),
    )
    return redirect("people", me.course.slug)


@require_POST
@course_page(Act.PEOPLE)
def drop(request: HttpRequest, me: Member, enrollment: int) -> HttpResponse:
    """Takes someone out of the course, or brings them back."""
    found = queries.person(me.course, enrollment)
    if found is None:
        raise Http404
    try:
        if request.POST.get("how") == "return":
            roster.move(found, role=found.role, section=found.section)
            messages.success(request, _("%(name)s is back in the course.") % {"name": found.user})
        elif found.user_id == me.user.pk:
            messages.error(request, _("This is you: another teacher has to take you out."))
        else:
            roster.drop(found)
            messages.success(
                request,
                _("%(name)s is out of the course. Their work and marks are kept; you can bring them back.")
                % {"name": found.user},
            )
    except ClassroomError as error:
        messages.error(request, str(error.user_message))
    return redirect("person", me.course.slug, found.pk)
