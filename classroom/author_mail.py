"""A message to each author of a submission. It names the assignment and no score: mail is not private."""

from __future__ import annotations

from django.conf import settings
from django.core.mail import send_mail
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import translation
from django.utils.functional import Promise

from classroom.models import Assignment, Enrollment
from grading.models import Submission


def write_to_authors(submission: Submission, *, subject: Promise, template: str, page: str, **more: str) -> None:
    """Writes to every author who is still in the course, each in their language.

    `subject` is a lazy translation with %(assignment)s in it; `page` names the address that the mail leads to, which
    takes the submission's code; `more` is what else the template says.
    """
    assignment = Assignment.objects.select_related("course").get(line_item=submission.line_item_id)
    there = Enrollment.objects.filter(course=assignment.course, state=Enrollment.State.ACTIVE).values("user")
    for author in submission.authors.filter(pk__in=there, is_active=True):
        with translation.override(author.language or settings.LANGUAGE_CODE):
            context = {
                "name": author.get_full_name(),
                "assignment": assignment.title,
                "course": assignment.course.title,
                "address": settings.SITE_ORIGIN + reverse(page, args=[submission.code]),
                **more,
            }
            said = str(subject) % {"assignment": assignment.title}
            send_mail(said, render_to_string(template, context), None, [author.email])
