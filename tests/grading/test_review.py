"""What people do with scores: nothing is overwritten, nothing goes back too early."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from grading import autograde, feedback, review
from grading.errors import NotReviewable, OutOfRange, Unfinished
from grading.models import Comment, Feedback, GradeCell, LineItem, Mark, Submission
from tests.grading.course_of_one import handed_in, lending, line_item, published

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("work_dir")]
ANSWERS = {"answer": "answer = 41", "why": "I *think* <script>so</script>."}


@pytest.fixture
def submission(plain, ada) -> Submission:
    """Ada's: the hidden test failed, the written answer waits for a person."""
    return regraded(plain, handed_in(published(plain), ada, answers=ANSWERS))


def regraded(plain, submission: Submission) -> Submission:
    assert autograde.autograde(autograde.enqueue(submission).pk, lend=lending(plain))
    submission.refresh_from_db()
    return submission


def cell(submission: Submission, grade_id: str) -> GradeCell:
    return GradeCell.objects.get(notebook__release=submission.release, grade_id=grade_id)


def test_marks_are_appended_and_the_newest_counts(submission, tim, tess) -> None:
    why = cell(submission, "why")
    review.give(submission, why, tim, manual_score=Decimal(1))
    review.give(submission, why, tim, manual_score=Decimal(1))
    review.give(submission, why, tess, manual_score=Decimal(2), extra_credit=Decimal("0.5"))
    assert [mark.author.username for mark in Mark.objects.order_by("pk")] == ["tim", "tess"]
    assert review.total_of(submission).score == Decimal("2.5")
    review.give(submission, why, tess, manual_score=None)
    assert review.total_of(submission).score == 0
    assert Mark.objects.count() == 3


@pytest.mark.parametrize(
    ("grade_id", "score", "extra"),
    [("why", "-1", None), ("why", "2.1", None), ("why", "NaN", None), ("why", "1", "-1"), ("answer", "1", None)],
)
def test_a_score_stays_within_its_cell(submission, tim, grade_id: str, score: str, extra: str | None) -> None:
    with pytest.raises(OutOfRange):
        review.give(
            submission, cell(submission, grade_id), tim, manual_score=Decimal(score),
            extra_credit=None if extra is None else Decimal(extra),
        )  # fmt: skip
    assert not Mark.objects.exists()


def test_a_cell_of_another_release_cannot_be_marked(submission, plain, tim) -> None:
    other = published(plain)
    with pytest.raises(NotReviewable):
        review.give(submission, GradeCell.objects.get(notebook__release=other, grade_id="why"), tim, manual_score=None)


def test_comments_are_appended_and_an_empty_one_takes_back(submission, tim) -> None:
    answer = cell(submission, "answer")
    for text in ("Look again.", "Look again. ", ""):
        review.comment(submission, answer, tim, text)
    assert Comment.objects.count() == 2
    assert next(row for row in review.marked_cells(submission) if row.cell == answer).comment is None


def test_a_review_is_finished_once_every_cell_has_a_score_and_can_be_reopened(submission, tim) -> None:
    with pytest.raises(Unfinished) as refused:
        review.finish(submission, tim)
    assert refused.value.waiting == 1
    why = cell(submission, "why")
    review.give(submission, why, tim, manual_score=Decimal(0))
    review.finish(submission, tim)
    review.finish(submission, tim)
    assert (submission.state, submission.finished_by) == (Submission.State.REVIEWED, tim)
    with pytest.raises(NotReviewable):
        review.give(submission, why, tim, manual_score=Decimal(1))
    with pytest.raises(NotReviewable):
        review.comment(submission, why, tim, "late")
    review.reopen(submission)
    assert submission.state == Submission.State.TO_REVIEW
    review.give(submission, why, tim, manual_score=Decimal(1))


def test_nothing_can_be_marked_while_it_is_graded(submission, tim) -> None:
    Submission.objects.update(state=Submission.State.GRADING)
    for act in (review.reopen, lambda s: review.finish(s, tim)):
        with pytest.raises((NotReviewable, Unfinished)):
            act(submission)
    with pytest.raises(NotReviewable):
        review.give(submission, cell(submission, "why"), tim, manual_score=Decimal(1))


def test_grading_again_keeps_marks_and_the_earlier_run(submission, plain, tim) -> None:
    review.give(submission, cell(submission, "why"), tim, manual_score=Decimal(2))
    regraded(plain, submission)
    assert submission.autogradings.count() == 2
    assert submission.autogradings.filter(current=True).count() == 1
    assert review.total_of(submission).raw == 2


def test_a_late_penalty_is_part_of_the_total(plain, ada, tim) -> None:
    item = line_item(late_policy=LineItem.LatePolicy.PER_DAY)
    late = handed_in(published(plain, item), ada, answers={"answer": "answer = 42"}, late=timedelta(hours=30))
    total = review.total_of(regraded(plain, late))
    assert (total.raw, total.penalty, total.score) == (3, Decimal("0.6"), Decimal("2.4"))


def test_the_queue_shows_last_attempts_of_these_people_waiting_ones_first(plain, ada, ben, cleo, dan) -> None:
    made = published(plain)
    done = regraded(plain, handed_in(made, ada, answers={"answer": "answer = 42"}))
    first = handed_in(made, ben)
    second = handed_in(made, ben, key="again")
    waits = regraded(plain, handed_in(made, cleo, answers=ANSWERS))
    handed_in(made, dan)
    assert done.state == Submission.State.GRADED
    assert list(review.queue(made.line_item, [ada, ben, cleo])) == [waits, done, second]
    assert first in review.queue(made.line_item, [ben], every_attempt=True)
    assert list(review.queue(made.line_item, [])) == []


# --- feedback


def test_feedback_waits_for_the_review_and_can_be_taken_back(submission, tim) -> None:
    heard: list[Feedback] = []
    assert feedback.release([submission], tim, on_released=heard.append) == 0
    review.give(submission, cell(submission, "why"), tim, manual_score=Decimal(1))
    review.finish(submission, tim)
    assert feedback.release([submission], tim, on_released=heard.append) == 1
    assert feedback.release([submission], tim, on_released=heard.append) == 0
    assert feedback.withdraw([submission], tim) == 1
    assert feedback.withdraw([submission], tim) == 0
    assert feedback.release([submission], tim, on_released=heard.append) == 1
    assert len(heard) == 2
    assert Feedback.objects.get().state == Feedback.State.RELEASED


def test_a_student_reads_scores_and_comments_beside_the_cells_and_no_hidden_test(submission, tim) -> None:
    review.comment(submission, cell(submission, "tests"), tim, "Almost **there** <img src=x onerror=alert(1)>")
    shown = feedback.cells(submission)
    assert [c.rendered.grade_id for c in shown] == ["answer", "tests", "why"]
    assert [c.is_new_notebook for c in shown] == [True, False, False]
    tests, why = shown[1], shown[2]
    assert (tests.marked.points.auto_score, tests.marked.points.max_score) == (0, 3)
    assert "<strong>there</strong>" in tests.comment
    assert "onerror" not in tests.comment
    everything = "".join(c.rendered.source + "".join(o.document for o in c.rendered.outputs) for c in shown)
    assert "hidden reason" not in everything
    assert "answer == 42" not in everything
    assert "AssertionError" in tests.rendered.outputs[0].document
    assert "<em>think</em>" in why.rendered.html
    assert "<script" not in why.rendered.html
    assert tests.marked.failed_tests == "AssertionError"
    assert feedback.cells(submission, for_grader=True)[1].marked.failed_tests == "AssertionError: the hidden reason"


def test_those_who_grade_and_assignments_that_say_so_see_the_hidden_tests(submission) -> None:
    def shown(**options: object) -> str:
        return "".join(c.rendered.source for c in feedback.cells(submission, **options))

    assert "hidden reason" in shown(for_grader=True)
    submission.line_item.show_hidden_tests = True
    assert "hidden reason" in shown()
