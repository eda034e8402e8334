"""Groups of an assignment: made by the teacher, or formed by the students themselves."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods

from classroom import enter, group_list, group_list_read, group_many
from classroom import group as verbs
from classroom.access import Act
from classroom.enter import Member, course_page
from classroom.errors import ClassroomError
from classroom.forms_people import GroupListForm
from classroom.models import Assignment, Group
from classroom.people.models import User
from classroom.queries import groups as queries
from runtimes.errors import StorageError


@require_http_methods(["GET", "HEAD", "POST"])
@course_page(Act.AUTHOR)
def groups(request: HttpRequest, me: Member, assignment: str) -> HttpResponse:
    """Who works with whom. A POST's `act` is one of ACTS; what cannot be done is said, and nothing is changed.

    Or `list`, which shows what a list would do, and `confirm_list`, which does it.
    """
    found = enter.assignment(me, assignment)
    if not found.line_item.graded:
        raise Http404
    form = GroupListForm(request.POST, request.FILES) if request.POST.get("act") == "list" else GroupListForm()
    if request.method == "POST":
        if form.is_bound and form.is_valid():
            return _preview(request, me, found, form.cleaned_data["text"], note=form.note)
        if request.POST.get("act") == "confirm_list":
            return _confirm(request, me, found)
        act = ACTS.get(request.POST.get("act", ""))
        done = _tried(request, lambda: act(request, found)) if act else None
        if done is not None:
            messages.success(request, done)
            return redirect("groups", me.course.slug, found.slug)
    context = {"me": me, "course": me.course, "assignment": found, "page": queries.page(me, found), "form": form}
    return render(request, "teach/groups.html", context, status=422 if request.method == "POST" else 200)


def _preview(request: HttpRequest, me: Member, found: Assignment, text: str, *, note: str = "") -> HttpResponse:
    """What the list would do. Nothing is applied here."""
    read = group_list_read.read(text)
    context = {
        "me": me,
        "course": me.course,
        "assignment": found,
        "list": read,
        "plan": (plan := group_list.plan(found, read)),
        "text": text,
        "digest": plan.digest,
        "again": GroupListForm(initial={"text": text}),
        "note": note,
    }
    return render(request, "teach/groups_preview.html", context, status=422 if read.problem else 200)


def _confirm(request: HttpRequest, me: Member, found: Assignment) -> HttpResponse:
    """Applies the list as it was previewed; where groups have changed meanwhile, previews it again."""
    text = request.POST.get("text", "")
    read = group_list_read.read(text)
    if read.problem:
        return _preview(request, me, found, text)
    try:
        done = group_list.apply(found, read, digest=request.POST.get("digest", ""))
    except ClassroomError as error:
        messages.warning(request, str(error.user_message))
        return _preview(request, me, found, text)
    said = ngettext("%(n)d person is in a group now.", "%(n)d people are in their groups now.", done.people)
    messages.success(request, said % {"n": done.people} if done.people else _("The list changes nothing."))
    return redirect("groups", me.course.slug, found.slug)


def _tried(request: HttpRequest, act: Callable[[], str]) -> str | None:
    """What was done, in words; None where it could not be, and the person is told why."""
    try:
        return act()
    except (ClassroomError, StorageError) as error:
        messages.error(request, str(error.user_message))
        return None


def _make(request: HttpRequest, found: Assignment) -> str:
    name = " ".join(request.POST.get("name", "").split())[:100] or group_many.free_name(found)
    group = verbs.form(found, name, _people(request, found))
    return _("The group “%(name)s” is made.") % {"name": group.name}


def _deal(request: HttpRequest, found: Assignment) -> str:
    typed = request.POST.get("size", "")
    size = int(typed) if typed.isascii() and typed.isdigit() and 0 < len(typed) < 4 else found.group_size
    count = group_many.deal(found, max(size, 1))
    return ngettext("%(n)d group is made by chance.", "%(n)d groups are made by chance.", count) % {"n": count}


def _copy(request: HttpRequest, found: Assignment) -> str:
    other = queries.others(found).filter(slug=request.POST.get("other", "")).first()
    if other is None:
        raise verbs.GroupError
    count = group_many.copy_from(found, other)
    return ngettext("%(n)d group is taken over.", "%(n)d groups are taken over.", count) % {"n": count}


def _put(request: HttpRequest, found: Assignment) -> str:
    group, people = _group(request, found), _people(request, found)
    for user in people:
        verbs.put(group, user)
    names = ", ".join(user.get_full_name() for user in people)
    return _("%(names)s: now in “%(group)s”.") % {"names": names or "–", "group": group.name}


def _out(request: HttpRequest, found: Assignment) -> str:
    group = _group(request, found)
    for user in _people(request, found):
        verbs.take_out(group, user)
    return _("Out of the group, with a copy of its work. What was handed in stays as it was.")


def _dissolve(request: HttpRequest, found: Assignment) -> str:
    group = _group(request, found)
    verbs.dissolve(group)
    return _("The group “%(name)s” is dissolved; everyone goes on with a copy of its work.") % {"name": group.name}


ACTS: dict[str, Callable[[HttpRequest, Assignment], str]] = {
    "make": _make,
    "deal": _deal,
    "copy": _copy,
    "put": _put,
    "out": _out,
    "dissolve": _dissolve,
}


def _group(request: HttpRequest, found: Assignment) -> Group:
    typed = request.POST.get("group", "")
    group = (
        Group.objects.filter(assignment=found, pk=int(typed)).first() if typed.isascii() and typed.isdigit() else None
    )
    if group is None:
        raise verbs.GroupError
    group.assignment = found
    return group


def _people(request: HttpRequest, found: Assignment) -> list[User]:
    typed = [int(one) for one in request.POST.getlist("who") if one.isascii() and one.isdigit() and len(one) < 19]
    return list(User.objects.filter(pk__in=typed, enrollments__course=found.course_id).order_by("pk"))


@require_http_methods(["GET", "HEAD", "POST"])
@course_page(Act.SUBMIT)
def group(request: HttpRequest, me: Member, assignment: str) -> HttpResponse:
    """The student's group: who is in it, its code; formed, joined and left here where the teacher allows it."""
    found = enter.assignment(me, assignment)
    if request.method == "POST":
        done = _tried(request, lambda: _by_student(request, me, found))
        if done is not None:
            messages.success(request, done)
            return redirect("group", me.course.slug, found.slug)
    context = {"me": me, "course": me.course, "assignment": found, "mine": queries.mine(found, me.user)}
    return render(request, "study/group.html", context, status=422 if request.method == "POST" else 200)


def _by_student(request: HttpRequest, me: Member, found: Assignment) -> str:
    act = request.POST.get("act", "")
    if act == "leave":
        verbs.leave(found, me.user)
        return _("You work alone now. Your work is a copy of the group's.")
    if act == "join":
        joined = verbs.join(found, me.user, request.POST.get("code", ""))
        return _("You are in “%(name)s” now.") % {"name": joined.name}
    made = verbs.form_own(found, me.user, request.POST.get("name", ""))
    return _("“%(name)s” is yours. Tell the others its code: %(code)s") % {"name": made.name, "code": made.join_code}
