"""What is posted is done once, with patience."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from classroom import outbox
from classroom.models import Outbox

State = Outbox.State


@pytest.fixture
def sent(monkeypatch):
    """Payloads that arrived; `sent.fails` is raised instead, if set."""

    class Sent(list):
        fails: Exception | None = None

    found = Sent()

    def handler(payload):
        if found.fails is not None:
            raise found.fails
        found.append(payload)

    monkeypatch.setitem(outbox._handlers, "test", handler)
    return found


def row() -> Outbox:
    return Outbox.objects.get()


def due_now() -> None:
    Outbox.objects.update(not_before=timezone.now() - timedelta(seconds=1))


@pytest.mark.django_db
def test_a_row_is_delivered_once(sent):
    outbox.post("test", "one", {"user": 1})
    assert outbox.drain() == 1
    assert outbox.drain() == 0
    assert sent == [{"user": 1, "key": "one"}]
    assert row().state == State.DONE


@pytest.mark.django_db
def test_a_key_is_posted_once(sent):
    outbox.post("test", "one", {"user": 1})
    outbox.post("test", "one", {"user": 2})
    outbox.drain()
    assert [payload["user"] for payload in sent] == [1]


@pytest.mark.django_db
def test_a_key_that_is_taken_breaks_no_transaction(sent):
    with transaction.atomic():
        outbox.post("test", "one", {})
        outbox.post("test", "one", {})
        assert Outbox.objects.count() == 1


@pytest.mark.django_db
def test_what_may_pass_by_itself_is_tried_again_later_and_later(sent):
    sent.fails = ConnectionRefusedError("mail is down")
    outbox.post("test", "one", {})
    outbox.drain()
    first = row().not_before - timezone.now()
    assert row().state == State.WAITING
    assert outbox.drain() == 0
    due_now()
    outbox.drain()
    assert row().not_before - timezone.now() > first
    sent.fails = None
    due_now()
    outbox.drain()
    assert (row().state, row().tries, len(sent)) == (State.DONE, 3, 1)


@pytest.mark.django_db
def test_what_cannot_pass_fails_at_once_and_says_why(sent):
    sent.fails = ValueError("no such person")
    outbox.post("test", "one", {})
    outbox.drain()
    assert row().state == State.FAILED
    assert "no such person" in row().message


@pytest.mark.django_db
def test_after_the_last_try_it_is_given_up(sent):
    sent.fails = ConnectionRefusedError()
    outbox.post("test", "one", {})
    for _try in range(outbox.MOST_TRIES):
        due_now()
        outbox.drain()
    assert row().state == State.FAILED


@pytest.mark.django_db
def test_what_a_dead_worker_held_is_taken_up_when_its_lease_ends(sent):
    outbox.post("test", "one", {})
    held = outbox._take()
    assert outbox.drain() == 0
    Outbox.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    assert outbox.drain() == 1
    # The first worker was only slow: its word no longer counts.
    outbox._failed(held, ConnectionRefusedError())
    assert (row().state, len(sent)) == (State.DONE, 1)


@pytest.mark.django_db
def test_one_bad_row_does_not_hold_up_the_others(sent):
    outbox.post("nobody handles this", "bad", {})
    outbox.post("test", "good", {})
    assert outbox.drain() == 2
    assert len(sent) == 1
