"""What machines were used for, for how long and by whom, in a period. Charged as `runtimes/usage.py` writes it.

A runtime counts in the period in which it was ready first. One that runs counts as it was written last, two minutes ago
at most. Grading is charged to assignments and so to courses, and to no person.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from typing import Any

from django.db.models import Count, F, OuterRef, Q, Subquery, Sum
from django.utils import timezone

from classroom.models import Course, WorkMember
from classroom.people.models import User
from classroom.queries import accounts, strictly
from runtimes.models import Runtime, Usage


class By(StrEnum):
    """What one line is about."""

    COURSE = "course"
    PERSON = "person"
    MACHINE = "machine"


@dataclass(frozen=True, slots=True)
class Period:
    """From the first moment of one day to the last of another, in the time zone of the page."""

    since: date
    until: date

    def bounds(self) -> tuple[datetime, datetime]:
        """The first moment in it, and the first after it."""
        first, after = self.since, self.until + timedelta(days=1)
        return (
            timezone.make_aware(datetime.combine(first, time.min)),
            timezone.make_aware(datetime.combine(after, time.min)),
        )


def presets(today: date) -> dict[str, Period]:
    """The periods that are asked for by name; a week begins on Monday (ISO 8601)."""
    first = today.replace(day=1)
    last = first - timedelta(days=1)
    return {
        "week": Period(today - timedelta(days=today.weekday()), today),
        "month": Period(first, today),
        "last-month": Period(last.replace(day=1), last),
    }


@dataclass(frozen=True, slots=True)
class Amounts:
    """Seconds. wall: of time; grading: of them not in somebody's notebook. cpu, memory (GiB) and gpu: times what was
    reserved. used: of processor time as it was measured; unmeasured: of `wall` those where nobody could."""

    wall: float = 0.0
    grading: float = 0.0
    cpu: float = 0.0
    used: float = 0.0
    unmeasured: float = 0.0
    memory: float = 0.0
    gpu: float = 0.0

    def __add__(self, other: Amounts) -> Amounts:
        return Amounts(*(one + more for one, more in zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True, slots=True)
class Line:
    """A course, person or machine. key: its short name or email; "" for what belongs to none."""

    name: str
    key: str
    amounts: Amounts


@dataclass(frozen=True, slots=True)
class Report:
    """interactive: in notebooks. Lines are in the order of their names."""

    interactive: Amounts
    grading: Amounts
    lines: Sequence[Line]

    @property
    def total(self) -> Amounts:
        """Both."""
        return self.interactive + self.grading

    @property
    def of_nobody(self) -> float:
        """By person: of `interactive.wall` what is on no line, since who worked there cannot be told any more."""
        rest = self.interactive.wall - sum(line.amounts.wall for line in self.lines)
        return rest if rest >= 1 else 0.0


def report(period: Period, by: By, course: Course | None = None) -> Report:
    """Everything, or what one course used. Four queries at most."""
    rows = Usage.objects.filter(_began("runtime__ready_at", period))
    if course is not None:
        rows = rows.filter(account__in=accounts.of(course))
    found: list[Any] = list(
        rows.order_by().annotate(
            purpose=F("runtime__purpose"), machine=F("runtime__profile__name"), slug=F("runtime__profile__slug")
        )
        .values("account", "purpose", "machine", "slug")
        .annotate(**_sums(""))
    )  # fmt: skip
    interactive = [row for row in found if row["purpose"] == Runtime.Purpose.INTERACTIVE]
    grading = [row for row in found if row["purpose"] != Runtime.Purpose.INTERACTIVE]
    return Report(_together(interactive), _together(grading), _lines(period, by, course, found))


def _lines(period: Period, by: By, course: Course | None, found: Sequence[dict[str, Any]]) -> list[Line]:
    if by == By.PERSON:
        return _people(period, course)
    if by == By.MACHINE:
        return _grouped((row["machine"], row["slug"], row) for row in found)
    known = accounts.courses() if found else {}
    return _grouped(
        (known[account].title, known[account].slug, row) if (account := row["account"]) in known else (account, "", row)
        for row in found
    )


def _grouped(rows: Iterable[tuple[str, str, dict[str, Any]]]) -> list[Line]:
    together: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for name, key, row in rows:
        together.setdefault((name, key), []).append(row)
    return _by_name(Line(name, key, _together(ones)) for (name, key), ones in together.items())


def _by_name(lines: Iterable[Line]) -> list[Line]:
    return sorted(lines, key=lambda line: (line.name.casefold(), line.key))


def _people(period: Period, course: Course | None) -> list[Line]:
    """What those who work together used is divided equally among them."""
    ran = WorkMember.objects.filter(
        _began("work__workspace__runtimes__ready_at", period), work__workspace__runtimes__usage__isnull=False
    )
    if course is not None:
        ran = ran.filter(assignment__course=course)
    sharers = WorkMember.objects.filter(work=OuterRef("work")).order_by().values("work").annotate(n=Count("pk"))
    sums = (
        ran.annotate(sharers=Subquery(sharers.values("n"))).order_by().values("user", "sharers")
        .annotate(**_sums("work__workspace__runtimes__usage__"))
    )  # fmt: skip
    used: dict[int, Amounts] = {}
    for row in sums:
        used[row["user"]] = used.get(row["user"], Amounts()) + _amounts(row, row["sharers"])
    people = strictly(User.objects).only("display_name", "username", "email").in_bulk(list(used))
    return _by_name(Line(str(people[key]), people[key].email, amounts) for key, amounts in used.items())


def _began(field: str, period: Period) -> Q:
    since, after = period.bounds()
    return Q(**{f"{field}__gte": since, f"{field}__lt": after})


def _sums(usage: str) -> dict[str, Any]:
    """The sums of `Amounts`. usage: how the row of usage is reached."""

    def total(field: str, **only: Any) -> Sum:
        return Sum(f"{usage}{field}", default=0.0, **only)

    notebook = Q(**{f"{usage}runtime__purpose": Runtime.Purpose.INTERACTIVE})
    unknown = Q(**{f"{usage}cpu_used_seconds__isnull": True})
    return {
        "wall": total("wall_seconds"),
        "grading": total("wall_seconds", filter=~notebook),
        "cpu": total("cpu_seconds"),
        "used": total("cpu_used_seconds"),
        "unmeasured": total("wall_seconds", filter=unknown),
        "memory": total("memory_gib_seconds"),
        "gpu": total("gpu_seconds"),
    }


def _amounts(row: Any, sharers: int = 1) -> Amounts:
    return Amounts(*(row[name] / sharers for name in Amounts.__slots__))


def _together(rows: Iterable[dict[str, Any]]) -> Amounts:
    return sum((_amounts(row) for row in rows), Amounts())


#: What lines are put in order by.
ORDERS = ("name", "wall", "grading", "used", "cpu", "memory", "gpu")


def chosen(lines: Sequence[Line], words: str, order: str) -> list[Line]:
    """Those whose names or keys have the words, in the order that is asked for: one of `ORDERS`, with a minus before it
    from the greatest on."""
    wanted = [line for line in lines if words.casefold() in f"{line.name} {line.key}".casefold()]
    field = order.removeprefix("-")
    if field == "name":
        return wanted[::-1] if order.startswith("-") else wanted
    return sorted(wanted, key=lambda line: float(getattr(line.amounts, field)), reverse=order.startswith("-"))
