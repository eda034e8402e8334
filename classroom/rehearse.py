"""*Check*: a person's work as it is now, run against the tests that they see."""

from __future__ import annotations

from classroom import wake
from classroom.models import Work
from classroom.submit import bring_in
from grading import rehearse
from grading.models import WorkCheck
from runtimes import storage


def account_of(work: Work) -> str:
    """What checks of this work are counted by."""
    return f"work:{work.pk}"


def check(work: Work) -> WorkCheck:
    """The check that runs for this work, or a new one of the work as it is on the server. A double click asks once.

    Raises NotSaved and what `grading.rehearse.ask` raises.
    """
    account = account_of(work)
    known = WorkCheck.objects.filter(account=account, state__in=rehearse.OPEN).first()
    if known is not None:
        return known
    rehearse.may_ask(work.release, account)
    bring_in(work)
    asked = rehearse.ask(work.release, storage.snapshot(work.workspace), account)
    if asked.state == WorkCheck.State.QUEUED:
        wake.worker("check_work", asked.pk)
    return asked
