"""Marking: who may, what is saved, what happens when two do it, and feedback returned and taken back."""

from __future__ import annotations

import html
import json
from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from classroom.models import Enrollment, Outbox, ReviewVisit
from grading.models import Autograding, Comment, Feedback, Mark, Submission
from runtimes import blobs, storage
from runtimes.errors import StorageAway
from tests.classroom.work import PS1, cell_of, graded, handed_in, source, work_of

SUBMISSIONS = "/c/data/a/ps1/submissions/"
HTMX = {"HX-Request": "true"}


@pytest.fixture
def adas(ps1, ada):
    return graded(handed_in(ps1, ada))


@pytest.fixture
def dans(ps1, dan):
    return graded(handed_in(ps1, dan))


def mark(client, submission, grade_id="essay", **fields):
    cell = cell_of(submission, grade_id)
    given = {"score": "", "extra": "", "comment": "", "seen_mark": "0", "seen_comment": "0", **fields}
    return client.post(f"/review/{submission.code}/cells/{cell.pk}/", given, headers=HTMX)


def test_the_list_shows_a_ta_their_section_only(adas, dans, tim, tess, grace, as_user):
    assert adas.code in as_user(tim).get(SUBMISSIONS).content.decode()
    assert dans.code not in as_user(tim).get(SUBMISSIONS).content.decode()
    assert dans.code in as_user(tess).get(SUBMISSIONS).content.decode()
    everyone = as_user(grace).get(SUBMISSIONS).content.decode()
    assert adas.code in everyone
    assert dans.code in everyone


def test_the_list_can_be_narrowed_by_state_and_section(adas, dans, grace, as_user):
    Submission.objects.filter(pk=dans.pk).update(state="failed")
    client = as_user(grace)
    found = client.get(SUBMISSIONS, {"state": "failed"}).context["listing"].lines
    assert [line.submission for line in found] == [dans]
    found = client.get(SUBMISSIONS, {"section": "A"}).context["listing"].lines
    assert [line.submission for line in found] == [adas]


def test_while_files_are_away_the_page_says_so_and_when_to_come_back(adas, tim, as_user, monkeypatch):
    def away(blob: object) -> None:
        raise StorageAway("no answer")

    monkeypatch.setattr(blobs, "read", away)
    page = as_user(tim).get(f"/review/{adas.code}/")
    assert (page.status_code, page.headers["Retry-After"]) == (503, "60")
    assert str(StorageAway.user_message) in html.unescape(page.content.decode())


def test_only_the_last_attempt_is_listed(ps1, ada, tim, as_user):
    handed_in(ps1, ada, key="1")
    second = handed_in(ps1, ada, key="2")
    lines = as_user(tim).get(SUBMISSIONS).context["listing"].lines
    assert [line.submission for line in lines] == [second]


def test_names_can_be_hidden_and_stay_hidden(adas, tim, as_user):
    client = as_user(tim)
    assert "Ada" in client.get(SUBMISSIONS).content.decode()
    client.post(f"{SUBMISSIONS}anonymous/")
    for page in (SUBMISSIONS, f"/review/{adas.code}/"):
        body = client.get(page).content.decode()
        assert "Ada" not in body
        assert adas.code in body


@pytest.mark.parametrize("path", ["", "here/", "files/"])
def test_a_submission_is_reviewed_by_those_who_look_after_its_author(
    adas, path, ada, tess, mallory, tim, grace, as_user
):
    for person in (ada, tess, mallory):
        assert as_user(person).get(f"/review/{adas.code}/{path}").status_code == 404
    for person in (tim, grace):
        assert as_user(person).get(f"/review/{adas.code}/{path}").status_code == 200


def test_others_cannot_mark_finish_or_return(adas, ada, tess, mallory, as_user):
    cell = cell_of(adas, "essay")
    for person in (ada, tess, mallory):
        client = as_user(person)
        assert client.post(f"/review/{adas.code}/cells/{cell.pk}/", {"score": "3"}).status_code == 404
        assert client.post(f"/review/{adas.code}/finish/").status_code == 404
    assert as_user(tess).post(f"{SUBMISSIONS}feedback/", {"code": adas.code}).status_code == 302
    assert as_user(ada).post(f"{SUBMISSIONS}feedback/", {"code": adas.code}).status_code == 403
    assert Mark.objects.count() == Feedback.objects.count() == 0


def test_the_page_shows_the_frozen_copy_cell_by_cell(adas, tim, as_user):
    page = as_user(tim).get(f"/review/{adas.code}/").content.decode()
    for part in ("squares", "essay", "<h1>Problem 1</h1>", "automatic: 2", "to mark"):
        assert part in page
    assert "BEGIN SOLUTION" not in page


def test_scripts_in_a_notebook_do_not_reach_the_page(ps1, ada, tim, as_user):
    content = json.loads(source())
    bad = "<script>alert(1)</script><img src=https://x.example/y onerror=alert(1)>"
    content["cells"][0]["source"] = f"hello {bad} <iframe src=//x.example></iframe> [x](javascript:alert(1))"
    content["cells"][1]["outputs"] = [
        {"output_type": "display_data", "metadata": {}, "data": {"text/html": bad}},
        {"output_type": "stream", "name": "stdout", "text": bad},
    ]
    work = work_of(ps1, ada)
    storage.write(work.workspace, PS1, json.dumps(content).encode())
    submission = graded(handed_in(ps1, ada))
    response = as_user(tim).get(f"/review/{submission.code}/")
    page = response.content.decode()
    assert "<script>alert" not in page
    assert "<img src=https" not in page
    assert 'href="javascript' not in page
    assert "//x.example></iframe>" not in page
    assert "<iframe sandbox srcdoc=" in page
    assert "allow-same-origin" not in page
    policy = response["Content-Security-Policy"]
    assert "'unsafe-inline'" not in policy


def test_a_mark_and_a_comment_are_saved_as_typed(adas, tim, as_user):
    response = mark(as_user(tim), adas, score="2.5", extra="0,5", comment="*Nearly.*")
    page = response.content.decode()
    assert "Saved" in page
    assert 'id="total" hx-swap-oob="true">5 <small>/ 5' in page
    assert "every cell has a score" in page
    given = Mark.objects.get()
    assert (given.manual_score, given.extra_credit, given.author) == (Decimal("2.5"), Decimal("0.5"), tim)
    assert Comment.objects.get().text == "*Nearly.*"


def test_saving_the_same_again_adds_nothing(adas, tim, as_user):
    client = as_user(tim)
    mark(client, adas, score="2", comment="ok")
    mark(client, adas, score="2", comment="ok")
    assert Mark.objects.count() == Comment.objects.count() == 1


def test_a_comment_alone_makes_no_mark(adas, tim, as_user):
    mark(as_user(tim), adas, grade_id="squares", comment="nice")
    assert Mark.objects.count() == 0
    assert Comment.objects.count() == 1


@pytest.mark.parametrize(
    ("score", "says"), [("9", "between zero and the points"), ("x", "not a number"), ("-1", "between")]
)
def test_a_score_that_cannot_be_is_refused_in_words(adas, tim, as_user, score, says):
    assert says in mark(as_user(tim), adas, score=score).content.decode()
    assert Mark.objects.count() == 0


def test_a_mark_of_someone_else_is_never_overruled_unseen(adas, tim, grace, as_user):
    mark(as_user(tim), adas, score="3")
    page = mark(as_user(grace), adas, score="1").content.decode()
    assert "Someone else marked this cell" in page
    assert "Tim" in page
    assert Mark.objects.count() == 1
    mark(as_user(grace), adas, score="1", seen_mark=str(Mark.objects.get().pk))
    assert Mark.objects.order_by("-pk").first().manual_score == 1


def test_who_else_is_here_is_said_at_once(adas, tim, grace, as_user):
    as_user(tim).get(f"/review/{adas.code}/")
    assert "Tim is looking at this" in as_user(grace).get(f"/review/{adas.code}/").content.decode()
    ReviewVisit.objects.update(seen_at=timezone.now() - timedelta(minutes=5))
    assert "is looking" not in as_user(grace).get(f"/review/{adas.code}/here/").content.decode()


def test_finishing_needs_every_score_and_goes_on_to_the_next_that_waits(ps1, ada, ben, tim, as_user):
    first, second = graded(handed_in(ps1, ada)), graded(handed_in(ps1, ben))
    client = as_user(tim)
    response = client.post(f"/review/{first.code}/finish/", {"then": "next"})
    assert response["Location"] == f"/review/{first.code}/"
    mark(client, first, score="3")
    response = client.post(f"/review/{first.code}/finish/", {"then": "next"})
    assert response["Location"] == f"/review/{second.code}/"
    first.refresh_from_db()
    assert first.state == "reviewed"
    assert first.finished_by == tim
    mark(client, second, score="3")
    assert client.post(f"/review/{second.code}/finish/", {"then": "next"})["Location"] == SUBMISSIONS


def test_a_finished_submission_can_be_marked_again_after_reopening(adas, tim, as_user):
    client = as_user(tim)
    mark(client, adas, score="3")
    client.post(f"/review/{adas.code}/finish/")
    assert "has just changed" in mark(client, adas, score="1", seen_mark="99999").content.decode()
    client.post(f"/review/{adas.code}/finish/", {"reopen": "1"})
    assert "Saved" in mark(client, adas, score="1", seen_mark="99999").content.decode()


def test_feedback_is_returned_for_all_that_is_ready_and_taken_back(ps1, ada, ben, dan, grace, as_user):
    ready, waiting, other = graded(handed_in(ps1, ada)), graded(handed_in(ps1, ben)), graded(handed_in(ps1, dan))
    Submission.objects.filter(pk__in=[ready.pk, other.pk]).update(state="reviewed")
    client = as_user(grace)
    client.post(f"{SUBMISSIONS}feedback/")
    assert set(Feedback.objects.values_list("submission", flat=True)) == {ready.pk, other.pk}
    assert Outbox.objects.filter(kind="feedback_mail").count() == 2
    client.post(f"{SUBMISSIONS}feedback/", {"withdraw": "1", "code": ready.code})
    assert Feedback.objects.get(submission=ready).state == "withdrawn"
    assert Feedback.objects.get(submission=other).state == "released"
    assert not Feedback.objects.filter(submission=waiting).exists()


def test_a_ta_returns_feedback_of_their_section_only(ps1, ada, dan, tim, as_user):
    mine, theirs = graded(handed_in(ps1, ada)), graded(handed_in(ps1, dan))
    Submission.objects.update(state="reviewed")
    as_user(tim).post(f"{SUBMISSIONS}feedback/")
    assert Feedback.objects.get().submission == mine
    as_user(tim).post(f"{SUBMISSIONS}feedback/", {"code": theirs.code})
    assert Feedback.objects.count() == 1


def test_a_failed_grading_is_reviewed_with_its_reason_and_log(adas, tim, as_user):
    Submission.objects.filter(pk=adas.pk).update(state="failed")
    failures = [{"code": "kernel_out_of_memory", "notebook": "problem1", "params": {}, "detail": ""}]
    Autograding.objects.update(state="failed", failures=failures, log="MemoryError: no")
    page = as_user(tim).get(f"/review/{adas.code}/").content.decode()
    assert "needed more memory than it may use" in page
    assert "MemoryError: no" in page
    assert "Saved" in mark(as_user(tim), adas, score="1").content.decode()


def test_what_was_set_aside_is_listed_with_its_log_and_can_be_graded_again(ps1, ada, tim, as_user):
    submission = handed_in(ps1, ada)
    log = "try 1 did not come to its end: the worker that graded it ended"
    submission.autogradings.update(state=Autograding.State.PARKED, current=True, tries=3, log=log)
    Submission.objects.filter(pk=submission.pk).update(state=Submission.State.FAILED)
    page = as_user(tim).get(SUBMISSIONS).content.decode()
    assert "Set aside after 3 tries" in page
    assert log in page
    as_user(tim).post(f"{SUBMISSIONS}again/", {"code": submission.code})
    assert submission.autogradings.order_by("-pk")[0].state == Autograding.State.QUEUED
    assert "Set aside" not in as_user(tim).get(SUBMISSIONS).content.decode()


def test_grading_again_queues_a_new_run_and_keeps_the_marks(adas, tim, as_user):
    client = as_user(tim)
    mark(client, adas, score="3")
    client.post(f"{SUBMISSIONS}again/", {"code": adas.code})
    adas.refresh_from_db()
    assert adas.state == "queued"
    assert Autograding.objects.filter(submission=adas, state="queued").count() == 1
    assert Mark.objects.count() == 1
    client.post(f"{SUBMISSIONS}again/", {"code": adas.code})
    assert Autograding.objects.filter(submission=adas, state="queued").count() == 1


def test_a_cell_that_was_deleted_can_still_be_marked(ps1, ada, tim, as_user):
    content = json.loads(source())
    content["cells"] = content["cells"][:3]
    work = work_of(ps1, ada)
    storage.write(work.workspace, PS1, json.dumps(content).encode())
    submission = graded(handed_in(ps1, ada))
    page = as_user(tim).get(f"/review/{submission.code}/").content.decode()
    assert "Missing from what was handed in" in page
    assert "Saved" in mark(as_user(tim), submission, score="0").content.decode()


def test_a_dropped_ta_sees_nothing_more(adas, tim, as_user):
    Enrollment.objects.filter(user=tim).update(state=Enrollment.State.DROPPED)
    assert as_user(tim).get(f"/review/{adas.code}/").status_code == 404
    assert as_user(tim).get(SUBMISSIONS).status_code == 404


def test_the_pages_cost_the_same_however_many(
    ps1, ada, ben, cleo, dan, eve, grace, as_user, django_assert_max_num_queries
):
    for student in (ada, ben, cleo, dan, eve):
        graded(handed_in(ps1, student))
    client = as_user(grace)
    client.get(SUBMISSIONS)
    with django_assert_max_num_queries(18):
        client.get(SUBMISSIONS)
    code = Submission.objects.first().code
    client.get(f"/review/{code}/")
    with django_assert_max_num_queries(36):
        client.get(f"/review/{code}/")
