"""Tasks carry primary keys and may come any number of times."""

from __future__ import annotations

from typing import get_args

import pytest
from celery import Task

from classroom import tasks, wake
from classroom.models import Assignment, Course, Outbox
from classroom.people.models import User
from grading.errors import GraderUnavailable
from grading.models import Autograding, ReleaseCheck
from tests.classroom.work import handed_in


@pytest.fixture
def woken(monkeypatch) -> list[tuple[str, int]]:
    """(task, *primary keys) of every task that was queued."""
    calls: list[tuple[str, int]] = []
    monkeypatch.setattr("classroom.wake.send", lambda *task: calls.append(task))
    return calls


def test_every_task_that_is_woken_by_name_is_there():
    for name in get_args(wake.Task):
        assert isinstance(getattr(tasks, name), Task)


def test_the_sweep_wakes_what_waits(ps1: Assignment, ada: User, ben: User, cleo: User, settings, woken):
    for person in (ada, ben, cleo):
        handed_in(ps1, person)
    woken.clear()
    Autograding.objects.update(queued_at="2020-01-01T00:00Z")
    ReleaseCheck.objects.update(state=ReleaseCheck.State.QUEUED)
    tasks.sweep()
    # A message for each worker, however much waits: each takes as much as it can.
    assert woken.count(("autograde_waiting",)) == settings.CELERY_WORKER_CONCURRENCY
    assert ("check_release", ps1.release_id) in woken


def test_a_worker_goes_on_while_something_waits(ps1: Assignment, ada: User, ben: User, woken, monkeypatch):
    handed_in(ps1, ada)
    handed_in(ps1, ben)
    woken.clear()
    taken: list[int] = []

    def grade(pk: int) -> None:
        taken.append(pk)
        Autograding.objects.filter(pk=pk).update(state=Autograding.State.FINISHED)

    monkeypatch.setattr("classroom.tasks.grading.autograde", grade)
    tasks.autograde_waiting()
    assert (len(taken), woken) == (2, [])


def test_without_a_free_place_the_check_waits_and_nothing_is_lost(ps1: Assignment, monkeypatch):
    def no_place(pk: int) -> None:
        raise GraderUnavailable

    monkeypatch.setattr("grading.release.check", no_place)
    monkeypatch.setattr("classroom.tasks.releases.check", no_place)
    assert tasks.check_release(ps1.release_id) is None


def test_the_sweep_sends_what_waits_in_the_outbox(course: Course, monkeypatch, woken):
    from classroom import outbox

    sent: list[str] = []
    monkeypatch.setitem(outbox._handlers, "test", lambda payload: sent.append(payload["key"]))
    outbox.post("test", "one", {})
    tasks.sweep()
    assert sent == ["one"]
    assert Outbox.objects.get().state == Outbox.State.DONE


def test_every_task_takes_nothing_but_primary_keys():
    found = [task for task in vars(tasks).values() if isinstance(task, Task)]
    assert len(found) >= 5
    for task in found:
        assert all(kind in {"int", int} for name, kind in task.run.__annotations__.items() if name != "return"), (
            task.name
        )
