"""What a person reads about the last check of their work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from classroom.models import Work
from classroom.rehearse import account_of
from grading import rehearse
from grading.explain import FAILURES, explain
from grading.models import WorkCheck


@dataclass(frozen=True)
class LastCheck:
    """The last check, if there is one, and how many are left (None: any number)."""

    check: WorkCheck | None
    left: int | None
    results: Sequence[dict[str, Any]]
    failures: Sequence[str]

    @property
    def moving(self) -> bool:
        """Whether it will say more by itself."""
        return self.check is not None and self.check.state in rehearse.OPEN

    @property
    def passed(self) -> int:
        """How many cells of tests passed."""
        return sum(bool(row["passed"]) for row in self.results)


def last(work: Work) -> LastCheck:
    """Two queries."""
    account = account_of(work)
    check = WorkCheck.objects.filter(account=account).order_by("-pk").first()
    return LastCheck(
        check=check,
        left=rehearse.checks_left(work.release, account),
        results=check.results if check else (),
        failures=[explain(FAILURES, row) for row in check.failures] if check else (),
    )
