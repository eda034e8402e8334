"""What machines were used for: of the whole site for those who operate it, of a course for its teachers. And as CSV."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.decorators import login_required, permission_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from classroom import csv_out
from classroom.access import Act
from classroom.enter import Member, course_page
from classroom.forms_usage import UsageForm
from classroom.models import Course
from classroom.queries import usage as queries
from classroom.queries.usage import By, Line, Period, Report

PAGE = 50
USUAL_PERIOD, USUAL_ORDER = "month", "-wall"
SECONDS = 3600
_may = permission_required("runtimes.operate", raise_exception=True)


@dataclass(frozen=True, slots=True)
class Column:
    """Of the lines' table. turned: how they are in order of it now: ascending, descending or "". then: the order that
    its head leads to."""

    label: str
    turned: str
    then: str


@dataclass(frozen=True)
class Asked:
    """What a request wants to see. period: None where that cannot be told; then `form` says why."""

    form: UsageForm
    by: By
    order: str
    period: Period | None
    words: str
    report: Report | None
    lines: Sequence[Line]


@require_GET
@never_cache
@login_required
@_may
def usage(request: HttpRequest) -> HttpResponse:
    """All courses, people and machines."""
    return _page(request, "operate/usage.html", [By.COURSE, By.PERSON, By.MACHINE])


@require_GET
@never_cache
@login_required
@_may
def export(request: HttpRequest) -> HttpResponse:
    """The lines of the page as CSV, all of them."""
    return _csv(request, [By.COURSE, By.PERSON, By.MACHINE])


@require_GET
@never_cache
@course_page(Act.PEOPLE)
def course_usage(request: HttpRequest, me: Member) -> HttpResponse:
    """One course's people and machines, and what they used there."""
    return _page(request, "teach/usage.html", [By.PERSON, By.MACHINE], me)


@require_GET
@never_cache
@course_page(Act.PEOPLE)
def course_export(request: HttpRequest, me: Member) -> HttpResponse:
    """The same as CSV."""
    return _csv(request, [By.PERSON, By.MACHINE], me)


def _asked(request: HttpRequest, kinds: Sequence[By], course: Course | None) -> Asked:
    given = request.GET
    presets = queries.presets(timezone.localdate())
    data = {name: given.get(name, "") for name in ("since", "until", "words")}
    if "since" not in given and "until" not in given:
        usual = presets.get(given.get("period", ""), presets[USUAL_PERIOD])
        data |= {"since": usual.since.isoformat(), "until": usual.until.isoformat()}
    form = UsageForm(data)
    by = next((kind for kind in kinds if kind == given.get("by")), kinds[0])
    order = given.get("order", USUAL_ORDER)
    order = order if order.removeprefix("-") in queries.ORDERS else USUAL_ORDER
    if not form.is_valid():
        return Asked(form, by, order, None, "", None, [])
    period, words = form.cleaned_data["period"], form.cleaned_data["words"]
    report = queries.report(period, by, course)
    return Asked(form, by, order, period, words, report, queries.chosen(report.lines, words, order))


def _page(request: HttpRequest, template: str, kinds: Sequence[By], me: Member | None = None) -> HttpResponse:
    asked = _asked(request, kinds, me.course if me else None)
    presets = queries.presets(timezone.localdate())
    context: dict[str, Any] = {
        "asked": asked,
        "kinds": [(kind, _kinds()[kind]) for kind in kinds],
        "presets": [(key, name, presets[key] == asked.period) for key, name in _names().items()],
        "columns": _columns(asked),
        "part": Paginator(asked.lines, PAGE).get_page(request.GET.get("page")),
    }
    if me is not None:
        context |= {"me": me, "course": me.course}
    return render(request, template, context, status=200 if asked.period else 422)


def _csv(request: HttpRequest, kinds: Sequence[By], me: Member | None = None) -> HttpResponse:
    asked = _asked(request, kinds, me.course if me else None)
    if asked.period is None:
        return HttpResponse(asked.form.errors.as_text(), content_type="text/plain; charset=utf-8", status=422)
    header = [
        "name", "email" if asked.by == By.PERSON else "short_name", "hours", "grading_hours",
        "processor_hours_used", "processor_hours_reserved", "unmeasured_hours", "memory_gib_hours", "gpu_hours",
    ]  # fmt: skip
    rows = [[line.name, line.key, *_in_hours(line)] for line in asked.lines]
    name = f"{me.course.slug}-usage" if me else f"usage-by-{asked.by}"
    return csv_out.download(f"{name}-{asked.period.since}-{asked.period.until}", header, rows)


def _in_hours(line: Line) -> list[csv_out.Cell]:
    """Processor time that nobody measured is empty, not 0."""
    found = line.amounts
    known = found.unmeasured < found.wall or not found.wall
    seconds = (
        found.wall, found.grading, found.used if known else None, found.cpu, found.unmeasured, found.memory, found.gpu,
    )  # fmt: skip
    return [None if each is None else round(each / SECONDS, 3) for each in seconds]


def _kinds() -> dict[By, str]:
    return {By.COURSE: _("By course"), By.PERSON: _("By person"), By.MACHINE: _("By machine")}


def _names() -> dict[str, str]:
    return {"week": _("This week"), "month": _("This month"), "last-month": _("Last month")}


def _columns(asked: Asked) -> list[Column]:
    subject = {By.COURSE: _("Course"), By.PERSON: _("Person"), By.MACHINE: _("Machine")}
    labels = {
        "name": subject[asked.by],
        "wall": _("Hours"),
        "grading": _("of them grading"),
        "used": _("Processor hours used"),
        "cpu": _("Processor hours reserved"),
        "memory": _("Memory, GiB hours"),
        "gpu": _("GPU or TPU hours"),
    }
    if asked.by == By.PERSON:
        del labels["grading"]
    return [_column(field, label, asked.order) for field, label in labels.items()]


def _column(field: str, label: str, order: str) -> Column:
    """Names lead to their order from A on at first, numbers to theirs from the greatest on."""
    first, other = (field, f"-{field}") if field == "name" else (f"-{field}", field)
    turned = {field: "ascending", f"-{field}": "descending"}.get(order, "")
    return Column(label, turned, other if order == first else first)
