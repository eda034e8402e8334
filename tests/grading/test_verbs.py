"""Draft, check, publish, collect, autograde: each step once, whatever happens in between."""

from __future__ import annotations

import threading
from contextlib import asynccontextmanager
from datetime import timedelta
from decimal import Decimal
from unittest.mock import Mock

import pytest
from django.db import connection
from django.utils import timezone
from nbformat.v4 import new_notebook

from grading import autograde, check, release, specify, states
from grading.errors import AttemptsUsedUp, GraderUnavailable, NothingHandedIn, NotPublishable
from grading.models import Autograding, CellScore, Release, ReleaseCheck, Submission
from runtimes import storage
from runtimes.errors import StorageAway
from tests.grading.corpus import dump, upstream
from tests.grading.course_of_one import CELLS, PYTHON, SOURCE, NoSandbox, handed_in, lending, line_item, published

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("work_dir")]
RIGHT = {"answer": "answer = 42"}
WRONG = {"answer": "answer = 41"}


# --- releases


def test_a_release_is_drafted_checked_and_published_once(plain) -> None:
    heard: list[tuple[int, int]] = []
    made = release.draft(line_item(), SOURCE, None)
    assert (made.number, made.state, made.max_score) == (1, Release.State.DRAFT, 5)
    with pytest.raises(NotPublishable):
        release.publish(made)
    assert check.check(made.pk, lambda done, total: heard.append((done, total)), lend=lending(plain))
    made.refresh_from_db()
    assert made.state == Release.State.CHECKED
    row = ReleaseCheck.objects.get(release=made)
    assert (row.state, row.done, row.total, heard) == (ReleaseCheck.State.PASSED, 1, 1, [(0, 1)])
    assert row.results == [
        {
            "notebook": "p",
            "grade_id": "tests",
            "score": 3,
            "max_score": 3,
            "passed": True,
            "output": "",
            "number": False,
        }
    ]
    release.publish(made)
    first = made.published_at
    release.publish(made)
    assert made.published_at == first
    assert b"= 42" not in storage.read_snapshot(made.student)["p.ipynb"]
    assert release.draft(made.line_item, SOURCE, None).number == 2


def test_a_solution_that_fails_its_own_tests_is_published_only_on_purpose(plain) -> None:
    files = {**SOURCE, "p.ipynb": SOURCE["p.ipynb"].replace(b"answer = 42", b"answer = 41")}
    made = release.draft(line_item(), files, None)
    check.check(made.pk, lend=lending(plain))
    made.refresh_from_db()
    row = ReleaseCheck.objects.get(release=made)
    assert row.state == ReleaseCheck.State.FAILED
    assert row.results[0]["output"] == "AssertionError: the hidden reason"
    with pytest.raises(NotPublishable):
        release.publish(made)
    release.publish(made, anyway=True)
    assert made.state == Release.State.PUBLISHED


def test_a_release_with_an_error_is_kept_with_its_report_and_never_published() -> None:
    made = release.draft(line_item(), {"p.ipynb": b"{"}, None)
    assert (made.state, made.problems[0]["code"]) == (Release.State.BROKEN, "not_json")
    with pytest.raises(NotPublishable):
        release.publish(made, anyway=True)


def test_a_tutorial_is_published_as_it_is_without_a_check() -> None:
    nested = {**SOURCE, "more/q.ipynb": dump(new_notebook(cells=CELLS, metadata=PYTHON))}
    made = release.draft(line_item(graded=False), nested, None)
    assert not ReleaseCheck.objects.filter(release=made).exists()
    release.publish(made)
    assert storage.read_snapshot(made.student) == nested


def test_a_check_is_run_by_one_worker_and_goes_on_after_a_kill(plain) -> None:
    made = release.draft(line_item(), SOURCE, None)
    row = ReleaseCheck.objects.filter(release=made)
    row.update(state=ReleaseCheck.State.RUNNING, lease_until=timezone.now() + states.LEASE, lease_owner="other")
    assert not check.check(made.pk, lend=lending(plain))
    assert check.requeue_checks() == []
    row.update(lease_until=timezone.now() - states.LEASE)
    assert check.requeue_checks() == [made.pk]
    assert check.check(made.pk, lend=lending(plain))


def test_a_check_waits_for_a_place(plain) -> None:
    made = release.draft(line_item(), SOURCE, None)
    with pytest.raises(GraderUnavailable):
        check.check(made.pk, lend=lending(NoSandbox()))
    assert ReleaseCheck.objects.get(release=made).state == ReleaseCheck.State.QUEUED
    assert check.check(made.pk, lend=lending(plain))


def test_a_check_waits_for_storage(plain, monkeypatch) -> None:
    made = release.draft(line_item(), SOURCE, None)
    with monkeypatch.context() as broken:
        broken.setattr(check.storage, "read_snapshot", Mock(side_effect=StorageAway("gone")))
        with pytest.raises(GraderUnavailable):
            check.check(made.pk, lend=lending(plain))
    assert ReleaseCheck.objects.get(release=made).state == ReleaseCheck.State.QUEUED
    assert check.check(made.pk, lend=lending(plain))


def test_autotests_are_written_by_the_check(plain) -> None:
    files = {"p.ipynb": upstream("autotest-simple.ipynb")}
    made = release.draft(line_item(), files, None, course_files={"autotests.yml": upstream("autotests.yml")})
    assert made.student is None
    check.check(made.pk, lend=lending(plain))
    made.refresh_from_db()
    assert made.state == Release.State.CHECKED
    assert b"AUTOTEST" not in storage.read_snapshot(made.student)["p.ipynb"]
    assert "autotests.yml" not in storage.read_snapshot(made.student)
    assert specify.spec_of(made).notebooks["p"].cells["grade"]


# --- submissions


def test_the_same_click_twice_is_one_submission(plain, ada) -> None:
    made = published(plain)
    first = handed_in(made, ada, answers=RIGHT)
    assert handed_in(made, ada, answers=RIGHT).pk == first.pk
    assert handed_in(made, ada, answers=RIGHT, key="again").attempt == 2
    assert Autograding.objects.filter(submission=first).count() == 1
    assert len(first.code) == 14


def test_a_group_hands_in_together_and_counts_its_own_attempts(plain, ada, ben) -> None:
    made = published(plain, line_item(attempt_limit=1))
    both = handed_in(made, ben, ada, ada)
    assert [a.username for a in both.authors.order_by("username")] == ["ada", "ben"]
    assert handed_in(made, ada).attempt == 1
    with pytest.raises(AttemptsUsedUp):
        handed_in(made, ada, ben, key="again")


def test_lateness_is_the_servers_and_a_forged_timestamp_changes_nothing(plain, ada) -> None:
    made = published(plain)
    submission = handed_in(made, ada, late=timedelta(hours=2), extra={"timestamp.txt": b"2001-01-01 00:00:00 UTC"})
    assert submission.late_by == timedelta(hours=2)
    assert autograde.autograde(submission.autogradings.get().pk, lend=lending(plain))


def test_nothing_cannot_be_handed_in(plain, ada) -> None:
    made = published(plain)
    with pytest.raises(NothingHandedIn):
        handed_in(made)


# --- grading


def graded(plain, submission: Submission, **options: object) -> Autograding:
    row = autograde.enqueue(submission)
    assert autograde.autograde(row.pk, lend=lending(plain), **options)
    row.refresh_from_db()
    submission.refresh_from_db()
    return row


def scores(row: Autograding) -> dict[str, tuple[Decimal | None, bool]]:
    found = CellScore.objects.filter(autograding=row).select_related("cell")
    return {s.cell.grade_id: (s.auto_score, s.needs_manual_grade) for s in found}


def test_a_submission_is_graded_and_says_what_waits_for_a_person(plain, ada) -> None:
    submission = handed_in(published(plain), ada, answers={**RIGHT, "why": "I think so."})
    row = graded(plain, submission)
    assert scores(row) == {"answer": (None, False), "tests": (3, False), "why": (None, True)}
    assert (row.state, row.current, row.environment_digest) == (Autograding.State.FINISHED, True, "plain")
    assert row.engine_version.startswith("nbgrader 0.9")
    assert submission.state == Submission.State.TO_REVIEW
    assert b"execution_count" in storage.read_snapshot(row.result)["p.ipynb"]


def test_a_failed_test_is_kept_with_its_message(plain, ada) -> None:
    row = graded(plain, handed_in(published(plain), ada, answers=WRONG))
    failed = CellScore.objects.get(autograding=row, cell__grade_id="tests")
    assert (failed.auto_score, failed.failed_tests) == (0, "AssertionError: the hidden reason")


def test_a_broken_notebook_fails_with_a_reason_and_stays_reviewable(plain, ada) -> None:
    submission = handed_in(published(plain), ada, extra={"p.ipynb": b"{"})
    row = graded(plain, submission)
    assert (row.state, row.failures[0]["code"]) == (Autograding.State.FAILED, "not_json")
    assert submission.state == Submission.State.FAILED
    assert scores(row)["tests"] == (None, True)


def test_grading_twice_grades_once(plain, ada) -> None:
    submission = handed_in(published(plain), ada, answers=RIGHT)
    row = graded(plain, submission)
    assert not autograde.autograde(row.pk, lend=lending(plain))
    assert len(plain.pushed) == 2  # the solution's check and this


def test_two_workers_at_once_grade_once(plain, ada) -> None:
    row = handed_in(published(plain), ada, answers=RIGHT).autogradings.get()
    together, results = threading.Barrier(2), []

    def work() -> None:
        try:
            together.wait()
            results.append(autograde.autograde(row.pk, lend=lending(plain)))
        finally:
            connection.close()

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(results) == [False, True]
    assert CellScore.objects.filter(autograding=row).count() == 3


class Stealing:
    """Lends, but somebody else takes the row while the sandbox runs."""

    environment_digest = ""

    def __init__(self, plain, pk: int) -> None:
        self._plain, self._pk = plain, pk

    @asynccontextmanager
    async def __call__(self, *, files, kernel):
        await Autograding.objects.filter(pk=self._pk).aupdate(lease_owner="somebody else")
        async with self._plain(files=files, kernel=kernel) as sandbox:
            yield sandbox


def test_a_worker_that_lost_its_lease_stores_nothing(plain, ada) -> None:
    row = handed_in(published(plain), ada, answers=RIGHT).autogradings.get()
    assert not autograde.autograde(row.pk, lend=lending(Stealing(plain, row.pk)))
    assert not CellScore.objects.exists()
    row.refresh_from_db()
    assert (row.state, row.current, row.lease_owner) == (Autograding.State.RUNNING, False, "somebody else")


def test_what_a_killed_worker_held_is_swept_back_and_graded(plain, ada) -> None:
    submission = handed_in(published(plain), ada, answers=RIGHT)
    rows = Autograding.objects.filter(submission=submission)
    rows.update(state=Autograding.State.RUNNING, lease_owner="dead", lease_until=timezone.now() + states.LEASE, tries=1)
    assert autograde.sweep() == []
    rows.update(lease_until=timezone.now() - timedelta(seconds=1))
    autograde.sweep()
    assert rows.get().state == Autograding.State.QUEUED
    rows.update(queued_at=timezone.now() - 2 * states.FORGOTTEN)
    assert autograde.sweep() == [rows.get().pk]
    assert graded(plain, submission).tries == 2


def test_what_follows_a_grade_is_decided_in_its_transaction(plain, ada) -> None:
    submission = handed_in(published(plain), ada, answers=RIGHT)
    seen: list[object] = []

    def fail(row: Autograding) -> None:
        seen.append((row.state, connection.in_atomic_block))
        raise RuntimeError("the outbox is full")

    with pytest.raises(RuntimeError):
        autograde.autograde(submission.autogradings.get().pk, on_finished=fail, lend=lending(plain))
    assert seen == [(Autograding.State.FINISHED, True)]
    assert not CellScore.objects.exists()
    row = submission.autogradings.get()
    assert (row.state, row.tries) == (Autograding.State.QUEUED, 1)
    assert "the outbox is full" in row.log


def test_hidden_tests_are_sent_as_code_and_never_as_files(plain, ada) -> None:
    made = published(plain)
    plain.pushed.clear()
    submission = handed_in(made, ada, answers={"answer": "answer = open('p.ipynb').read() and 42"})
    row = graded(plain, submission)
    assert scores(row)["tests"] == (3, False)
    assert all(b"hidden reason" not in data for files in plain.pushed for data in files.values())
    assert plain.pushed[0]["data.txt"] == b"given"
