"""A message to each author when a regrade moved a score that they could see."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext_lazy as _

from classroom.author_mail import write_to_authors
from classroom.outbox import NothingToDo, handles
from grading.models import RegradeChange


@handles("score_changed_mail")
def deliver(payload: Mapping[str, Any]) -> None:
    """Writes to every author who is still in the course. Raises NothingToDo where another change came after it."""
    change = RegradeChange.objects.select_related("submission").get(pk=payload["change"])
    if RegradeChange.objects.filter(submission=change.submission_id, pk__gt=change.pk).exists():
        raise NothingToDo("it was changed once more")
    write_to_authors(
        change.submission,
        subject=_("Your score in %(assignment)s has changed"),
        template="mail/score_changed.txt",
        page="receipt",
        reason=change.reason,
    )
