"""A machine that cannot be started is the teachers' news too: on the course's page, and once a day by mail."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.core import mail
from django.utils import timezone

from classroom import machine_trouble, outbox
from classroom.launch import open_work
from classroom.models import Course, Outbox
from runtimes.models import Runtime
from runtimes.status import Reason

pytestmark = pytest.mark.django_db
State = Runtime.State
SUBJECT = "Data: a machine cannot be started"


def words(response) -> str:
    return re.sub(r"\s+", " ", response.content.decode())


@pytest.fixture
def workspace(ps1, ada):
    return open_work(ps1, ada).workspace


@pytest.fixture
def failed(workspace):
    """`failed(ago)` is a start that failed so many hours ago, since the image cannot be fetched."""

    def make(ago: float = 0) -> Runtime:
        return Runtime.objects.create(
            workspace=workspace, profile=workspace.profile, account=workspace.account, state=State.FAILED,
            reason=Reason.IMAGE_PULL, detail="ErrImagePull: secret registry",
            stopped_at=timezone.now() - timedelta(hours=ago),
        )  # fmt: skip

    return make


def swept() -> list[mail.EmailMessage]:
    """What is in the post after a sweep."""
    machine_trouble.tell()
    outbox.drain()
    return [message for message in mail.outbox if message.subject == SUBJECT]


def test_teachers_get_one_mail_a_day_and_machine(failed, grace):
    failed()
    failed()
    assert [message.to for message in swept()] == [[grace.email]]
    failed()
    [message] = swept()
    assert "The software of this machine cannot be fetched" in message.body
    assert "registry" not in message.body
    assert "ada" not in message.body.lower()


def test_the_course_page_says_how_often_and_why_to_those_who_teach(failed, grace, tim, as_user):
    failed()
    failed()
    for person in (grace, tim):
        page = words(as_user(person).get("/c/data/teach/"))
        assert "could not be started 2 times" in page
        assert "The software of this machine cannot be fetched, so it does not start." in page


def test_the_student_reads_that_the_teachers_are_told(failed, workspace, ada, as_user):
    failed()
    page = words(as_user(ada).get(f"/w/{workspace.slug}/state/"))
    assert "The software of this machine cannot be fetched, so it does not start. Your files are kept." in page
    assert "Your teachers are told." in page


def test_what_starts_again_or_was_yesterday_is_no_trouble(failed, workspace, grace, as_user):
    failed(ago=25)
    failed(ago=2)
    Runtime.objects.create(
        profile=workspace.profile, account=workspace.account, state=State.STOPPED,
        ready_at=timezone.now() - timedelta(hours=1),
    )  # fmt: skip
    assert machine_trouble.troubles() == []
    assert "could not be started" not in words(as_user(grace).get("/c/data/teach/"))
    failed()
    assert [trouble.times for trouble in machine_trouble.troubles()] == [1]


@pytest.fixture
def waits(workspace):
    """`waits(minutes)` is a start that has waited for so long for a machine that is not there; that was asked for an
    hour ago."""

    def make(minutes: float, state: str = State.STARTING, reason: str = Reason.NO_MACHINE) -> Runtime:
        now = timezone.now()
        since = now - timedelta(minutes=minutes) if reason == Reason.NO_MACHINE else None
        return Runtime.objects.create(
            profile=workspace.profile, account=workspace.account, state=state, reason=reason,
            requested_at=now - timedelta(hours=1), in_vain_since=since, workspace=workspace,
            detail="0/1 nodes are available: 1 node(s) were unschedulable",
        )  # fmt: skip

    return make


NOT_THERE = "Nothing can run this machine at the moment. It starts by itself as soon as something can."


def test_a_machine_that_is_waited_for_in_vain_is_told_to_student_teacher_and_operator(
    waits, workspace, ada, grace, root, as_user
):
    waits(minutes=6)
    page = words(as_user(ada).get(f"/w/{workspace.slug}/state/"))
    assert f"{NOT_THERE} Your teachers are told." in page
    assert "There is nothing at the moment that could run the machine" in words(as_user(grace).get("/c/data/teach/"))
    assert [(message.to, NOT_THERE in message.body) for message in swept()] == [([grace.email], True)]
    told = words(as_user(root).get("/operate/"))
    assert "0/1 nodes are available: 1 node(s) were unschedulable" in told
    assert "waiting, number" not in told


@pytest.mark.parametrize(
    ("minutes", "state", "reason"),
    [
        (1, State.STARTING, Reason.NO_MACHINE),
        (4, State.QUEUED, Reason.NO_MACHINE),
        (60, State.STARTING, Reason.CAPACITY_WAIT),
        (60, State.READY, ""),
    ],
)
def test_a_queue_a_short_wait_and_a_machine_that_came_are_no_trouble(
    waits, workspace, ada, as_user, minutes, state, reason
):
    waits(minutes, state, reason)
    assert machine_trouble.troubles() == []
    assert "Your teachers are told." not in words(as_user(ada).get(f"/w/{workspace.slug}/state/"))


def test_who_waits_is_told_of_though_the_machine_worked_this_morning(waits, workspace):
    waits(minutes=60, state=State.QUEUED)
    Runtime.objects.create(
        profile=workspace.profile, account=workspace.account, state=State.STOPPED, ready_at=timezone.now()
    )
    assert [trouble.times for trouble in machine_trouble.troubles()] == [1]


def test_no_mail_is_written_where_the_machine_came_meanwhile(waits):
    runtime = waits(minutes=6)
    machine_trouble.tell()
    Runtime.objects.filter(pk=runtime.pk).update(state=State.READY, reason="")
    outbox.drain()
    assert mail.outbox == []


def test_a_mail_is_about_who_still_waits_and_keeps_back_none_about_what_failed(waits, failed, grace):
    gone = waits(minutes=6)
    machine_trouble.tell()
    Runtime.objects.filter(pk=gone.pk).update(state=State.STOPPED, reason=Reason.REQUESTED)
    waits(minutes=7)
    outbox.drain()
    assert [NOT_THERE in message.body for message in mail.outbox] == [True]
    Runtime.objects.update(state=State.STOPPED, reason="", ready_at=None)
    failed()
    assert ["cannot be fetched" in message.body for message in swept()] == [False, True]


def test_an_archived_course_gets_no_mail(failed):
    failed()
    Course.objects.update(archived_at=timezone.now())
    assert swept() == []
    assert Outbox.objects.get(kind="machine_mail").state == Outbox.State.DONE
