"""Feedback as students read it."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal

import pytest
from django.core import mail

from classroom import feedback_mail
from classroom.models import Assignment
from classroom.outbox import NothingToDo
from classroom.queries.feedback import penalty_words
from grading import feedback, review
from grading.models import Feedback, LineItem, Submission
from runtimes import storage
from tests.classroom.work import PS1, cell_of, graded, handed_in, work_of


@pytest.fixture
def returned(ps1, ada, tim):
    """Ada's submission: tests failed, the essay marked with a comment, feedback returned."""
    submission = graded(handed_in(ps1, ada), tests=Decimal(0), failed_tests="AssertionError: [0, 1] != [0, 1, 4]")
    review.give(submission, cell_of(submission, "essay"), tim, manual_score=Decimal(2))
    review.comment(submission, cell_of(submission, "essay"), tim, "*Good*, but <script>alert(1)</script>why?")
    review.finish(submission, tim)
    feedback.release([submission], tim)
    submission.refresh_from_db()
    return submission


def test_score_and_comment_stand_beside_the_cells(returned, ada, as_user):
    page = as_user(ada).get(f"/feedback/{returned.code}/").content.decode()
    for part in ("2 <small>/ 5</small>", "<em>Good</em>", "AssertionError: assert squares(3) == [0, 1, 4]", "Tim"):
        assert part in page
    assert "<script>alert" not in page


def test_a_message_that_is_not_the_teachers_is_shown_where_all_outputs_are(returned, ada, as_user):
    """The test has a hidden part, and whoever reads that may write such a message."""
    said, why = "[0, 1] != [0, 1, 4]", "From here on, hidden tests had run."
    page = as_user(ada).get(f"/feedback/{returned.code}/").content.decode()
    file = as_user(ada).get(f"/feedback/{returned.code}/file/").content.decode()
    for text in (page, file):
        assert said not in text
        assert why in text
    LineItem.objects.update(show_all_outputs=True)
    page = as_user(ada).get(f"/feedback/{returned.code}/").content.decode()
    assert said in page
    assert why not in page
    assert "HIDDEN TESTS" not in page


def test_outputs_that_were_handed_in_say_so(returned, ada, tim, as_user):
    files = storage.read_snapshot(returned.snapshot)
    content = json.loads(files[PS1])
    answer = next(cell for cell in content["cells"] if cell["id"] == "squares")
    answer["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "as it was at home"}]
    snapshot = storage.snapshot_of({**files, PS1: json.dumps(content).encode()})
    Submission.objects.filter(pk=returned.pk).update(snapshot=snapshot)
    for path in ("", "file/"):
        page = as_user(ada).get(f"/feedback/{returned.code}/{path}").content.decode()
        assert page.index("Output as handed in:") < page.index("as it was at home")
    assert "Output as handed in:" not in as_user(tim).get(f"/review/{returned.code}/").content.decode()


@pytest.mark.parametrize("place", ["", "file/"])
def test_points_in_part_and_the_tests_own_reason_stand_together(place, ps1, ada, tim, as_user):
    said = ("An empty list has no mean.", "And 2 is not 3.")
    submission = graded(handed_in(ps1, ada), tests=Decimal("0.5"), said=said)
    review.give(submission, cell_of(submission, "essay"), tim, manual_score=Decimal(2))
    review.finish(submission, tim)
    feedback.release([submission], tim)
    page = " ".join(as_user(ada).get(f"/feedback/{submission.code}/{place}").content.decode().split())
    assert ("tests: 0.5 / 2" if place else "0.5 <small>/ 2</small>") in page
    assert "<li>An empty list has no mean.</li><li>And 2 is not 3.</li>" in page


def test_the_receipt_and_the_bar_say_that_it_is_back(returned, ada, as_user):
    client = as_user(ada)
    for path in (f"/receipts/{returned.code}/", f"/w/{work_of(Assignment.objects.get(), ada).workspace.slug}/state/"):
        page = client.get(path).content.decode()
        assert "feedback returned" in page
        assert "being marked" not in page


def test_reading_is_noted_once(returned, ada, as_user):
    client = as_user(ada)
    client.get(f"/feedback/{returned.code}/")
    first = Feedback.objects.get().read_at
    client.get(f"/feedback/{returned.code}/")
    assert first is not None
    assert Feedback.objects.get().read_at == first


def test_before_release_and_after_it_was_taken_back_there_is_the_receipt(returned, ada, tim, as_user):
    feedback.withdraw([returned], tim)
    response = as_user(ada).get(f"/feedback/{returned.code}/")
    assert response["Location"] == f"/receipts/{returned.code}/"
    assert Feedback.objects.get().read_at is None


def test_feedback_is_for_its_authors(returned, ben, mallory, tim, as_user):
    for person in (ben, mallory, tim):
        assert as_user(person).get(f"/feedback/{returned.code}/").status_code == 404


def test_hidden_tests_are_for_those_who_mark_and_not_for_students(returned, ada, tim, as_user):
    for page, reader, shown in (("review", tim, True), ("feedback", ada, False)):
        body = as_user(reader).get(f"/{page}/{returned.code}/").content.decode()
        assert ("HIDDEN TESTS" in body) is shown
        assert "squares" in body


def test_the_late_penalty_is_explained(returned, ada, as_user):
    LineItem.objects.update(late_policy=LineItem.LatePolicy.PER_DAY, late_percent_per_day=10)
    Submission.objects.update(late_by=timedelta(days=1, hours=2))
    page = as_user(ada).get(f"/feedback/{returned.code}/").content.decode()
    assert "2 points, less 0.4 for lateness." in page
    assert "2 started days late, at 10 % of the score a day." in page
    LineItem.objects.update(late_policy=LineItem.LatePolicy.ZERO)
    returned = Submission.objects.select_related("line_item").get()
    assert "scores zero" in penalty_words(returned)


def test_authors_are_told_by_a_mail_without_scores(returned, ada):
    feedback_mail.deliver({"submission": returned.pk, "key": "k"})
    assert [message.to for message in mail.outbox] == [[ada.email]]
    assert f"/feedback/{returned.code}/" in mail.outbox[0].body
    assert "2" not in mail.outbox[0].body.replace(returned.code, "").split("http")[0]


def test_no_mail_goes_out_after_feedback_was_taken_back(returned, tim):
    feedback.withdraw([returned], tim)
    with pytest.raises(NothingToDo):
        feedback_mail.deliver({"submission": returned.pk, "key": "k"})
    assert mail.outbox == []
