"""Every Celery task: primary keys in, nothing out. The rows are the truth; a task is only the wake-up."""

from __future__ import annotations

from celery import shared_task
from django.conf import settings

from classroom import (
    drive_copies,
    feedback_mail,
    invite,
    machine_trouble,
    outbox,
    password_mail,
    publish,
    regrade,
    score_mail,
    wake,
)
from grading import approve, drain, rehearse
from grading import autograde as grading
from grading import release as releases
from grading.errors import GraderUnavailable

# Modules that register deliveries of the outbox.
DELIVERIES = (invite, drive_copies, feedback_mail, score_mail, password_mail, machine_trouble)
GIVE_WAY_SECONDS = 1


@shared_task
def check_release(release: int) -> None:
    """Runs the solution of a drafted release."""
    try:
        releases.check(release)
    except GraderUnavailable:
        # The row waits; the sweep wakes it again.
        return


@shared_task
def autograde_waiting() -> None:
    """Grades what waits, for a while; then a message of its own is behind those that other tasks wait with."""
    if drain.drain(grading.autograde):
        wake.send("autograde_waiting")


@shared_task
def check_work(check: int) -> None:
    """Runs the visible tests over one person's work, after what waits to be graded."""
    if rehearse.gives_way(check):
        wake.send("check_work", check, after_seconds=GIVE_WAY_SECONDS)
        return
    try:
        rehearse.rehearse(check)
    except GraderUnavailable:
        # The row waits; the sweep wakes it again.
        return


@shared_task
def take_over(approval: int) -> None:
    """Lets what was approved of a regrade count, some at a time: others wait for this worker, too."""
    if regrade.take_over(approval):
        wake.send("take_over", approval)


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
        wake.send("check_release", release)
    for _worker in grading.sweep()[: settings.CELERY_WORKER_CONCURRENCY]:
        wake.send("autograde_waiting")
    for check in rehearse.sweep():
        wake.send("check_work", check)
    for approval in approve.left_behind():
        wake.send("take_over", approval)
    machine_trouble.tell()
    outbox.drain()
