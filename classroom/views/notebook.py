"""The notebook page: our bar above the frame, the tickets that let the frame in, and the machine behind it."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST
from django_htmx.http import HttpResponseClientRedirect

from classroom import restore as verb
from classroom.enter_work import Inside, work_page
from classroom.errors import ClassroomError
from classroom.machine import machine_use, moves, obey
from classroom.queries import notebook as queries
from runtimes import launch as runtimes
from runtimes.errors import RuntimesError
from runtimes.jupyter import hosts, policy, tickets
from runtimes.models import Runtime


@require_GET
@never_cache
@work_page()
def notebook(request: HttpRequest, place: Inside) -> HttpResponse:
    """The bar and the frame. The machine is asked for at once, so that it starts while the page loads."""
    work = place.work
    if place.writes:
        runtimes.launch(work.workspace)
    paths = queries.notebooks(work)
    wanted = request.GET.get("path", "")
    slug = work.workspace.slug
    context = {
        **_bar(place),
        "paths": paths,
        "path": wanted if wanted in paths else (paths[0] if paths else ""),
        "origin": hosts.origin(slug),
        "sandbox": policy.FRAME_SANDBOX,
        "ticket": _ticket(place),
        "request_key": secrets.token_urlsafe(16),
    }
    return render(request, "study/notebook.html", context)


@require_POST
@never_cache
@work_page()
def ticket(request: HttpRequest, place: Inside) -> HttpResponse:
    """A fresh ticket, for when the frame must be entered again."""
    return JsonResponse({"ticket": _ticket(place)})


@require_GET
@never_cache
@work_page()
def state(request: HttpRequest, place: Inside) -> HttpResponse:
    """The parts of the bar that change, to be swapped in place."""
    return render(request, "study/bar_state.html", {**_bar(place), "oob": True})


@require_GET
@never_cache
@work_page()
def machine(request: HttpRequest, place: Inside) -> HttpResponse:
    """Memory and disk in use, asked of the machine itself."""
    return render(request, "study/machine_use.html", {"use": machine_use(place.work.workspace)})


@require_POST
@work_page()
def kernel(request: HttpRequest, place: Inside) -> HttpResponse:
    """Starts, keeps, changes or stops the machine, interrupts or restarts a kernel; then the bar as it is."""
    problem = ""
    if not place.writes:
        problem = _("You can read this notebook, so its kernel is not yours to change.")
    else:
        try:
            obey(place.work.workspace, request.POST.get("do", ""), request.POST.get("kernel", ""))
        except RuntimesError as error:
            problem = str(error.user_message)
    return render(request, "study/bar_state.html", {**_bar(place), "oob": True, "problem": problem})


@require_POST
@work_page(own=True)
def restore(request: HttpRequest, place: Inside) -> HttpResponse:
    """Puts back what was given out and is missing or changed; then the bar as it is."""
    if not place.writes:
        raise PermissionDenied
    return _put_right(request, place, lambda: verb.restore(place.work), restored_words())


@require_POST
@work_page(own=True)
def use_copy(request: HttpRequest, place: Inside) -> HttpResponse:
    """A copy and the notebook that is graded change names; then the bar as it is."""
    if not place.writes:
        raise PermissionDenied
    path, copy, sha256 = (request.POST.get(name, "") for name in ("path", "copy", "sha256"))
    words = _("“%(path)s” is now what “%(copy)s” was, and is what is graded. What it was before is in “%(copy)s”.")
    return _put_right(
        request, place, lambda: verb.use_copy(place.work, path, copy, sha256), words % {"path": path, "copy": copy}
    )


def _put_right(request: HttpRequest, place: Inside, act: Callable[[], verb.Restored], words: str) -> HttpResponse:
    problem, done = "", None
    try:
        done = act()
    except ClassroomError as error:
        problem = str(error.user_message)
    if not request.htmx:  # type: ignore[attr-defined]
        if problem:
            messages.error(request, problem)
        else:
            messages.success(request, words)
        return redirect("hand_in", place.work.workspace.slug)
    if done is not None and done.reopen:
        # The frame shows a notebook by a name that it has no longer.
        messages.success(request, words)
        again: HttpResponse = HttpResponseClientRedirect(reverse("notebook", args=[place.work.workspace.slug]))
        return again
    context = {**_bar(place), "oob": True, "problem": problem, "restored": "" if problem else words}
    return render(request, "study/bar_state.html", context)


def restored_words() -> str:
    """What a person should know after Restore."""
    return _("It is put back. What you wrote is still there, and the notebook before that is kept as a version.")


def _ticket(place: Inside) -> str:
    return tickets.issue(
        workspace=place.work.workspace,
        subject=place.me.user.subject,
        display_name=place.me.user.get_full_name(),
        mode=place.access.mode,
    )


def _bar(place: Inside) -> dict[str, Any]:
    work = place.work
    graded = work.assignment.line_item.graded
    bar = queries.bar_state(work, place.me.user, place.terms)
    if place.writes and moves(bar.runtime):
        # Somebody is at the notebook: their work goes on where there is a machine.
        runtimes.launch(work.workspace)
        bar = queries.bar_state(work, place.me.user, place.terms)
    machine = bar.runtime.profile if bar.runtime and bar.runtime.state in Runtime.LIVE else work.workspace.profile
    return {
        "place": place,
        "work": work,
        "workspace": work.workspace,
        "assignment": work.assignment,
        "course": work.assignment.course,
        "bar": bar,
        "told": queries.told(bar),
        "findings": queries.findings(work) if place.writes else None,
        "isolation": queries.isolation_words(bar.runtime),
        "profile": machine,
        "idle_minutes": int(machine.idle_timeout.total_seconds() // 60),
        "submits": graded and place.own and not work.preview and place.me.may("submit"),
    }
