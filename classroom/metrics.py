"""Figures for Prometheus, out of the rows, so that any process of the site gives the same. No person is in a label.

The text format (https://prometheus.io/docs/instrumenting/exposition_formats/, version 0.0.4) is two dozen lines; the
client library keeps its figures in a process, and here they are in the database.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count
from django.utils import timezone

from classroom.models import Outbox
from grading.models import Autograding
from runtimes import queue
from runtimes.long_runs import long_runs
from runtimes.models import ProviderReport, Runtime

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
LOOKS_BACK = timedelta(days=1)

type Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Family:
    """One gauge, with a value for each set of labels."""

    name: str
    help: str
    values: Sequence[tuple[Labels, float]]


def exposition(families: Iterable[Family]) -> str:
    """The text that Prometheus reads."""
    lines = []
    for family in families:
        lines += [f"# HELP {family.name} {_escaped(family.help)}", f"# TYPE {family.name} gauge"]
        lines += [f"{family.name}{_labels(labels)} {_number(value)}" for labels, value in family.values]
    return "\n".join(lines) + "\n"


def _labels(labels: Labels) -> str:
    told = ",".join(f'{name}="{_escaped(text, quotes=True)}"' for name, text in labels)
    return f"{{{told}}}" if told else ""


def _escaped(text: str, *, quotes: bool = False) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quotes else text


def _number(value: float) -> str:
    if math.isinf(value) or math.isnan(value):
        return {math.inf: "+Inf", -math.inf: "-Inf"}.get(value, "NaN")
    return f"{value:g}" if value != int(value) else str(int(value))


def collect() -> list[Family]:
    """Everything, in eight queries."""
    now = timezone.now()
    live = list(Runtime.objects.filter(state__in=Runtime.LIVE).select_related("profile"))
    return [*_runtimes(live, now), *_provider(now), *_ends(now), *_tasks()]


def _runtimes(live: Sequence[Runtime], now: datetime) -> Iterable[Family]:
    states = Counter((row.profile.slug, row.purpose, row.state) for row in live)
    waiting = [row for row in live if queue.waits(row)]
    longest: dict[str, float] = {}
    for row in waiting:
        age = (now - row.requested_at).total_seconds()
        longest[row.profile.slug] = max(longest.get(row.profile.slug, 0.0), age)
    used: dict[str, float] = {}
    for row in live:
        if not queue.waits(row) and row.profile.gpu:
            used[row.profile.slug] = used.get(row.profile.slug, 0.0) + row.profile.accelerators
    yield _family("pupitre_runtimes", "Runtimes that are not over.", ("profile", "purpose", "state"), states)
    yield _by("profile", "pupitre_runtimes_waiting", "Without a seat.", Counter(row.profile.slug for row in waiting))
    yield _by("profile", "pupitre_runtimes_waiting_longest_seconds", "Who has waited longest, for how long.", longest)
    yield _by(
        "profile",
        "pupitre_accelerators_in_use",
        "GPUs or TPUs of runtimes that have a seat; of a shared one its part.",
        used,
    )
    long = Counter(run.runtime.profile.slug for run in long_runs(now))
    yield _by("profile", "pupitre_runtimes_long_run", "At one execution for longer than LONG_RUN_MINUTES.", long)
    loads = Counter(row.profile.slug for row in live if row.load_since is not None)
    yield _by("profile", "pupitre_runtimes_load", "Use their processors, no execution begun for as long.", loads)


def _provider(now: datetime) -> Iterable[Family]:
    reports = list(ProviderReport.objects.order_by("provider"))
    warm = {report.provider: report.warm for report in reports}
    total = {report.provider: report.accelerators for report in reports if report.accelerators is not None}
    age = {report.provider: (now - report.seen_at).total_seconds() for report in reports}
    yield _by("provider", "pupitre_warm_runtimes", "Ready and unclaimed.", warm)
    yield _by("provider", "pupitre_accelerators", "GPUs or TPUs in all, where the provider knows.", total)
    yield _by("provider", "pupitre_runtimes_process_silent_seconds", "Since the runtimes process reported.", age)


def _ends(now: datetime) -> Iterable[Family]:
    over = Runtime.objects.filter(stopped_at__gt=now - LOOKS_BACK).values_list("state", "reason")
    counts = {(state, reason): n for state, reason, n in over.annotate(n=Count("pk")).order_by()}
    yield _family("pupitre_runtime_ends_last_day", "Runtimes that ended within a day.", ("state", "reason"), counts)


def _tasks() -> Iterable[Family]:
    grading = Autograding.objects.exclude(state=Autograding.State.FINISHED).values_list("state")
    outbox = Outbox.objects.exclude(state=Outbox.State.DONE).values_list("state")
    waiting = dict(grading.annotate(n=Count("pk")).order_by())
    letters = dict(outbox.annotate(n=Count("pk")).order_by())
    yield _by("state", "pupitre_autogradings", "Submissions in grading that have not finished.", waiting)
    yield _by("state", "pupitre_outbox", "Mail and copies that are not done.", letters)


def _by(label: str, name: str, told: str, values: Mapping[str, float]) -> Family:
    return _family(name, told, (label,), {(key,): value for key, value in values.items()})


def _family[K: tuple[str, ...]](name: str, told: str, labels: Sequence[str], values: Mapping[K, float]) -> Family:
    return Family(name, told, [(tuple(zip(labels, key, strict=True)), float(values[key])) for key in sorted(values)])
