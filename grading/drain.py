"""What waits to be graded, to workers: many rows for each time that one is woken, in a fair order.

Whoever asks for grading imports this, so it is to load nothing that grades: nbgrader takes a second and 60 MB.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import datetime

from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from grading.errors import GraderUnavailable
from grading.models import Autograding, Regrade, Submission
from grading.patience import drop_dead_connection

logger = logging.getLogger(__name__)

#: How long a worker goes on before whatever else waits for a worker has its turn.
TURN_SECONDS = 2.0
_AT_ONCE = 20


def waiting() -> Q:
    """Rows that may be taken: queued, and stopped neither with their assignment nor with their regrade."""
    stopped = Submission.objects.filter(line_item__grading_stopped_at__isnull=False)
    over = Regrade.objects.exclude(state=Regrade.State.OPEN, stopped_at=None)
    return Q(state=Autograding.State.QUEUED) & ~Q(submission__in=stopped) & ~Q(regrade__in=over)


def following(most: int, before: datetime | None = None) -> list[int]:
    """Rows that wait, queued before a moment if one is given: who has no result yet, then who is graded again, then
    regrades; among each, first come, first served."""
    result = Autograding.objects.filter(submission=OuterRef("submission"), current=True)
    rows = Autograding.objects.filter(waiting()).annotate(again=Exists(result), late=Q(regrade__isnull=False))
    if before is not None:
        rows = rows.filter(queued_at__lt=before)
    return list(rows.order_by("late", "again", "queued_at", "pk").values_list("pk", flat=True)[:most])


def drain(grade: Callable[[int], object], *, seconds: float = TURN_SECONDS) -> bool:
    """Grades rows until none waits or the turn is over; True if some still wait then. Any number of workers may drain.

    A row that fails takes none with it; one that has to wait for a sandbox ends the turn, for they all would.
    """
    begun, ends = timezone.now(), time.monotonic() + seconds
    while rows := following(_AT_ONCE, before=begun):
        for row in rows:
            drop_dead_connection()
            try:
                grade(row)
            except GraderUnavailable:
                return False
            except Exception:
                logger.exception("autograding %s", row)
            if time.monotonic() > ends:
                return bool(following(1))
    return bool(following(1))


def is_attended(workers: int) -> bool:
    """Whether all workers grade already: each looks for more before it stops, so none needs to be woken."""
    running = Autograding.objects.filter(state=Autograding.State.RUNNING, lease_until__gt=timezone.now())
    return running.count() >= workers
