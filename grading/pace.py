"""How far a number of autogradings is, how fast it goes, and when it will be done: measured, or unknown."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, QuerySet

from grading.models import Autograding

State = Autograding.State
#: Fewer ended runs than this say nothing about the next.
FEWEST = 5
#: The latest ones tell how fast it goes now.
_LATEST = 50

type Run = tuple[datetime, datetime]


@dataclass(frozen=True)
class Pace:
    """Counts of runs, and how many end in a minute; None where too few have ended to tell."""

    waiting: int
    running: int
    finished: int
    failed: int
    per_minute: float | None

    @property
    def done(self) -> int:
        """How many have ended, well or not."""
        return self.finished + self.failed

    @property
    def all(self) -> int:
        """How many there are."""
        return self.waiting + self.running + self.done

    @property
    def moving(self) -> bool:
        """Whether anything is still to come."""
        return bool(self.waiting or self.running)

    @property
    def left(self) -> timedelta | None:
        """The time that the rest will take at this pace; None: unknown."""
        if not self.per_minute:
            return None
        return timedelta(minutes=(self.waiting + self.running) / self.per_minute)


def pace(runs: QuerySet[Autograding]) -> Pace:
    """Two queries, however many there are."""
    counted = {row["state"]: row["n"] for row in runs.order_by().values("state").annotate(n=Count("pk"))}
    timed = runs.filter(started_at__isnull=False, finished_at__isnull=False).order_by("-finished_at")
    latest = [
        (started, finished)
        for started, finished in timed.values_list("started_at", "finished_at")[:_LATEST]
        if started is not None and finished is not None
    ]
    waiting, running, finished = (counted.pop(state, 0) for state in (State.QUEUED, State.RUNNING, State.FINISHED))
    return Pace(waiting, running, finished, failed=sum(counted.values()), per_minute=throughput(latest))


def throughput(runs: Iterable[Run]) -> float | None:
    """Ended runs for each minute in which at least one ran, idle time left out; None below `FEWEST`."""
    ordered = sorted(runs)
    if len(ordered) < FEWEST:
        return None
    busy, until = timedelta(0), ordered[0][0]
    for started, finished in ordered:
        busy += max(finished - max(started, until), timedelta(0))
        until = max(until, finished)
    return len(ordered) / (busy / timedelta(minutes=1)) if busy else None
