"""Machines: listed, made, changed, retired. For who may change profiles; saved once the provider would run them."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required, permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from classroom import machines as verbs
from classroom.forms_machines import MachineForm
from classroom.queries import machines as queries
from runtimes import trials
from runtimes.models import Profile

_may = permission_required("runtimes.change_profile", raise_exception=True)


@require_GET
@login_required
@_may
def machines(request: HttpRequest) -> HttpResponse:
    """All machines, and who may use them."""
    return render(request, "operate/machines.html", {"rows": queries.rows()})


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@_may
def new(request: HttpRequest) -> HttpResponse:
    """A new machine, with values that are safe."""
    return _form(request, Profile())


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@_may
def machine(request: HttpRequest, slug: str) -> HttpResponse:
    """One machine's settings. What runs goes on as it was started."""
    return _form(request, get_object_or_404(Profile, slug=slug))


@require_POST
@login_required
@_may
def retire(request: HttpRequest, slug: str) -> HttpResponse:
    """Takes it from what teachers may choose, or brings it back."""
    profile = get_object_or_404(Profile, slug=slug)
    if "back" in request.POST:
        verbs.bring_back(profile)
        messages.success(request, _("It can be chosen again."))
    else:
        verbs.retire(profile)
        messages.success(request, _("It is retired: nobody chooses it any more; what uses it goes on."))
    return redirect("machines")


def _form(request: HttpRequest, profile: Profile) -> HttpResponse:
    form = MachineForm(request.POST or None, instance=profile)
    if request.method == "POST" and form.is_valid() and _would_run(request, form):
        form.save()
        messages.success(request, _("Saved. It holds for machines that are started from now on."))
        return redirect("machines")
    if form.errors and profile.pk is not None:
        # The form has written what was typed into the row that the page's head shows.
        profile.refresh_from_db()
    context = {"form": form, "profile": profile}
    return render(request, "operate/machine.html", context, status=422 if form.errors else 200)


def _would_run(request: HttpRequest, form: MachineForm) -> bool:
    """Whether the provider takes it, as far as it says so in time: else the form says why not."""
    answer = trials.ask(form.instance)
    if answer.refusal:
        told = _("It cannot be run here, and was not saved. What the provider says: %(why)s")
        form.add_error(None, told % {"why": answer.refusal})
        return False
    trials.note(form.instance, answer)
    if not answer.answered:
        told = _("It was not tried, since the process that runs machines did not answer: look whether it starts.")
        messages.warning(request, told)
    elif answer.note:
        messages.warning(request, answer.note)
    return True
