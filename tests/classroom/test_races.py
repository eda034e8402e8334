"""Two at once, on whichever database the tests run."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.utils import timezone

from classroom import courses, invite, outbox, publish, roster
from classroom.models import Assignment, Course, Enrollment, Outbox
from classroom.people.models import User
from classroom.roster_read import read
from tests.classroom.work import published

pytestmark = pytest.mark.django_db(transaction=True)


def at_once(act: Callable[[], Any], *, times: int = 4) -> list[Any]:
    """What each of several threads got, or the error it ended with."""
    barrier = threading.Barrier(times)
    results: list[Any] = []

    def run() -> None:
        try:
            barrier.wait()
            results.append(act())
        except Exception as error:
            results.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(times)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.fixture(autouse=True)
def permissions(transactional_db: None) -> None:
    """A transactional test empties the tables, the permissions too."""
    from django.contrib.auth.management import create_permissions

    if not Permission.objects.filter(codename="add_course").exists():
        from django.apps import apps

        create_permissions(apps.get_app_config("classroom"), verbosity=0)


@pytest.fixture
def teacher() -> User:
    return User.objects.create_user("teach", "teach@example.org", "a long phrase")


@pytest.fixture
def small(teacher: User) -> Course:
    return courses.create(slug="small", title="Small", term="", time_zone="UTC", by=teacher)


def test_a_row_of_the_outbox_is_delivered_by_one_of_many_workers(monkeypatch):
    sent: list[str] = []
    monkeypatch.setitem(outbox._handlers, "test", lambda payload: sent.append(payload["key"]))
    monkeypatch.setattr("classroom.wake.send", lambda *task: None)
    for number in range(10):
        outbox.post("test", f"row {number}", {})
    results = at_once(outbox.drain)
    assert sum(results) == 10
    assert sorted(sent) == sorted(f"row {number}" for number in range(10))
    assert set(Outbox.objects.values_list("state", flat=True)) == {Outbox.State.DONE}


def test_a_list_applied_by_two_clicks_at_once_makes_each_person_once(small: Course, teacher: User):
    class_list = read("email,section\n" + "".join(f"s{number}@example.org,A\n" for number in range(20)))
    digest = roster.plan(small, class_list, teacher).digest
    results = at_once(lambda: roster.apply(small, class_list, by=teacher, digest=digest))
    assert all(isinstance(result, roster.Applied | roster.RosterChanged) for result in results)
    assert sum(result.joined for result in results if isinstance(result, roster.Applied)) == 20
    assert Enrollment.objects.filter(course=small, role=Enrollment.Role.STUDENT).count() == 20
    assert small.sections.count() == 1


def test_an_invitation_is_accepted_once(small: Course, teacher: User):
    class_list = read("email\nfran@example.org\n")
    roster.apply(small, class_list, by=teacher, digest=roster.plan(small, class_list, teacher).digest)
    fran = User.objects.get(email="fran@example.org")
    invitation = invite.find(invite.issue(fran, teacher).rstrip("/").rsplit("/", 1)[1])
    results = at_once(lambda: invite.accept(invitation, "a long phrase"))
    assert sum(isinstance(result, User) for result in results) == 1
    assert sum(isinstance(result, invite.InvitationGone) for result in results) == 3


def test_what_is_due_opens_and_closes_once_however_many_beats(small: Course, teacher: User, monkeypatch):
    monkeypatch.setattr("classroom.wake.send", lambda *task: None)
    assignment = published(small, teacher)
    assert assignment.release is not None
    Assignment.objects.update(
        state=Assignment.State.SCHEDULED, next_release=assignment.release, release=None, publish_at=timezone.now()
    )
    results = at_once(publish.publish_due)
    assert all(isinstance(result, int) for result in results)
    found = Assignment.objects.get()
    assert (found.state, found.release, found.next_release) == (Assignment.State.OPEN, assignment.release, None)
    Assignment.objects.update(closes_at=timezone.now() - timedelta(seconds=1))
    at_once(publish.publish_due)
    assert Assignment.objects.get().state == Assignment.State.CLOSED


def test_the_last_teachers_cannot_take_each_other_out(small: Course, teacher: User):
    other = User.objects.create_user("other", "other@example.org", "a long phrase")
    Enrollment.objects.create(course=small, user=other, role=Enrollment.Role.TEACHER)
    both = list(Enrollment.objects.filter(course=small))
    turns = iter(both)
    lock = threading.Lock()

    def leave() -> None:
        with lock:
            mine = next(turns)
        roster.drop(mine)

    results = at_once(leave, times=2)
    left = Enrollment.objects.filter(course=small).exclude(state=Enrollment.State.DROPPED).count()
    assert left == 1
    assert sum(isinstance(result, roster.LastTeacher) for result in results) == 1
