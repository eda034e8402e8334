"""A submission that counts by another version than its own: cells, marks and totals; and grading that is stopped."""

from __future__ import annotations

from contextlib import asynccontextmanager
from decimal import Decimal

import pytest
from django.utils import timezone

from grading import autograde, feedback, review
from grading.engine import SandboxLost
from grading.errors import NotReviewable
from grading.models import Autograding, LineItem, Regrade, Submission
from runtimes import storage
from tests.grading.course_of_one import handed_in, lending, line_item, published
from tests.grading.versions import cell, end, version

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("work_dir")]


@pytest.fixture
def item() -> LineItem:
    return line_item()


@pytest.fixture
def submission(item, ada) -> Submission:
    """Ada's, with 3 of 3 points by tests and 1 of 2 by Tim's hand waiting to be given."""
    found = handed_in(version(item), ada)
    end(found.autogradings.get(), 3)
    found.refresh_from_db()
    return found


def corrected(submission: Submission, **points: float) -> Submission:
    """The same work, scored by a newer version."""
    newer = version(submission.line_item, **points)
    Submission.objects.filter(pk=submission.pk).update(correction=newer)
    found = Submission.objects.get(pk=submission.pk)
    Autograding.objects.filter(submission=found).update(current=False)
    end(autograde.enqueue(found), 4)
    return Submission.objects.get(pk=submission.pk)


def test_marks_and_comments_stay_with_their_cell_when_another_version_counts(submission, tim) -> None:
    old = submission.release
    review.give(submission, cell(old, "why"), tim, manual_score=Decimal(1))
    review.comment(submission, cell(old, "why"), tim, "Nearly.")
    found = corrected(submission, tests=4, why=3)
    rows = {row.cell.grade_id: row for row in review.marked_cells(found)}
    assert rows["why"].points.manual_score == 1
    assert rows["why"].comment.text == "Nearly."
    total = review.total_of(found)
    assert (total.score, total.max_score) == (5, 7)
    assert found.release == old


def test_a_mark_is_given_to_the_version_that_counts(submission, tim) -> None:
    old = submission.release
    found = corrected(submission, why=3)
    with pytest.raises(NotReviewable):
        review.give(found, cell(old, "why"), tim, manual_score=Decimal(1))
    review.give(found, cell(found.scored_by, "why"), tim, manual_score=Decimal(3))
    assert review.total_of(found).score == 7


def test_the_same_mark_under_another_version_is_not_given_twice(submission, tim) -> None:
    review.give(submission, cell(submission.release, "why"), tim, manual_score=Decimal(1))
    found = corrected(submission)
    review.give(found, cell(found.scored_by, "why"), tim, manual_score=Decimal(1))
    assert found.marks.count() == 1


def test_feedback_shows_the_cells_of_the_version_that_counts(submission) -> None:
    found = corrected(submission, tests=4)
    shown = {one.marked.cell.grade_id: one.marked for one in feedback.cells(found) if one.marked}
    assert shown["tests"].points.max_score == 4


def test_grading_again_uses_the_version_that_counts(submission) -> None:
    found = corrected(submission)
    assert autograde.enqueue(found).release == found.scored_by


def test_a_result_names_what_it_was_made_with_also_where_it_failed(plain, ada, ben) -> None:
    made = published(plain)
    ended = {
        "exited": graded(plain, handed_in(made, ada, answers={"answer": "import os; os._exit(1)"})),
        "no notebook": graded(plain, without_notebook(handed_in(made, ben))),
        "parked": graded(Lost(), handed_in(made, ada, key="2"), tries=autograde.states.MOST_TRIES),
    }
    assert {name: (row.state, row.release) for name, row in ended.items()} == {
        "exited": ("failed", made), "no notebook": ("failed", made), "parked": ("parked", made),
    }  # fmt: skip
    assert all(row.engine_version.startswith("nbgrader ") for row in ended.values())
    assert {name: row.environment_digest for name, row in ended.items()} == {
        "exited": "plain", "no notebook": "plain", "parked": "lost",
    }  # fmt: skip


class Lost:
    """Sandboxes that are had, and go away before anything is run."""

    environment_digest = "lost"

    @asynccontextmanager
    async def __call__(self, *, files, kernel):
        raise SandboxLost("the machine went away")
        yield


def graded(sandboxes, submission: Submission, *, tries: int = 1) -> Autograding:
    row = submission.autogradings.get()
    for _ in range(tries):
        autograde.autograde(row.pk, lend=lending(sandboxes))
    row.refresh_from_db()
    return row


def without_notebook(submission: Submission) -> Submission:
    Submission.objects.filter(pk=submission.pk).update(snapshot=storage.snapshot_of({"notes.txt": b"none"}))
    return submission


def test_later_attempts_at_an_older_version_are_scored_by_the_correction_that_holds(item, grace, ada, ben) -> None:
    old = version(item)
    newer = version(item)
    Regrade.objects.create(
        line_item=item, release=newer, by=grace, state=Regrade.State.DONE, reason="", holds_from=timezone.now()
    )
    late = handed_in(old, ada)
    assert (late.release, late.correction, late.autogradings.get().release) == (old, newer, newer)
    assert handed_in(version(item), ben).correction is None


def test_nothing_waiting_is_taken_while_grading_is_stopped(item, ada) -> None:
    row = handed_in(version(item), ada).autogradings.get()
    Autograding.objects.update(queued_at=timezone.now() - 2 * autograde.states.FORGOTTEN)
    LineItem.objects.update(grading_stopped_at=timezone.now())
    assert not autograde.autograde(row.pk)
    assert autograde.sweep() == []
    row.refresh_from_db()
    assert (row.state, row.tries) == (Autograding.State.QUEUED, 0)
    LineItem.objects.update(grading_stopped_at=None)
    assert autograde.sweep() == [row.pk]
