"""The autograding of an assignment as those who teach see it: how far, how fast, what failed, what is passed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Exists, F, Min, OuterRef, Q, QuerySet

from classroom.enter import Member
from classroom.models import Assignment
from classroom.queries import strictly
from classroom.queries.regrade import names_of
from grading import states
from grading.explain import FAILURES, NOTES, explain
from grading.models import Autograding, CellScore, GradeCell, Submission
from grading.pace import Pace, pace

State = Autograding.State
_OPEN = Q(state__in=states.OPEN, regrade=None)


@dataclass(frozen=True)
class Kind:
    """One reason why notebooks could not be graded, and how many submissions have it."""

    code: str
    sentence: str
    count: int


@dataclass(frozen=True)
class Failed:
    """A submission that could not be graded to its end."""

    run: Autograding
    names: str
    notebooks: str


@dataclass(frozen=True)
class Rate:
    """How many of those whose tests of this cell were scored have all its points."""

    notebook: str
    grade_id: str
    scored: int
    passed: int
    flagged: int

    @property
    def percent(self) -> int:
        """The share that passed."""
        return round(100 * self.passed / self.scored) if self.scored else 0


@dataclass(frozen=True)
class Version:
    """What a number of results were made with. `newest`: the last result that came was made with the same."""

    release: int
    environment: str
    engine: str
    count: int
    newest: bool


@dataclass(frozen=True)
class Page:
    """Everything about one assignment's autograding."""

    pace: Pace
    kinds: Sequence[Kind]
    failed: Sequence[Failed]
    rates: Sequence[Rate]
    versions: Sequence[Version]

    @property
    def older(self) -> int:
        """How many results were made in another environment, or by another engine, than the newest."""
        return sum(one.count for one in self.versions if not one.newest)

    @property
    def results(self) -> int:
        """How many results there are."""
        return sum(one.count for one in self.versions)


def page(me: Member, assignment: Assignment, *, kind: str = "") -> Page:
    """Of the students that `me` looks after, all attempts. Seven queries; `kind` lists those that failed so."""
    mine = _submissions(me, assignment)
    runs = _shown(mine)
    ended_badly = list(
        strictly(runs)
        .exclude(state__in=[*states.OPEN, State.FINISHED])
        .select_related("submission")
        .prefetch_related("submission__authors")
        .order_by("-finished_at", "pk")
    )
    return Page(
        pace=pace(runs),
        kinds=_kinds(ended_badly),
        failed=[_failed(run) for run in ended_badly if kind and kind in _codes(run)],
        rates=_rates(mine),
        versions=_versions(mine),
    )


def _submissions(me: Member, assignment: Assignment) -> QuerySet[Submission, Any]:
    found = Submission.objects.filter(line_item=assignment.line_item_id, authorships__user__in=me.people())
    return found.order_by().values("pk")


def _shown(mine: QuerySet[Submission, Any]) -> QuerySet[Autograding]:
    """One run of each submission: the one that waits or runs, else the one that counts."""
    under_way = Autograding.objects.filter(_OPEN, submission=OuterRef("submission"))
    return Autograding.objects.filter(_OPEN | (Q(current=True) & ~Exists(under_way)), submission__in=mine)


def _codes(run: Autograding) -> list[str]:
    return list(dict.fromkeys(str(row.get("code", "")) for row in run.failures))


def _kinds(runs: Sequence[Autograding]) -> list[Kind]:
    rows: dict[str, tuple[Mapping[str, Any], int]] = {}
    for run in runs:
        for code in _codes(run):
            row = next(row for row in run.failures if row.get("code") == code)
            rows[code] = (rows.get(code, (row, 0))[0], rows.get(code, (row, 0))[1] + 1)
    found = [Kind(code, explain(FAILURES, row), count) for code, (row, count) in rows.items()]
    return sorted(found, key=lambda one: (-one.count, one.code))


def _failed(run: Autograding) -> Failed:
    notebooks = sorted({str(row.get("notebook")) for row in run.failures if row.get("notebook")})
    return Failed(run, names_of(run.submission), ", ".join(notebooks))


def _rates(mine: QuerySet[Submission, Any]) -> list[Rate]:
    """Tests in the order of the notebooks; the same cell of two versions is one."""
    scores = CellScore.objects.filter(
        autograding__submission__in=mine, autograding__current=True, cell__kind=GradeCell.Kind.TESTS
    )
    counted = scores.values(notebook=F("cell__notebook__name"), grade_id=F("cell__grade_id")).annotate(
        scored=Count("pk", filter=Q(auto_score__isnull=False)),
        passed=Count("pk", filter=Q(auto_score__gte=F("cell__max_score"))),
        flagged=Count("pk", filter=Q(needs_manual_grade=True)),
        book=Min("cell__notebook__position"),
        place=Min("cell__position"),
    )
    return [
        Rate(row["notebook"], row["grade_id"], row["scored"], row["passed"], row["flagged"])
        for row in counted.order_by("book", "notebook", "place", "grade_id")
    ]


def _versions(mine: QuerySet[Submission, Any]) -> list[Version]:
    current = Autograding.objects.filter(submission__in=mine, current=True)
    last = current.filter(finished_at__isnull=False).exclude(environment_digest="").order_by("-finished_at", "-pk")
    newest = last.values_list("environment_digest", "engine_version").first()
    counted = current.values("environment_digest", "engine_version", number=F("release__number")).annotate(
        n=Count("pk")
    )
    return [
        Version(
            release=row["number"],
            environment=row["environment_digest"],
            engine=row["engine_version"],
            count=row["n"],
            newest=newest is None or _as_new(row["environment_digest"], row["engine_version"], newest),
        )
        for row in counted.order_by("-number", "environment_digest", "engine_version")
    ]


def _as_new(environment: str, engine: str, newest: tuple[str, str]) -> bool:
    """Whether a result was made as the newest was. Where nothing had to be run, no environment had a part in it."""
    return engine == newest[1] and environment in {"", newest[0]}


def older(me: Member, assignment: Assignment) -> set[str]:
    """The codes of the submissions that `Page.older` counts. Two queries."""
    mine = _submissions(me, assignment)
    as_new = {(one.environment, one.engine) for one in _versions(mine) if one.newest}
    current = Autograding.objects.filter(submission__in=mine, current=True)
    rows = current.values_list("submission__code", "environment_digest", "engine_version")
    return {code for code, environment, engine in rows if (environment, engine) not in as_new}


@dataclass(frozen=True)
class Log:
    """One run with everything that it left behind."""

    run: Autograding
    names: str
    failures: Sequence[str]
    notes: Sequence[str]


def log(me: Member, assignment: Assignment, pk: int) -> Log | None:
    """A run of a submission that `me` looks after; None where there is none. Three queries."""
    runs = strictly(Autograding.objects).select_related("submission", "release", "regrade")
    run = (
        runs.prefetch_related("submission__authors").filter(pk=pk, submission__in=_submissions(me, assignment)).first()
    )
    if run is None:
        return None
    return Log(
        run=run,
        names=names_of(run.submission),
        failures=[explain(FAILURES, row) for row in run.failures],
        notes=[explain(NOTES, row) for row in run.notes],
    )
