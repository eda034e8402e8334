"""A regrade: compared before anything counts, approved one by one, rejected without a trace."""

from __future__ import annotations

import copy
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.utils import timezone
from nbformat.v4 import new_code_cell, new_notebook

from grading import approve, autograde, drain, feedback, regrade, release, review, states
from grading.compare import Difference, differences
from grading.errors import AlreadyRegrading, NothingToApprove, NothingToRegrade, NotRegradable
from grading.models import (
    Approval,
    ApprovalLine,
    Autograding,
    CellScore,
    Feedback,
    LineItem,
    Regrade,
    RegradeChange,
    Release,
    Submission,
)
from grading.pace import pace, throughput
from tests.grading.corpus import dump
from tests.grading.course_of_one import CELLS, PYTHON, handed_in, lending, line_item, published
from tests.grading.versions import candidate, cell, end, version

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("work_dir")]
State = Submission.State


@pytest.fixture
def item() -> LineItem:
    return line_item()


@pytest.fixture
def old(item) -> Release:
    return version(item)


@pytest.fixture
def adas(old, ada) -> Submission:
    return scored(handed_in(old, ada), 3)


@pytest.fixture
def bens(old, ben) -> Submission:
    return scored(handed_in(old, ben), 0, failed_tests="AssertionError: 41")


def scored(submission: Submission, tests: int, **more: str) -> Submission:
    end(autograde.enqueue(submission), tests, **more)
    submission.refresh_from_db()
    return submission


def reviewed(submission: Submission, by, why: int = 1) -> Submission:
    review.give(submission, cell(submission.scored_by, "why"), by, manual_score=Decimal(why))
    review.finish(submission, by)
    return submission


def shown(found: Regrade) -> dict[int, str]:
    return {one.submission.pk: one.fingerprint for one in differences(found)}


def approved(found: Regrade, by, chosen: dict[int, str], *, on_taken: approve.OnTaken | None = None, **more) -> dict:
    """Approved and taken over to the end: how many lines came to which state."""
    made = approve.approve(found, by, chosen, **more)
    while approve.take_over(made.pk, on_taken=on_taken):
        pass
    return outcome(made)


def outcome(made: Approval) -> dict:
    """How many lines are in which state."""
    return dict(Counter(made.lines.values_list("state", flat=True)))


def only(found: Regrade) -> Difference:
    [one] = differences(found)
    return one


def test_nothing_counts_before_it_is_approved(item, adas, bens, grace) -> None:
    newer = version(item, tests=5)
    found = regrade.start(item, newer, [adas, bens], grace, reason="The test was wrong.")
    assert [row.release for row in found.candidates.all()] == [newer, newer]
    end(candidate(found, bens), 5)
    bens.refresh_from_db()
    assert (bens.state, bens.scored_by, review.total_of(bens).score) == (State.TO_REVIEW, bens.release, 0)
    one = only(found)
    assert (one.submission, one.old.score, one.new.score, one.new.max_score) == (bens, 0, 5, 7)
    [moved] = one.cells
    assert (moved.cell.grade_id, moved.before.failed_tests, moved.after.failed_tests) == (
        "tests",
        "AssertionError: 41",
        "",
    )
    assert moved.points_changed


def test_approving_makes_candidates_current_and_keeps_what_people_gave(item, adas, grace, tim) -> None:
    reviewed(adas, tim)
    heard: list[RegradeChange] = []
    found = regrade.start(item, version(item, tests=4), [adas], grace, reason="One point more.")
    end(candidate(found, adas), 4)
    assert approved(found, grace, shown(found), on_taken=heard.append) == {"taken": 1}
    adas = Submission.objects.get(pk=adas.pk)
    assert (adas.state, adas.scored_by, review.total_of(adas).score) == (State.REVIEWED, found.release, 5)
    change = heard[0]
    assert (change.old_score, change.new_score, change.reason, change.by) == (4, 5, "One point more.", grace)
    assert (change.replaced.current, change.autograding.current) == (True, False)  # as read before the exchange
    assert list(adas.autogradings.filter(current=True)) == [candidate(found, adas)]
    found.refresh_from_db()
    assert (found.state, found.decided_by) == (Regrade.State.DONE, grace)


def test_some_can_be_approved_and_the_rest_left(item, adas, bens, grace) -> None:
    found = regrade.start(item, version(item), [adas, bens], grace, reason="x")
    for one in (adas, bens):
        end(candidate(found, one), 2)
    every = shown(found)
    assert approved(found, grace, {bens.pk: every[bens.pk]}) == {"taken": 1}
    assert [one.submission for one in differences(found)] == [adas]
    assert regrade.reject(found, grace)
    assert not regrade.reject(found, grace)
    found.refresh_from_db()
    assert found.state == Regrade.State.DONE
    assert (review.total_of(Submission.objects.get(pk=adas.pk)).score) == 3
    with pytest.raises(NothingToApprove):
        approve.approve(found, grace, {adas.pk: every[adas.pk]})


def test_rejecting_changes_nothing_and_drops_what_waits(item, adas, bens, grace) -> None:
    before = list(Autograding.objects.filter(regrade=None).values())
    found = regrade.start(item, version(item), [adas, bens], grace, reason="x")
    end(candidate(found, adas), 0)
    assert regrade.reject(found, grace)
    found.refresh_from_db()
    assert found.state == Regrade.State.REJECTED
    assert list(Autograding.objects.filter(regrade=None).values()) == before
    assert found.candidates.filter(state=Autograding.State.QUEUED).count() == 0
    assert not RegradeChange.objects.exists()
    assert regrade.start(item, None, [adas], grace, reason="again")


def test_what_changed_since_it_was_shown_is_not_approved(item, adas, bens, grace, tim) -> None:
    found = regrade.start(item, version(item), [adas, bens], grace, reason="x")
    for one in (adas, bens):
        end(candidate(found, one), 2)
    every = shown(found)
    review.give(adas, cell(adas.release, "why"), tim, manual_score=Decimal(2))
    Autograding.objects.filter(submission=bens, regrade=None).update(current=False)
    end(autograde.enqueue(bens), 1)
    assert approved(found, grace, every, for_later=True) == {"changed": 2}
    assert not RegradeChange.objects.exists()
    found.refresh_from_db()
    assert (found.state, found.holds_from) == (Regrade.State.OPEN, None)
    assert approved(found, grace, shown(found)) == {"taken": 2}


def test_what_is_graded_at_the_moment_is_not_approved(item, adas, grace) -> None:
    found = regrade.start(item, version(item), [adas], grace, reason="x")
    end(candidate(found, adas), 2)
    Submission.objects.update(state=State.GRADING)
    assert approved(found, grace, shown(found)) == {"changed": 1}
    assert Autograding.objects.get(current=True).regrade is None


def at_once(act, times: int = 2) -> list[object]:
    """What each of these threads got, or the error that it met."""
    results: list[object] = []

    def work() -> None:
        try:
            results.append(act())
        except NothingToApprove as error:
            results.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(times)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_two_teachers_approve_at_once_and_it_counts_once(item, adas, bens, grace) -> None:
    found = regrade.start(item, version(item), [adas, bens], grace, reason="x")
    for one in (adas, bens):
        end(candidate(found, one), 2)
    every = shown(found)
    results = at_once(lambda: approve.approve(found, grace, every))
    assert sorted(type(result).__name__ for result in results) == ["Approval", "NothingToApprove"]
    made = Approval.objects.get()
    at_once(lambda: approve.take_over(made.pk))
    approve.take_over(made.pk)
    assert outcome(made) == {"taken": 2}
    assert RegradeChange.objects.count() == 2
    assert Autograding.objects.filter(current=True, regrade=found).count() == 2


def test_two_workers_whose_lease_ran_out_take_each_once(item, adas, bens, grace) -> None:
    """The lease saves work; that each counts once does not depend on it."""
    found = regrade.start(item, version(item), [adas, bens], grace, reason="x")
    for one in (adas, bens):
        end(candidate(found, one), 2)
    made = approve.approve(found, grace, shown(found))
    heard: list[int] = []
    at_once(lambda: approve._take_some(made, lambda change: heard.append(change.submission_id)), times=4)
    assert (sorted(heard), outcome(made)) == (sorted([adas.pk, bens.pk]), {"taken": 2})


class Killed(BaseException):
    """As a worker that is killed: nothing after it runs."""


def lease_ends(made: Approval) -> None:
    Approval.objects.filter(pk=made.pk).update(lease_until=timezone.now() - timedelta(seconds=1))


def state_of_everything() -> dict[str, list]:
    """What students, teachers and the next worker read, without keys and times."""
    return {
        "submissions": list(
            Submission.objects.order_by("pk").values_list("authors__username", "state", "correction__number")
        ),
        "current": list(
            Autograding.objects.filter(current=True)
            .order_by("submission")
            .values_list("submission__authors__username", "release__number", "regrade__reason")
        ),
        "changes": list(
            RegradeChange.objects.order_by("submission").values_list("old_score", "new_score", "reason", "by__username")
        ),
        "news": list(Feedback.objects.order_by("submission").values_list("read_at", flat=True)),
        "regrade": list(Regrade.objects.values_list("state", "decided_by__username")),
        "lines": list(ApprovalLine.objects.order_by("candidate").values_list("state", flat=True)),
    }


def tried_on_three(item, old, people, grace) -> Regrade:
    handed = [scored(handed_in(old, person), 3) for person in people]
    Feedback.objects.bulk_create(Feedback(submission=one, by=grace, read_at=timezone.now()) for one in handed)
    found = regrade.start(item, version(item, tests=5), handed, grace, reason="x")
    for one in handed:
        end(candidate(found, one), 5)
    return found


@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_killed_on_the_way_and_taken_up_again_it_ends_as_in_one_go(item, old, ada, ben, cleo, grace, after) -> None:
    whole = tried_on_three(item, old, [ada, ben, cleo], grace)
    approved(whole, grace, shown(whole))
    in_one_go = state_of_everything()
    other = line_item()
    halves = tried_on_three(other, version(other), [ada, ben, cleo], grace)
    made = approve.approve(halves, grace, shown(halves))
    heard: list[int] = []

    def hear(change: RegradeChange) -> None:
        if len(heard) == after:
            raise Killed
        heard.append(change.submission_id)

    if after < 3:
        with pytest.raises(Killed):
            approve.take_over(made.pk, on_taken=hear)
        assert RegradeChange.objects.filter(autograding__regrade=halves).count() == after
        for one in Submission.objects.filter(line_item=other):
            run = one.autogradings.get(current=True)
            # As it was, or as it is: never a mixture.
            assert (run.release_id, run.regrade == halves) == (one.scored_by_id, one.pk in heard)
        assert approve.left_behind() == []
        lease_ends(made)
        assert approve.left_behind() == [made.pk]
    while approve.take_over(made.pk, on_taken=lambda change: heard.append(change.submission_id)):
        pass
    assert not approve.take_over(made.pk)
    assert len(heard) == len(set(heard)) == 3
    now = state_of_everything()
    assert {name: rows[len(rows) // 2 :] for name, rows in now.items()} == in_one_go


def test_one_turn_takes_some_and_says_that_more_waits(item, old, ada, ben, cleo, grace, monkeypatch) -> None:
    monkeypatch.setattr(approve, "BATCH", 1)
    found = tried_on_three(item, old, [ada, ben, cleo], grace)
    made = approve.approve(found, grace, shown(found))
    assert approve.take_over(made.pk, most=2)
    assert outcome(made) == {"taken": 2, "waiting": 1}
    found.refresh_from_db()
    assert found.state == Regrade.State.TAKING
    assert not approve.take_over(made.pk, most=2)
    found.refresh_from_db()
    assert (found.state, found.decided_by) == (Regrade.State.DONE, grace)


def test_while_it_is_taken_over_nothing_else_is_decided(item, adas, bens, grace) -> None:
    found = regrade.start(item, version(item), [adas, bens], grace, reason="x")
    for one in (adas, bens):
        end(candidate(found, one), 2)
    made = approve.approve(found, grace, {adas.pk: shown(found)[adas.pk]})
    assert not regrade.reject(found, grace)
    assert regrade.include(found, [adas, bens]) == regrade.again(found) == 0
    with pytest.raises(NothingToApprove):
        approve.approve(found, grace, shown(found))
    with pytest.raises(AlreadyRegrading):
        regrade.start(item, version(item), [adas], grace, reason="y")
    approve.take_over(made.pk)
    assert regrade.reject(found, grace)


def test_nothing_chosen_decides_nothing(item, adas, grace) -> None:
    found = regrade.start(item, version(item), [adas], grace, reason="x")
    with pytest.raises(NothingToApprove):
        approve.approve(found, grace, {adas.pk: "0123456789abcdef"})  # not graded yet
    end(candidate(found, adas), 2)
    with pytest.raises(NothingToApprove):
        approve.approve(found, grace, {})
    found.refresh_from_db()
    assert found.state == Regrade.State.OPEN
    assert not Approval.objects.exists()


def test_what_is_handed_in_while_it_is_taken_over_counts_by_what_was_said(item, old, adas, bens, ada, grace) -> None:
    """An attempt of now is scored by the new version if that was ticked, and keeps its own score and place."""
    found = regrade.start(item, version(item), [adas, bens], grace, reason="x")
    for one in (adas, bens):
        end(candidate(found, one), 2)
    made = approve.approve(found, grace, shown(found), for_later=True)
    second = scored(handed_in(old, ada, key="2"), 1)
    assert (second.correction, second.attempt) == (found.release, 2)
    before = list(CellScore.objects.filter(autograding__submission=second).values())
    approve.take_over(made.pk)
    assert outcome(made) == {"taken": 2}
    second.refresh_from_db()
    assert list(CellScore.objects.filter(autograding__submission=second).values()) == before
    assert (second.state, review.total_of(second).score, second.changes.count()) == (State.TO_REVIEW, 1, 0)
    assert adas.changes.count() == 1


def test_what_is_marked_while_it_is_taken_over_stays_as_it_was(item, adas, bens, grace, tim) -> None:
    found = regrade.start(item, version(item), [adas, bens], grace, reason="x")
    for one in (adas, bens):
        end(candidate(found, one), 2)
    made = approve.approve(found, grace, shown(found))
    review.give(bens, cell(bens.release, "why"), tim, manual_score=Decimal(2))
    approve.take_over(made.pk)
    assert outcome(made) == {"taken": 1, "changed": 1}
    assert [one.submission for one in differences(found)] == [bens]
    found.refresh_from_db()
    assert found.state == Regrade.State.OPEN


def test_what_follows_an_approval_is_decided_in_its_transaction(item, adas, grace) -> None:
    found = regrade.start(item, version(item), [adas], grace, reason="x")
    end(candidate(found, adas), 2)

    def fail(change: RegradeChange) -> None:
        raise RuntimeError("the outbox is full")

    with pytest.raises(RuntimeError):
        approved(found, grace, shown(found), on_taken=fail)
    assert not RegradeChange.objects.exists()
    assert Autograding.objects.get(current=True).regrade is None
    made = Approval.objects.get()
    lease_ends(made)
    approve.take_over(made.pk)
    assert outcome(made) == {"taken": 1}


def test_one_regrade_of_an_assignment_at_a_time(item, adas, grace) -> None:
    regrade.start(item, version(item), [adas], grace, reason="x")
    with pytest.raises(AlreadyRegrading):
        regrade.start(item, version(item), [adas], grace, reason="y")
    assert Regrade.objects.count() == 1


def test_a_version_that_was_not_checked_or_is_of_another_assignment_is_refused(item, adas, grace) -> None:
    unchecked = version(item)
    Release.objects.filter(pk=unchecked.pk).update(state=Release.State.DRAFT)
    unchecked.refresh_from_db()
    for bad in (unchecked, version(line_item())):
        with pytest.raises(NotRegradable):
            regrade.start(item, bad, [adas], grace, reason="x")
    assert not Regrade.objects.exists()


def test_work_without_scores_is_left_out(item, old, ada, adas, grace) -> None:
    waiting = handed_in(old, ada, key="again")
    with pytest.raises(NothingToRegrade):
        regrade.start(item, version(item), [waiting], grace, reason="x")
    found = regrade.start(item, version(item), [adas, waiting], grace, reason="x")
    assert found.candidates.count() == 1
    scored(waiting, 1)
    assert regrade.include(found, [adas, waiting]) == 1
    assert regrade.include(found, [adas, waiting]) == 0


def test_a_mark_that_hides_a_change_and_one_whose_points_changed_are_named(item, adas, grace, tim) -> None:
    review.give(adas, cell(adas.release, "tests"), tim, manual_score=Decimal(2))
    reviewed(adas, tim)
    found = regrade.start(item, version(item, why=4), [adas], grace, reason="x")
    end(candidate(found, adas), 0, failed_tests="AssertionError")
    one = only(found)
    moves = {move.cell.grade_id: move for move in one.cells}
    assert (one.moved, one.moves, one.marks_named) == (0, True, True)
    assert (moves["tests"].is_hidden_by_mark, moves["tests"].mark.author) == (True, tim)
    assert (moves["why"].points_changed, moves["why"].mark.manual_score) == (True, 1)


def test_a_flag_or_a_failure_that_is_new_is_named_and_waits_for_a_person(item, adas, bens, grace, tim) -> None:
    reviewed(adas, tim)
    found = regrade.start(item, version(item), [adas, bens], grace, reason="x")
    end(candidate(found, adas), None)
    end(candidate(found, bens), 0, failures=("kernel_died",))
    rows = {one.submission: one for one in differences(found)}
    assert [rows[adas].needs_person, rows[bens].needs_person] == [True, True]
    assert (rows[adas].newly_failed, rows[bens].newly_failed) == (False, True)
    approved(found, grace, shown(found))
    states_now = dict(Submission.objects.values_list("pk", "state"))
    assert (states_now[adas.pk], states_now[bens.pk]) == (State.TO_REVIEW, State.FAILED)


def test_a_cell_that_is_gone_takes_its_points_and_its_mark_along(item, adas, grace, tim) -> None:
    reviewed(adas, tim)
    found = regrade.start(item, version(item, without_why=True), [adas], grace, reason="x")
    end(candidate(found, adas), 3)
    one = only(found)
    assert (one.old.score, one.new.score, one.new.max_score) == (4, 3, 3)
    assert [(move.cell.grade_id, move.after) for move in one.cells] == [("why", None)]
    assert one.cells[0].mark.manual_score == 1


def test_returned_feedback_whose_score_moves_is_news_again(item, adas, bens, grace, tim) -> None:
    for one in (adas, bens):
        reviewed(one, tim)
    feedback.release([adas, bens], tim)
    Feedback.objects.update(read_at=timezone.now())
    found = regrade.start(item, version(item), [adas, bens], grace, reason="x")
    end(candidate(found, adas), 2)
    end(candidate(found, bens), 0)
    approved(found, grace, shown(found))
    assert Feedback.objects.get(submission=adas).read_at is None
    assert Feedback.objects.get(submission=bens).read_at is not None


def test_later_attempts_are_scored_by_the_correction_only_where_that_was_said(item, old, adas, ada, grace) -> None:
    found = regrade.start(item, version(item), [adas], grace, reason="x")
    end(candidate(found, adas), 2)
    approved(found, grace, shown(found))
    assert handed_in(old, ada, key="2").correction is None
    second = regrade.start(item, version(item), [adas], grace, reason="x")
    end(candidate(second, adas), 2)
    approved(second, grace, shown(second), for_later=True)
    assert handed_in(old, ada, key="3").correction == second.release


def test_todays_environment_is_tried_with_the_versions_that_count(item, adas, bens, grace) -> None:
    Submission.objects.filter(pk=bens.pk).update(correction=version(item))
    bens.refresh_from_db()
    found = regrade.start(item, None, [adas, bens], grace, reason="x")
    assert candidate(found, adas).release == adas.release
    assert candidate(found, bens).release == bens.correction


def test_a_stopped_regrade_takes_nothing_and_goes_on_later(item, adas, grace) -> None:
    found = regrade.start(item, version(item), [adas], grace, reason="x")
    regrade.stop(found)
    assert not autograde.autograde(candidate(found, adas).pk)
    regrade.resume(found)
    assert Autograding.objects.filter(autograde.waiting()).count() == 1
    Regrade.objects.update(state=Regrade.State.REJECTED)
    assert not autograde.autograde(candidate(found, adas).pk)


def test_candidates_that_failed_are_tried_once_more(item, adas, bens, grace) -> None:
    found = regrade.start(item, version(item), [adas, bens], grace, reason="x")
    end(candidate(found, adas), 2)
    end(candidate(found, bens), 0, failures=("gave_up",))
    assert regrade.again(found) == 1
    row = candidate(found, bens)
    assert (row.state, row.failures, row.scores.count()) == (Autograding.State.QUEUED, [], 0)
    end(row, 1)
    assert regrade.again(found) == 0


def test_a_candidate_is_graded_like_everything_else_and_a_killed_worker_loses_none(plain, ada, grace) -> None:
    first = published(plain)
    submission = handed_in(first, ada, answers={"answer": "answer = 41", "why": "So."})
    assert autograde.autograde(submission.autogradings.get().pk, lend=lending(plain))
    submission.refresh_from_db()
    newer = version(first.line_item, tests=5)
    found = regrade.start(first.line_item, newer, [submission], grace, reason="x")
    rows = Autograding.objects.filter(regrade=found)
    rows.update(state="running", lease_owner="dead", lease_until=timezone.now() - states.LEASE)
    autograde.sweep()
    assert rows.get().state == Autograding.State.QUEUED
    assert autograde.autograde(rows.get().pk, lend=lending(plain))
    row = rows.get()
    assert (row.state, row.current, row.environment_digest) == (Autograding.State.FINISHED, False, "plain")
    submission.refresh_from_db()
    assert (submission.state, submission.autogradings.filter(current=True).get().regrade) == (State.TO_REVIEW, None)
    assert only(found).new.max_score == 7


# --- how fast it goes

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


def at(start: int, finish: int) -> tuple[datetime, datetime]:
    return NOON + timedelta(seconds=start), NOON + timedelta(seconds=finish)


def test_throughput_counts_the_time_in_which_something_ran() -> None:
    two_at_once = [at(0, 10), at(0, 10), at(10, 20), at(10, 20), at(20, 30), at(20, 30)]
    assert throughput(two_at_once) == pytest.approx(12)
    with_a_night_between = [*two_at_once, at(36000, 36010), at(36000, 36010)]
    assert throughput(with_a_night_between) == pytest.approx(12)


def test_four_runs_say_nothing_about_the_next() -> None:
    assert throughput([at(0, 1)] * 4) is None
    assert throughput([at(0, 1)] * 5) == pytest.approx(300)


def test_pace_says_what_is_left(item, adas, bens, grace) -> None:
    found = regrade.start(item, version(item), [adas, bens], grace, reason="x")
    end(candidate(found, adas), 2)
    now = pace(found.candidates.all())
    assert (now.waiting, now.finished, now.all, now.left) == (1, 1, 2, None)
    assert now.moving


# --- with the engine itself


def source_with(expected: int, *, more_tests: bool = False) -> dict[str, bytes]:
    """The assignment, its hidden test expecting this answer; with a further test cell if wanted."""
    cells = copy.deepcopy(CELLS)
    cells[1].source = cells[1].source.replace("== 42", f"== {expected}")
    if more_tests:
        about = {"grade": True, "locked": True, "solution": False, "schema_version": 3, "grade_id": "more", "points": 1}
        cells.insert(2, new_code_cell("assert answer > 40", metadata={"nbgrader": about}))
    return {"p.ipynb": dump(new_notebook(cells=cells, metadata=PYTHON))}


def drafted(item: LineItem, files: dict[str, bytes]) -> Release:
    made = release.draft(item, files, None)
    Release.objects.filter(pk=made.pk).update(state=Release.State.CHECKED)
    made.refresh_from_db()
    return made


def test_a_corrected_hidden_test_and_a_new_one_are_run_on_what_was_handed_in(plain, item, ada, ben, grace) -> None:
    """The engine puts a cell that is new since into the frozen copy, and says what either version's tests said."""
    wrong = drafted(item, source_with(43))
    handed = [
        handed_in(wrong, person, answers={"answer": f"answer = {answer}"}) for person, answer in ((ada, 42), (ben, 7))
    ]
    for one in handed:
        assert autograde.autograde(one.autogradings.get().pk, lend=lending(plain))
        one.refresh_from_db()
    found = regrade.start(item, drafted(item, source_with(42, more_tests=True)), handed, grace, reason="x")
    assert not drain.drain(lambda pk: autograde.autograde(pk, lend=lending(plain)), seconds=120)
    adas, bens = differences(found)
    assert (adas.old.score, adas.new.score, adas.new.max_score) == (0, 4, 6)
    said = {move.cell.grade_id: move for move in adas.cells}
    assert (said["tests"].before.failed_tests, said["tests"].after.failed_tests) == (
        "AssertionError: the hidden reason",
        "",
    )
    assert (said["more"].before, said["more"].after.points.auto_score, adas.needs_person) == (None, 1, False)
    assert (bens.old.score, bens.new.score) == (0, 0)
    approved(found, grace, shown(found))
    shown_now = {
        one.marked.cell.grade_id for one in feedback.cells(Submission.objects.get(pk=handed[0].pk)) if one.marked
    }
    assert shown_now == {"answer", "tests", "more", "why"}
