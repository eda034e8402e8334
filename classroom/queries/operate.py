"""What runs, waits and went wrong, for those who operate the site."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.utils import timezone

from classroom import machine_trouble
from classroom.models import Course, WorkMember
from classroom.queries import accounts, strictly
from runtimes import load, queue, usage
from runtimes.describe import because, sentence
from runtimes.long_runs import long_runs
from runtimes.models import Profile, ProviderReport, Runtime

#: More rows than this help nobody: a filter does.
MOST_ROWS = 200
ERRORS = 20
LOOKS_BACK = timedelta(days=1)
#: The `runtimes` process reports every ten seconds.
SILENT_AFTER = timedelta(seconds=45)

State = Runtime.State


@dataclass
class Load:
    """How many runtimes of one machine or course are in which state, and how many GPUs or TPUs they have (a shared one
    in part). Of a machine also how many of how many that shall be are ready and unclaimed."""

    name: str
    slug: str
    ready: int = 0
    wished: int = 0
    waiting: int = 0
    starting: int = 0
    running: int = 0
    stopping: int = 0
    accelerators: float = 0

    def add(self, runtime: Runtime) -> None:
        """Counts one."""
        if queue.waits(runtime):
            self.waiting += 1
            return
        self.accelerators += usage.share(runtime)["gpu"]
        self.starting += runtime.state == State.STARTING
        self.running += runtime.state == State.READY
        self.stopping += runtime.state == State.STOPPING


@dataclass(frozen=True)
class Seats:
    """GPUs or TPUs: in use and waited for (a shared one in part), in all (None where the provider does not know)."""

    used: float
    waiting: float
    total: int | None

    @property
    def free(self) -> float | None:
        """How many are not in use."""
        return None if self.total is None else max(self.total - self.used, 0)


@dataclass(frozen=True)
class Row:
    """One live runtime. position: in its queue, 0 if it does not wait. since: when its long execution began."""

    runtime: Runtime
    course: str
    people: str
    position: int
    since: datetime | None

    @property
    def number(self) -> int:
        """What its page says of its place; 0 where it has none."""
        return self.position if queue.has_place(self.runtime) else 0

    @property
    def why(self) -> str:
        """What a waiting one waits for."""
        return because(self.runtime.reason, "") if self.position else ""


@dataclass(frozen=True)
class Trouble:
    """A runtime that failed or was lost, or waits in vain."""

    runtime: Runtime
    course: str

    @property
    def why(self) -> str:
        """What the person concerned reads; the provider's own words are on the row."""
        return sentence(self.runtime)

    @property
    def at(self) -> datetime:
        """When it ended, or was asked for."""
        return self.runtime.stopped_at or self.runtime.requested_at


@dataclass(frozen=True)
class Lack:
    """Fewer of a machine are ready than shall be, for this reason of the provider."""

    name: str
    words: str


@dataclass(frozen=True)
class Page:
    """Everything that the page shows; `rows` are those that the filter leaves."""

    report: ProviderReport | None
    machines: Sequence[Load]
    courses: Sequence[Load]
    seats: Seats
    rows: Sequence[Row]
    count: int
    long: int
    loads: int
    lacks: Sequence[Lack] = field(default_factory=list)
    troubles: Sequence[Trouble] = field(default_factory=list)

    @property
    def silent(self) -> bool:
        """Whether the process that runs machines has not been heard of lately."""
        return self.report is None or self.report.seen_at < timezone.now() - SILENT_AFTER


def page(machine: str = "", course: str = "") -> Page:
    """The page now, with the live runtimes of one machine or course (their short names). Eight queries."""
    now = timezone.now()
    live = list(
        strictly(Runtime.objects).select_related("profile", "workspace").filter(state__in=Runtime.LIVE)
        .order_by("requested_at", "pk")
    )  # fmt: skip
    courses = accounts.courses()
    report = ProviderReport.objects.order_by("-seen_at").first()
    names = _kept_ready(report)
    long = {run.runtime.pk: run.since for run in long_runs(now)}
    positions = queue.positions(live)
    shown = [row for row in live if machine in ("", row.profile.slug) and course in ("", _slug(courses, row))]
    people = _people(shown[:MOST_ROWS])
    rows = [
        Row(row, _title(courses, row), people.get(row.workspace_id, ""), positions.get(row.pk, 0), long.get(row.pk))
        for row in shown[:MOST_ROWS]
    ]
    return Page(
        report=report,
        machines=_machines(live, report, names),
        courses=_loads((_title(courses, row), _slug(courses, row), row) for row in live),
        seats=_seats(live, report),
        rows=rows,
        count=len(shown),
        long=len(long),
        loads=len(load.loads(live)),
        lacks=_lacks(report, names),
        troubles=[*_in_vain(live, courses), *_troubles(now, courses)],
    )


def _loads(rows: Iterable[tuple[str, str, Runtime]]) -> list[Load]:
    found: dict[tuple[str, str], Load] = {}
    for name, slug, runtime in rows:
        found.setdefault((name, slug), Load(name, slug)).add(runtime)
    return [found[key] for key in sorted(found)]


def _kept_ready(report: ProviderReport | None) -> dict[str, str]:
    """Names of the machines of which some shall be kept ready, by their short names."""
    told = {*report.pools, *report.lacks} if report else set()
    return dict(Profile.objects.filter(slug__in=told).values_list("slug", "name"))


def _machines(live: Iterable[Runtime], report: ProviderReport | None, names: Mapping[str, str]) -> list[Load]:
    """By machine, with their pools; those too of which none runs."""
    found = {load.slug: load for load in _loads((row.profile.name, row.profile.slug, row) for row in live)}
    for slug, pool in report.pools.items() if report else ():
        if pool["wished"] and slug in names:
            load = found.setdefault(slug, Load(names[slug], slug))
            load.wished, load.ready = pool["wished"], pool["ready"]
    return sorted(found.values(), key=lambda load: (load.name, load.slug))


def _seats(live: Iterable[Runtime], report: ProviderReport | None) -> Seats:
    used, waiting = 0.0, 0.0
    for row in live:
        share = usage.share(row)["gpu"]
        if queue.waits(row):
            waiting += share
        else:
            used += share
    return Seats(used, waiting, report.accelerators if report else None)


def _lacks(report: ProviderReport | None, names: Mapping[str, str]) -> list[Lack]:
    lacks = report.lacks if report else {}
    return [Lack(names.get(slug, slug), words) for slug, words in sorted(lacks.items())]


def _people(rows: Iterable[Runtime]) -> dict[int | None, str]:
    """Who works in each workspace."""
    members = WorkMember.objects.filter(work__workspace__in=[row.workspace_id for row in rows]).order_by("pk")
    found: dict[int | None, list[str]] = {}
    for member in members.select_related("work", "user"):
        found.setdefault(member.work.workspace_id, []).append(member.user.get_full_name())
    return {workspace: ", ".join(names) for workspace, names in found.items()}


def _in_vain(live: Iterable[Runtime], courses: dict[str, Course]) -> list[Trouble]:
    """Of those that wait for a machine which is not there whoever was asked for first: the provider told why."""
    asked = [row for row in live if row.state == State.STARTING and machine_trouble.in_vain(row)]
    return [Trouble(row, _title(courses, row)) for row in asked[:ERRORS]]


def _troubles(now: datetime, courses: dict[str, Course]) -> list[Trouble]:
    ended = Runtime.objects.filter(state__in=[State.FAILED, State.LOST], stopped_at__gt=now - LOOKS_BACK)
    rows = strictly(ended).select_related("profile").order_by("-stopped_at")[:ERRORS]
    return [Trouble(row, _title(courses, row)) for row in rows]


def _title(courses: dict[str, Course], row: Runtime) -> str:
    return courses[row.account].title if row.account in courses else row.account


def _slug(courses: dict[str, Course], row: Runtime) -> str:
    return courses[row.account].slug if row.account in courses else ""
