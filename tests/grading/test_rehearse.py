"""Check: the visible tests over a student's work, in a fresh sandbox, rarely enough, and counted nowhere."""

from __future__ import annotations

from datetime import timedelta
from unittest.mock import Mock

import pytest
from django.utils import timezone
from nbformat.v4 import new_code_cell, new_notebook, new_output

from grading import autograde, feedback, rehearse, states
from grading.engine import lacking
from grading.errors import CheckedJustNow, ChecksUsedUp, GraderUnavailable
from grading.models import Autograding, CellScore, Release, Submission, WorkCheck
from runtimes import storage
from runtimes.errors import StorageAway
from tests.grading.corpus import answered, dump, edited_path
from tests.grading.course_of_one import NoSandbox, handed_in, lending, line_item, published
from tests.grading.plain_sandbox import PlainSandboxes

pytestmark = pytest.mark.django_db


@pytest.fixture
def made(plain: PlainSandboxes, work_dir) -> Release:
    return published(plain, line_item(check_cooldown=timedelta(0)))


def asked(made: Release, answer: str = "answer = 42", *, account: str = "work:1", **extra: bytes) -> WorkCheck:
    files = answered(storage.read_snapshot(made.student), {"answer": answer}) | extra
    return rehearse.ask(made, storage.snapshot_of(files), account)


def ran(check: WorkCheck, plain: PlainSandboxes) -> WorkCheck:
    assert rehearse.rehearse(check.pk, lend=lending(plain))
    check.refresh_from_db()
    return check


def test_a_right_answer_passes_cell_by_cell_and_nothing_is_scored_or_handed_in(made, plain) -> None:
    check = ran(asked(made), plain)
    assert check.state == WorkCheck.State.DONE
    assert check.results == [
        {
            "notebook": "p",
            "grade_id": "tests",
            "ran": True,
            "passed": True,
            "score": 3.0,
            "max_score": 3.0,
            "message": "",
            "reasons": [],
        }
    ]
    assert not Submission.objects.exists()
    assert not Autograding.objects.exists()
    assert not CellScore.objects.exists()


def test_a_wrong_answer_hears_which_visible_test_failed(made, plain) -> None:
    [row] = ran(asked(made, "answer = 0"), plain).results
    assert (row["passed"], row["message"]) == (False, "AssertionError")


def test_hidden_tests_are_neither_run_nor_anywhere_in_the_sandbox(made, plain) -> None:
    plain.pushed.clear()
    show = "answer = 41\nprint(In, open('p.ipynb').read())"
    [row] = ran(asked(made, show), plain).results
    assert row["passed"], "the hidden test would have failed"
    assert all(b"hidden reason" not in data for pushed in plain.pushed for data in pushed.values())


READS = """
class Reads:
    def __bool__(self):
        raise AssertionError(In[-1])
answer = Reads()
"""


def test_code_that_reads_the_test_which_calls_it_finds_no_hidden_one(made, plain, ada) -> None:
    [row] = ran(asked(made, READS), plain).results
    assert row["message"] == "AssertionError: assert answer"
    # The same in grading does find it: those who mark see it, and the student does not.
    submission = handed_in(made, ada, answers={"answer": READS})
    assert autograde.autograde(submission.autogradings.get().pk, lend=lending(plain))
    assert "hidden reason" in CellScore.objects.get(cell__grade_id="tests").failed_tests
    tests = feedback.cells(submission)[1]
    assert tests.marked.failed_tests == "AssertionError: assert answer"
    assert "hidden reason" not in "".join(output.document for output in tests.rendered.outputs)


def test_a_deleted_test_is_put_back_without_its_hidden_part(made, plain) -> None:
    files = storage.read_snapshot(made.student)
    files = edited_path(answered(files, {"answer": "answer = 41"}), "p.ipynb", lambda nb: nb.cells.pop(1))
    [row] = ran(rehearse.ask(made, storage.snapshot_of(files), "work:1"), plain).results
    assert row["passed"]


def test_a_notebook_that_breaks_says_why(made, plain) -> None:
    check = ran(asked(made, "import os\nos._exit(1)"), plain)
    assert [failure["code"] for failure in check.failures] == ["kernel_exited"]
    assert [row["ran"] for row in check.results] == [False]


def test_packages_that_grading_lacks_are_named_and_ones_own_modules_are_not(made, plain) -> None:
    source = "for name in ('no_such_package', 'mine.inner'):\n    pass\nimport no_such_package.part"
    check = ran(asked(made, source, **{"mine.py": b""}), plain)
    assert check.lacking == ["no_such_package"]


def test_what_pip_could_not_find_is_named_too() -> None:
    said = new_output("stream", name="stderr", text="ERROR: No matching distribution found for foo-bar\n")
    notebook = new_notebook(cells=[new_code_cell("%pip install foo-bar", outputs=[said])])
    assert lacking(dump(notebook), []) == ["foo-bar"]


def test_a_double_click_asks_once(made) -> None:
    assert asked(made).pk == asked(made).pk
    assert WorkCheck.objects.count() == 1


def test_a_check_is_run_once(made, plain) -> None:
    check = asked(made)
    ran(check, plain)
    assert not rehearse.rehearse(check.pk, lend=lending(plain))


def test_the_limit_counts_for_each_work_by_itself(made, plain) -> None:
    made.line_item.check_limit = 1
    ran(asked(made), plain)
    with pytest.raises(ChecksUsedUp):
        asked(made)
    assert rehearse.checks_left(made, "work:1") == 0
    assert asked(made, account="work:2")


def test_there_is_a_pause_between_two_checks(made, plain) -> None:
    made.line_item.check_cooldown = timedelta(minutes=2)
    check = ran(asked(made), plain)
    with pytest.raises(CheckedJustNow) as raised:
        asked(made)
    assert 100 < raised.value.seconds <= 121
    WorkCheck.objects.filter(pk=check.pk).update(queued_at=timezone.now() - timedelta(minutes=3))
    assert asked(made).pk != check.pk


def test_without_a_sandbox_it_waits_and_in_the_end_counts_for_nothing(made) -> None:
    made.line_item.check_limit = 1
    check = asked(made)
    for _try in range(states.MOST_TRIES):
        with pytest.raises(GraderUnavailable):
            rehearse.rehearse(check.pk, lend=lending(NoSandbox()))
    check.refresh_from_db()
    assert check.state == WorkCheck.State.FAILED
    assert rehearse.checks_left(made, "work:1") == 1


def test_while_storage_is_away_it_waits(made, plain, monkeypatch) -> None:
    check = asked(made)
    with monkeypatch.context() as broken:
        broken.setattr(rehearse.storage, "read_snapshot", Mock(side_effect=StorageAway("gone")))
        with pytest.raises(GraderUnavailable):
            rehearse.rehearse(check.pk, lend=lending(plain))
    check.refresh_from_db()
    assert check.state == WorkCheck.State.QUEUED
    assert ran(check, plain).state == WorkCheck.State.DONE


def test_submissions_go_first_but_not_for_ever(made, ada) -> None:
    check = asked(made)
    assert not rehearse.gives_way(check.pk)
    handed_in(made, ada)
    assert rehearse.gives_way(check.pk)
    WorkCheck.objects.update(queued_at=timezone.now() - timedelta(minutes=1))
    assert not rehearse.gives_way(check.pk)


def test_what_a_killed_worker_held_is_taken_up_again(made, plain) -> None:
    check = asked(made)
    WorkCheck.objects.update(state="running", lease_owner="dead", lease_until=timezone.now() - timedelta(minutes=1),
                             queued_at=timezone.now() - timedelta(minutes=2))  # fmt: skip
    assert rehearse.sweep() == [check.pk]
    assert ran(check, plain).state == WorkCheck.State.DONE
