"""The operators' page: what runs, waits and went wrong; stopping one with a reason. And the same as metrics."""

from __future__ import annotations

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required, permission_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.crypto import constant_time_compare
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from classroom import metrics as families
from classroom.queries import operate as queries
from runtimes import launch
from runtimes.models import Runtime
from runtimes.status import Reason

_may = permission_required("runtimes.operate", raise_exception=True)
MOST_REASON = 300


@require_GET
@never_cache
@login_required
@_may
def operate(request: HttpRequest) -> HttpResponse:
    """Everything, or one machine's or course's runtimes; the summary alone where the page asks for it again."""
    machine, course = request.GET.get("machine", ""), request.GET.get("course", "")
    context = {"page": queries.page(machine, course), "machine": machine, "course": course}
    part = "#summary" if request.htmx else ""  # type: ignore[attr-defined]
    return render(request, f"operate/operate.html{part}", context)


@require_POST
@login_required
@_may
def stop(request: HttpRequest, name: str) -> HttpResponse:
    """Stops one runtime; files are pulled first. Who works there reads the reason, unless there was one already."""
    runtime = get_object_or_404(Runtime, name=name)
    # One line: the row's next one is about files.
    why = " ".join(request.POST.get("why", "").split())[:MOST_REASON]
    if not why:
        messages.error(request, _("Say why: the person at the notebook reads it."))
    elif launch.stop(runtime, reason=Reason.OPERATOR, message=why):
        messages.success(
            request, _("It is being stopped; files are fetched first. The person at the notebook reads why.")
        )
    else:
        messages.info(
            request, _("It had ended or was being stopped: the person there reads why that was, not your words.")
        )
    return redirect("operate")


@require_GET
@never_cache
def metrics(request: HttpRequest) -> HttpResponse:
    """For Prometheus, with the token of METRICS_TOKEN as a bearer; there is no such page without that setting."""
    if not settings.METRICS_TOKEN:
        raise Http404
    if not constant_time_compare(request.headers.get("Authorization", ""), f"Bearer {settings.METRICS_TOKEN}"):
        answer = HttpResponse(status=401)
        answer["WWW-Authenticate"] = "Bearer"
        return answer
    return HttpResponse(families.exposition(families.collect()), content_type=families.CONTENT_TYPE)
