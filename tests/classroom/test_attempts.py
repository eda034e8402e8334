"""How many attempts there are, which of them counts, and that it counts everywhere."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from classroom import extend
from classroom.models import Assignment, Course
from classroom.people.models import User
from classroom.queries.counting import queue
from grading import feedback, review
from grading.errors import AttemptsUsedUp
from grading.models import LineItem, Submission
from tests.classroom.work import cell_of, graded, handed_in, published

Best = LineItem.Keep.BEST


@pytest.fixture
def twice(course: Course, grace: User) -> Assignment:
    """Two attempts, the best counts."""
    return published(course, grace, attempt_limit=2, keep=Best)


def marked(submission: Submission, tim: User, essay: int) -> Submission:
    review.give(submission, cell_of(submission, "essay"), tim, manual_score=Decimal(essay))
    review.finish(submission, tim)
    return submission


def test_the_limit_holds_and_one_person_may_get_one_more(twice, ada: User, ben: User, grace: User) -> None:
    for key in ("1", "2"):
        handed_in(twice, ada, key=key)
        handed_in(twice, ben, key=key)
    extend.extend(twice, ada, due_at=None, more_attempts=1, reason="fire alarm", by=grace)
    assert handed_in(twice, ada, key="3").attempt == 3
    for person, key in ((ada, "4"), (ben, "3")):
        with pytest.raises(AttemptsUsedUp):
            handed_in(twice, person, key=key)


def test_it_is_said_before_and_at_the_last_attempt(twice, ada: User, as_user) -> None:
    client = as_user(ada)
    assert "0 of 2 attempts used; the best counts." in client.get("/c/data/a/ps1/").content.decode()
    first = handed_in(twice, ada, key="1")
    slug = first.authors.get().work_memberships.get().work.workspace.slug
    page = client.get(f"/w/{slug}/").content.decode()
    assert "This is your last attempt. Hand in now?" in page
    assert "One of 2 attempts is left; the best counts." in page
    last = handed_in(twice, ada, key="2")
    assert "You have used all your attempts." in client.get(f"/w/{slug}/hand-in/").content.decode()
    receipt = client.get(f"/receipts/{last.code}/").content.decode()
    assert "2 of 2" in receipt
    assert "All 2 attempts are used; the best counts." in receipt


def test_a_receipt_says_what_being_late_costs(twice, ada: User, as_user) -> None:
    LineItem.objects.update(late_policy="per_day", late_percent_per_day=10, grace=timedelta(minutes=15))
    Assignment.objects.update(due_at=timezone.now() - timedelta(hours=26))
    twice.refresh_from_db()
    twice.line_item.refresh_from_db()
    submission = handed_in(twice, ada)
    for page in ("", "text/"):
        text = as_user(ada).get(f"/receipts/{submission.code}/{page}").content.decode()
        assert "late by 26 hours: −20 %" in text
        assert "Late: −10 % of the score a started day. Up to 15 minutes late counts as in time." in text


@pytest.fixture
def better_first(twice, ada: User, tim: User) -> tuple[Submission, Submission]:
    """Ada's first attempt has five points, her second four."""
    first = marked(graded(handed_in(twice, ada, key="1")), tim, 3)
    return first, marked(graded(handed_in(twice, ada, key="2")), tim, 2)


class TestTheBestCounts:
    def test_in_the_gradebook_and_its_export(self, better_first, grace: User, as_user) -> None:
        first, second = better_first
        page = as_user(grace).get("/c/data/gradebook/").content.decode()
        assert f"/review/{first.code}/" in page
        assert f"/review/{second.code}/" not in page
        assert "Ada,A,5" in as_user(grace).get("/c/data/gradebook/export.csv").content.decode()

    def test_in_the_list_of_those_who_mark_and_for_feedback_to_all(self, better_first, tim: User, as_user) -> None:
        first, second = better_first
        client = as_user(tim)
        page = client.get("/c/data/a/ps1/submissions/").content.decode()
        assert f"/review/{first.code}/" in page
        assert f"/review/{second.code}/" not in page
        client.post("/c/data/a/ps1/submissions/feedback/")
        assert [feedback.release([one], tim) for one in (first, second)] == [0, 1]

    def test_on_the_students_pages_once_it_is_returned(self, better_first, ada: User, tim: User, as_user) -> None:
        first, second = better_first
        feedback.release([first], tim)
        for address in ("/c/data/", "/"):
            page = as_user(ada).get(address).content.decode()
            assert f"/feedback/{first.code}/" in page
            assert f"/feedback/{second.code}/" not in page
        assert "5<small>/5" in as_user(ada).get("/c/data/").content.decode()

    def test_on_the_teachers_course_page(self, better_first, grace: User, tim: User, as_user) -> None:
        feedback.release([better_first[0]], tim)
        row = as_user(grace).get("/c/data/teach/").context["units"][0].rows[0]
        assert (row.flow.submitted, row.flow.graded, row.flow.returned, row.flow.to_mark) == (1, 1, 1, 0)


def test_an_attempt_that_may_become_the_best_waits_in_the_queue_and_a_hopeless_one_does_not(
    twice, ada: User, ben: User, tim: User, grace: User, as_user
) -> None:
    for person in (ada, ben):
        marked(graded(handed_in(twice, person, key="1")), tim, 3 if person == ada else 0)
    hopeless = graded(handed_in(twice, ada, key="2"), tests=Decimal(1))
    hopeful = graded(handed_in(twice, ben, key="2"), tests=Decimal(1))
    waiting = {one.pk for one in queue(twice.line_item, [ada, ben]) if one.state == Submission.State.TO_REVIEW}
    assert waiting == {hopeful.pk}
    assert hopeless.pk not in waiting
    assert as_user(grace).get("/").context["courses"][0].to_mark == 1
    assert as_user(grace).get("/c/data/teach/").context["units"][0].rows[0].flow.to_mark == 1


def test_where_the_last_counts_only_the_last_waits(course: Course, grace: User, ada: User, as_user) -> None:
    ps1 = published(course, grace)
    graded(handed_in(ps1, ada, key="1"))
    second = graded(handed_in(ps1, ada, key="2"))
    assert [one.pk for one in queue(ps1.line_item, [ada])] == [second.pk]
    assert as_user(grace).get("/").context["courses"][0].to_mark == 1


def test_who_marks_sees_the_other_attempts(better_first, tim: User, as_user) -> None:
    first, second = better_first
    assert f"/review/{second.code}/" in as_user(tim).get(f"/review/{first.code}/").content.decode()
    assert f"/review/{first.code}/" in as_user(tim).get(f"/review/{second.code}/").content.decode()
