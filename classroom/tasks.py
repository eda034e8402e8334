"""Every Celery task: primary keys in, nothing out. The rows are the truth; a task is only the wake-up."""

from __future__ import annotations

from celery import shared_task

from classroom import drive_copies, feedback_mail, invite, outbox, publish
from grading import autograde as grading
from grading import release as releases
from grading.errors import GraderUnavailable

# Modules that register deliveries of the outbox.
DELIVERIES = (invite, drive_copies, feedback_mail)


@shared_task
def check_release(release: int) -> None:
    """Runs the solution of a drafted release."""
    try:
        releases.check(release)
    except GraderUnavailable:
        # The row waits; the sweep wakes it again.
        return


@shared_task
def autograde(autograding: int) -> None:
    """Grades one queued autograding."""
    try:
        grading.autograde(autograding)
    except GraderUnavailable:
        # The row waits; the sweep wakes it again.
        return


@shared_task
def drain_outbox() -> None:
    """Delivers what waits in the outbox."""
    outbox.drain()


@shared_task
def publish_due() -> None:
    """Opens what was scheduled and closes what is over."""
    publish.publish_due()


@shared_task
def sweep() -> None:
    """Requeues what a crash left behind and wakes whatever waits."""
    for release in releases.requeue_checks():
        check_release.delay(release)
    for autograding in grading.sweep():
        autograde.delay(autograding)
    outbox.drain()
