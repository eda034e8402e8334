"""Wakes a worker for rows that wait, once the caller's transaction is committed.

Verbs know tasks by name only, since `tasks.py` imports the verbs. A message that is lost, or a broker that is down,
loses no row and refuses nobody: the sweep finds what waits.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

from django.conf import settings
from django.db import transaction

from classroom.celery import app
from grading import drain

Task = Literal["autograde_waiting", "check_release", "check_work", "drain_outbox", "take_over"]


def worker(task: Task, *primary_keys: int) -> None:
    """Has a worker do `task` after the commit."""
    transaction.on_commit(partial(send, task, *primary_keys), robust=True)


def grader() -> None:
    """Has a worker look for what waits to be graded. No message is sent while every worker grades."""
    transaction.on_commit(_grader, robust=True)


def graders() -> None:
    """The same with every worker: for many rows at once."""
    for _worker in range(settings.CELERY_WORKER_CONCURRENCY):
        grader()


def send(task: Task, *primary_keys: int, after_seconds: int = 0) -> None:
    """Sends the message now. Raises what the broker's connection raises."""
    app.send_task(f"classroom.tasks.{task}", primary_keys, countdown=after_seconds or None)


def _grader() -> None:
    if not drain.is_attended(settings.CELERY_WORKER_CONCURRENCY):
        send("autograde_waiting")
