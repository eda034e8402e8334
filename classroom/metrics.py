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

from django.db.models import BigIntegerField, Count, F, Sum
from django.db.models.functions import Cast, Floor
from django.utils import timezone

from classroom.models import Outbox
from classroom.queries import accounts
from grading.models import Autograding
from runtimes import load, queue, usage
from runtimes.long_runs import long_runs
from runtimes.models import ProviderReport, Runtime, Usage

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
LOOKS_BACK = timedelta(days=1)

type Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Family:
    """One gauge or counter, with a value for each set of labels."""

    name: str
    help: str
    values: Sequence[tuple[Labels, float]]
    type: str = "gauge"


def exposition(families: Iterable[Family]) -> str:
    """The text that Prometheus reads."""
    lines = []
    for family in families:
        lines += [f"# HELP {family.name} {_escaped(family.help)}", f"# TYPE {family.name} {family.type}"]
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
    # All digits: of a counter the last ones are what it grew by.
    return repr(value) if value != int(value) else str(int(value))


def collect() -> list[Family]:
    """Everything, in eleven queries."""
    now = timezone.now()
    live = list(Runtime.objects.filter(state__in=Runtime.LIVE).select_related("profile"))
    return [*_runtimes(live, now), *_provider(now), *_ends(now), *_tasks(), *_usage()]


def _runtimes(live: Sequence[Runtime], now: datetime) -> Iterable[Family]:
    states = Counter((row.profile.slug, row.purpose, row.state) for row in live)
    waiting = [row for row in live if queue.waits(row)]
    longest: dict[str, float] = {}
    for row in waiting:
        age = (now - row.requested_at).total_seconds()
        longest[row.profile.slug] = max(longest.get(row.profile.slug, 0.0), age)
    used: dict[str, float] = {}
    for row in live:
        if not queue.waits(row) and (share := usage.share(row)["gpu"]):
            used[row.profile.slug] = used.get(row.profile.slug, 0.0) + share
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
    loads = Counter(one.runtime.profile.slug for one in load.loads(live))
    yield _by("profile", "pupitre_runtimes_load", "Use their processors, no execution begun for as long.", loads)


def _provider(now: datetime) -> Iterable[Family]:
    reports = list(ProviderReport.objects.order_by("provider"))
    warm = {report.provider: report.warm for report in reports}
    pools = {(report.provider, slug): pool for report in reports for slug, pool in report.pools.items()}
    total = {report.provider: report.accelerators for report in reports if report.accelerators is not None}
    age = {report.provider: (now - report.seen_at).total_seconds() for report in reports}
    short = {slug: 1 for report in reports for slug in report.lacks}
    yield _by("provider", "pupitre_warm_runtimes", "Ready and unclaimed.", warm)
    for figure, told in (("wished", "Shall be ready and unclaimed now."), ("ready", "Of them are.")):
        values = {key: pool[figure] for key, pool in pools.items()}
        yield _family(f"pupitre_warm_pool_{figure}", told, ("provider", "profile"), values)
    yield _by("profile", "pupitre_warm_pool_short", "1 where fewer are ready than shall be: see Operations.", short)
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


#: What is counted of usage: the column, the counter's name, and what it says.
_COUNTED = (
    ("wall_seconds", "pupitre_usage_seconds_total", "Since they were ready."),
    ("cpu_seconds", "pupitre_usage_cpu_reserved_seconds_total", "Times the processors that were reserved."),
    ("cpu_used_seconds", "pupitre_usage_cpu_used_seconds_total", "Of processor time, where it was measured."),
    ("memory_gib_seconds", "pupitre_usage_memory_gib_seconds_total", "Times the GiB of memory that were reserved."),
    ("gpu_seconds", "pupitre_usage_accelerator_seconds_total", "Times GPUs or TPUs; of a shared one its part."),
)


def _usage() -> Iterable[Family]:
    """Of all that ever ran. Each row only grows, and so do sums of whole milliseconds: one of fractions depends on the
    order in which a database adds them up, and for Prometheus a counter that is less by the least has begun again."""
    courses = accounts.courses()
    rows = Usage.objects.order_by().values_list("runtime__profile__slug", "account", "runtime__purpose")
    counted: dict[tuple[str, str, str], Counter[str]] = {}
    sums = {f"{column}_sum": _milliseconds(column) for column, _name, _told in _COUNTED}
    for profile, account, purpose, *found in rows.annotate(**sums):
        course = courses[account].slug if account in courses else account
        sum_of = counted.setdefault((profile, course, purpose), Counter())
        sum_of.update({column: value for (column, _name, _told), value in zip(_COUNTED, found, strict=True)})
    for column, name, told in _COUNTED:
        values = {key: each[column] / 1000 for key, each in counted.items()}
        yield _family(name, f"Seconds of runtimes. {told}", ("profile", "course", "purpose"), values, "counter")


def _milliseconds(column: str) -> Sum:
    return Sum(Cast(Floor(F(column) * 1000), BigIntegerField()), default=0)


def _by(label: str, name: str, told: str, values: Mapping[str, float]) -> Family:
    return _family(name, told, (label,), {(key,): value for key, value in values.items()})


def _family[K: tuple[str, ...]](
    name: str, told: str, labels: Sequence[str], values: Mapping[K, float], kind: str = "gauge"
) -> Family:
    told_of = [(tuple(zip(labels, key, strict=True)), float(values[key])) for key in sorted(values)]
    return Family(name, told, told_of, kind)
