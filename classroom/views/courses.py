"""Courses: made, shown to those who teach, set, put in order."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required, permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from classroom import courses
from classroom.access import Act
from classroom.enter import Member, course_page
from classroom.forms_courses import ConfirmNameForm, CourseForm, CourseSettingsForm
from classroom.machine_trouble import troubles
from classroom.people.models import User
from classroom.queries import teach


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@permission_required("classroom.add_course", raise_exception=True)
def new(request: HttpRequest) -> HttpResponse:
    """A new course, for those who may."""
    assert isinstance(request.user, User)
    zone = request.user.time_zone
    form = CourseForm(request.POST or None, initial={"time_zone": zone} if zone else {})
    if request.method == "POST" and form.is_valid():
        made = courses.create(**form.cleaned_data, by=request.user)
        messages.success(request, _("The course is there. Add people, or make the first assignment."))
        return redirect("teach_course", made.slug)
    return render(request, "teach/course_new.html", {"form": form}, status=422 if form.errors else 200)


@require_GET
@course_page(Act.REVIEW)
def course(request: HttpRequest, me: Member) -> HttpResponse:
    """Assignments as rows: state, due, how far, what needs me."""
    rows = teach.rows(me)
    context = {
        "me": me, "course": me.course, "units": teach.units(rows), "several": len(rows) > 1,
        "troubles": troubles(me.course.pk),
    }  # fmt: skip
    return render(request, "teach/course.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@course_page(Act.AUTHOR)
def settings(request: HttpRequest, me: Member) -> HttpResponse:
    """Title, term, time zone."""
    form = CourseSettingsForm(request.POST or None, instance=me.course)
    if request.method == "POST" and form.is_valid():
        form.save()
        courses.count_days_there(me.course)
        messages.success(request, _("Saved."))
        return redirect("course_settings", me.course.slug)
    if form.errors:
        # The form has written what was typed into the course that the page's head shows.
        me.course.refresh_from_db()
    context = {"me": me, "course": me.course, "form": form, "confirm": ConfirmNameForm(wanted=me.course.slug)}
    return render(request, "teach/course_settings.html", context, status=422 if form.errors else 200)


@require_POST
@course_page(Act.AUTHOR)
def archive(request: HttpRequest, me: Member) -> HttpResponse:
    """Closes the course for good, confirmed by its name; or opens it again."""
    if me.course.archived_at is not None:
        courses.archive(me.course, archived=False)
        messages.success(request, _("The course runs again."))
        return redirect("course_settings", me.course.slug)
    confirm = ConfirmNameForm(request.POST, wanted=me.course.slug)
    if not confirm.is_valid():
        form = CourseSettingsForm(instance=me.course)
        context = {"me": me, "course": me.course, "form": form, "confirm": confirm}
        return render(request, "teach/course_settings.html", context, status=422)
    courses.archive(me.course, archived=True)
    messages.success(request, _("The course is archived. Everyone can read it; nobody can change it."))
    return redirect("course_settings", me.course.slug)


@require_http_methods(["GET", "HEAD", "POST"])
@course_page(Act.AUTHOR)
def order(request: HttpRequest, me: Member) -> HttpResponse:
    """Positions and units of the assignments."""
    rows = teach.rows(me)
    if request.method == "POST":
        places = {row.assignment.pk: _place(request, row.assignment.pk) for row in rows}
        courses.put_in_order(me.course, places)
        messages.success(request, _("Saved."))
        return redirect("teach_course", me.course.slug)
    units = sorted({row.assignment.unit for row in rows if row.assignment.unit})
    return render(request, "teach/course_order.html", {"me": me, "course": me.course, "rows": rows, "units": units})


def _place(request: HttpRequest, pk: int) -> tuple[int, str]:
    """What was typed for one assignment; nonsense counts as the end of the list."""
    typed = request.POST.get(f"position-{pk}", "")
    position = int(typed) if typed.isascii() and typed.isdigit() and len(typed) < 6 else 99999
    return position, " ".join(request.POST.get(f"unit-{pk}", "").split())[:100]
