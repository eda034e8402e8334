"""A message to each author when a regrade moved a score that they could see. Like all mail it names no score."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.core.mail import send_mail
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import translation
from django.utils.translation import gettext as _

from classroom.models import Assignment, Enrollment
from classroom.outbox import NothingToDo, handles
from classroom.people.models import User
from grading.models import RegradeChange


@handles("score_changed_mail")
def deliver(payload: Mapping[str, Any]) -> None:
    """Writes to every author who is still in the course. Raises NothingToDo where another change came after it."""
    change = RegradeChange.objects.select_related("submission").get(pk=payload["change"])
    if RegradeChange.objects.filter(submission=change.submission_id, pk__gt=change.pk).exists():
        raise NothingToDo("it was changed once more")
    assignment = Assignment.objects.select_related("course").get(line_item=change.submission.line_item_id)
    there = Enrollment.objects.filter(course=assignment.course, state=Enrollment.State.ACTIVE).values("user")
    for author in change.submission.authors.filter(pk__in=there, is_active=True):
        _write(author, assignment, change)


def _write(author: User, assignment: Assignment, change: RegradeChange) -> None:
    with translation.override(author.language or settings.LANGUAGE_CODE):
        subject = _("Your score in %(assignment)s has changed") % {"assignment": assignment.title}
        context = {
            "name": author.get_full_name(),
            "assignment": assignment.title,
            "course": assignment.course.title,
            "reason": change.reason,
            "address": settings.SITE_ORIGIN + reverse("receipt", args=[change.submission.code]),
        }
        send_mail(subject, render_to_string("mail/score_changed.txt", context), None, [author.email])
