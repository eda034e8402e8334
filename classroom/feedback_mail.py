"""A message to each author when feedback is returned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext_lazy as _

from classroom.author_mail import write_to_authors
from classroom.outbox import NothingToDo, handles
from grading.models import Feedback, Submission


@handles("feedback_mail")
def deliver(payload: Mapping[str, Any]) -> None:
    """Writes to every author who is still in the course. Raises NothingToDo if feedback was taken back meanwhile."""
    submission = Submission.objects.select_related("feedback").get(pk=payload["submission"])
    if submission.feedback.state != Feedback.State.RELEASED:
        raise NothingToDo("feedback was taken back")
    write_to_authors(submission, subject=_("Feedback on %(assignment)s"), template="mail/feedback.txt", page="feedback")
