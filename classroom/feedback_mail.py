"""A message to each author when feedback is returned. It names the assignment and no score: mail is not private."""

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
from grading.models import Feedback, Submission


@handles("feedback_mail")
def deliver(payload: Mapping[str, Any]) -> None:
    """Writes to every author who is still in the course. Raises NothingToDo if feedback was taken back meanwhile."""
    submission = Submission.objects.select_related("feedback").get(pk=payload["submission"])
    if submission.feedback.state != Feedback.State.RELEASED:
        raise NothingToDo("feedback was taken back")
    assignment = Assignment.objects.select_related("course").get(line_item=submission.line_item_id)
    there = Enrollment.objects.filter(course=assignment.course, state=Enrollment.State.ACTIVE).values("user")
    for author in submission.authors.filter(pk__in=there, is_active=True):
        _write(author, assignment, submission)


def _write(author: User, assignment: Assignment, submission: Submission) -> None:
    with translation.override(author.language or settings.LANGUAGE_CODE):
        subject = _("Feedback on %(assignment)s") % {"assignment": assignment.title}
        context = {
            "name": author.get_full_name(),
            "assignment": assignment.title,
            "course": assignment.course.title,
            "address": settings.SITE_ORIGIN + reverse("feedback", args=[submission.code]),
        }
        send_mail(subject, render_to_string("mail/feedback.txt", context), None, [author.email])
