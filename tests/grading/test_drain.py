"""The queue of submissions: fair, never blocked by one of them, and never at a loss when something goes away."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from django.db import OperationalError
from django.utils import timezone

from classroom import wake
from grading import autograde, drain, patience, states
from grading.engine import SandboxLost
from grading.errors import GraderUnavailable
from grading.models import Autograding, CellScore, Submission
from grading.storable import storable
from runtimes import launch
from runtimes.endpoint import Endpoint
from runtimes.errors import StorageAway
from runtimes.models import Runtime
from tests.grading.course_of_one import NoSandbox, handed_in, lending, published
from tests.grading.plain_sandbox import PlainSandbox

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("work_dir")]
RIGHT = {"answer": "answer = 42"}
State = Autograding.State


class Vanishing:
    """Lends sandboxes that are gone before anything runs in them."""

    environment_digest = ""

    @asynccontextmanager
    async def __call__(self, *, files: Mapping[str, bytes], kernel: str) -> AsyncIterator[PlainSandbox]:
        raise SandboxLost("the machine went away")
        yield


@pytest.fixture
def queue(plain, ada, ben, cleo) -> list[Submission]:
    """Three submissions, handed in by ada, ben and cleo in that order, none graded."""
    made = published(plain)
    now = timezone.now()
    queue = [handed_in(made, person, answers=RIGHT) for person in (ada, ben, cleo)]
    for place, submission in enumerate(queue):
        submission.autogradings.update(queued_at=now - timedelta(minutes=10 - place))
    return queue


def row_of(submission: Submission) -> Autograding:
    return submission.autogradings.order_by("-pk")[0]


def test_who_waits_longest_is_graded_first(queue) -> None:
    order: list[int] = []

    def grade(pk: int) -> None:
        order.append(pk)
        Autograding.objects.filter(pk=pk).update(state=State.FINISHED)

    assert not drain.drain(grade, seconds=60)
    assert order == [row_of(submission).pk for submission in queue]


def test_who_has_no_result_yet_comes_before_who_is_graded_again(queue) -> None:
    ada, ben, cleo = queue
    ada.autogradings.update(state=State.FINISHED, current=True)
    again = autograde.enqueue(ada)
    Autograding.objects.filter(pk=again.pk).update(queued_at=timezone.now() - timedelta(hours=1))
    assert drain.following(9) == [row_of(ben).pk, row_of(cleo).pk, again.pk]


def test_a_turn_ends_and_says_that_more_waits(queue) -> None:
    taken: list[int] = []

    def grade(pk: int) -> None:
        taken.append(pk)
        Autograding.objects.filter(pk=pk).update(state=State.FINISHED)

    assert drain.drain(grade, seconds=0)
    assert len(taken) == 1


def test_what_comes_meanwhile_waits_for_the_next_turn(queue) -> None:
    def grade(pk: int) -> None:
        Autograding.objects.filter(pk=pk).update(state=State.FINISHED)
        Autograding.objects.filter(pk=row_of(queue[2]).pk).update(state=State.QUEUED, queued_at=timezone.now())

    assert drain.drain(grade, seconds=60)


def test_one_that_breaks_its_grading_keeps_nobody_waiting(queue, plain) -> None:
    ada, ben, cleo = queue

    def grade(pk: int) -> bool:
        poison = pk == row_of(ada).pk
        return autograde.autograde(pk, lend=lending(Vanishing() if poison else plain))

    for _turn in range(states.MOST_TRIES):
        drain.drain(grade, seconds=600)
    assert [row_of(submission).state for submission in (ben, cleo)] == [State.FINISHED, State.FINISHED]
    parked = row_of(ada)
    assert (parked.state, parked.tries) == (State.PARKED, states.MOST_TRIES)
    assert parked.log.count("the machine went away") == states.MOST_TRIES
    assert [failure["code"] for failure in parked.failures] == ["gave_up"]
    ada.refresh_from_db()
    assert ada.state == Submission.State.FAILED
    assert not drain.following(9)


def test_what_was_parked_is_graded_again_on_request(queue, plain) -> None:
    ada = queue[0]
    for _try in range(states.MOST_TRIES):
        assert not autograde.autograde(row_of(ada).pk, lend=lending(Vanishing()))
    assert row_of(ada).state == State.PARKED
    assert autograde.autograde(autograde.enqueue(ada).pk, lend=lending(plain))
    assert (row_of(ada).state, row_of(ada).current) == (State.FINISHED, True)
    assert [row.state for row in ada.autogradings.order_by("pk")] == [State.PARKED, State.FINISHED]


def test_one_that_ends_its_worker_every_time_is_parked(queue) -> None:
    ada = queue[0]
    rows = Autograding.objects.filter(submission=ada)
    for attempt in range(1, states.MOST_TRIES + 1):
        assert rows.get().state == State.QUEUED
        rows.update(state=State.RUNNING, tries=attempt, lease_owner="dead", lease_until=timezone.now() - states.LEASE)
        autograde.sweep()
    parked = rows.get()
    assert parked.state == State.PARKED
    assert parked.log.count("the worker that graded it ended") == states.MOST_TRIES
    scores = CellScore.objects.filter(autograding=parked).values_list("auto_score", "needs_manual_grade")
    assert set(scores) == {(None, True)}


def test_an_error_of_ours_counts_as_a_try_and_is_in_the_log(queue, monkeypatch) -> None:
    def broken(release: object, **_: object) -> None:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(autograde, "spec_of", broken)
    with pytest.raises(ZeroDivisionError):
        autograde.autograde(row_of(queue[0]).pk)
    row = row_of(queue[0])
    assert (row.state, row.tries) == (State.QUEUED, 1)
    assert "ZeroDivisionError: ours" in row.log


def test_no_place_is_no_try_and_ends_the_turn(queue) -> None:
    asked: list[int] = []

    def grade(pk: int) -> bool:
        asked.append(pk)
        return autograde.autograde(pk, lend=lending(NoSandbox()))

    for _turn in range(states.MOST_TRIES + 1):
        assert not drain.drain(grade, seconds=600)
    assert len(asked) == states.MOST_TRIES + 1
    assert {(row_of(submission).state, row_of(submission).tries) for submission in queue} == {(State.QUEUED, 0)}


def test_scores_are_stored_once_although_the_database_went_away(queue, plain, monkeypatch) -> None:
    monkeypatch.setattr(patience, "PAUSES", (0, 0, 0))
    seen: list[int] = []

    def away_twice(row: Autograding) -> None:
        seen.append(row.pk)
        if len(seen) < 3:
            raise OperationalError("the database system is starting up")

    row = row_of(queue[0])
    assert autograde.autograde(row.pk, on_finished=away_twice, lend=lending(plain))
    assert len(seen) == 3
    assert CellScore.objects.filter(autograding=row).count() == 3
    assert len(plain.pushed) == 2  # the solution's check and this: nothing was run again


def test_text_that_no_database_takes_is_stored_with_marks(plain, ada) -> None:
    submission = handed_in(published(plain), ada, answers={"answer": r"raise RuntimeError('a\0b\ud800c')"})
    assert autograde.autograde(row_of(submission).pk, lend=lending(plain))
    assert row_of(submission).state == State.FINISHED
    assert storable({"a\0": ["\ud800", 1, ("é",)]}) == {"a\ufffd": ["\ufffd", 1, ("é",)]}


@pytest.mark.parametrize(("workers", "sent"), [(1, 0), (2, 1)])
def test_a_worker_is_woken_only_where_one_is_idle(workers, sent, queue, settings, monkeypatch) -> None:
    settings.CELERY_WORKER_CONCURRENCY = workers
    messages: list[str] = []
    monkeypatch.setattr(wake, "send", messages.append)
    queue[0].autogradings.update(state=State.RUNNING, lease_until=timezone.now() + states.LEASE)
    wake.grader()
    assert len(messages) == sent


def test_a_broker_that_is_down_refuses_no_submission(queue, monkeypatch) -> None:
    def down(task: str) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr(wake, "send", down)
    wake.grader()
    assert len(drain.following(9)) == 3


def test_a_worker_whose_database_goes_on_failing_raises_at_last(monkeypatch) -> None:
    monkeypatch.setattr(patience, "PAUSES", (0,))

    def store() -> None:
        raise OperationalError("gone")

    with pytest.raises(OperationalError):
        patience.patiently(store)


def test_what_was_found_out_waits_for_storage_too(monkeypatch) -> None:
    monkeypatch.setattr(patience, "PAUSES", (0,))
    answers = iter([StorageAway("gone"), "stored"])

    def store() -> str:
        answer = next(answers)
        if isinstance(answer, StorageAway):
            raise answer
        return str(answer)

    assert patience.patiently(store) == "stored"


def test_while_storage_is_away_a_submission_keeps_its_turn_and_its_tries(queue, monkeypatch) -> None:
    def away(snapshot: object) -> None:
        raise StorageAway("gone")

    monkeypatch.setattr(autograde.storage, "read_snapshot", away)
    row = row_of(queue[0])
    with pytest.raises(GraderUnavailable):
        autograde.autograde(row.pk, lend=lending(NoSandbox()))
    again = row_of(queue[0])
    assert (again.state, again.tries) == (row.state, row.tries)


def test_a_worker_that_began_before_a_change_of_keys_waits_and_counts_no_try(queue, monkeypatch, settings) -> None:
    async def begun_by_another(runtime: Runtime, _patience: timedelta) -> Runtime:
        runtime.endpoint = Endpoint("tcp", "192.0.2.1", "new", settings.MASTER_KEY_VERSION + 1).to_json()
        return runtime

    monkeypatch.setattr(launch, "ready", begun_by_another)
    row = row_of(queue[0])
    for _turn in range(states.MOST_TRIES + 1):
        with pytest.raises(GraderUnavailable, match="MASTER_KEY here lacks version"):
            autograde.autograde(row.pk)
    row.refresh_from_db()
    assert (row.state, row.tries, row.log) == (State.QUEUED, 0, "")
    # What was begun for it is let go.
    assert not Runtime.objects.filter(state__in=Runtime.LIVE).exists()


def test_no_place_is_told_to_whoever_asked(queue) -> None:
    with pytest.raises(GraderUnavailable):
        autograde.autograde(row_of(queue[0]).pk, lend=lending(NoSandbox()))
