"""The button Check: asked for in the bar or without the frame, told in place."""

from __future__ import annotations

from typing import Any

import pytest

from classroom import rehearse as verb
from classroom.models import Assignment, Work
from classroom.people.models import User
from grading.models import LineItem, Submission, WorkCheck
from tests.classroom.work import work_of


@pytest.fixture
def work(ps1: Assignment, ada: User) -> Work:
    return work_of(ps1, ada)


def words(response: Any) -> str:
    return " ".join(response.content.decode().split())


def asks(client: Any, work: Work) -> str:
    return words(client.post(f"/w/{work.workspace.slug}/check/", HTTP_HX_REQUEST="true"))


def finished(work: Work, **fields: Any) -> WorkCheck:
    check = verb.check(work)
    row = {"notebook": "problem1", "grade_id": "tests", "ran": True, "passed": False, "message": "AssertionError: no"}
    WorkCheck.objects.filter(pk=check.pk).update(state="done", results=[row], finished_at=check.queued_at, **fields)
    return check


def test_the_bar_has_the_button_and_a_click_queues_one_check(work, ada, as_user):
    client = as_user(ada)
    assert 'id="check-form"' in words(client.get(f"/w/{work.workspace.slug}/"))
    for _click in range(2):
        page = asks(client, work)
        assert 'data-dialog-open="check-dialog"' in page
        assert "waiting" in page
    assert WorkCheck.objects.count() == 1
    assert not Submission.objects.exists()


def test_the_result_is_told_cell_by_cell(work, ada, as_user):
    finished(work, lacking=["seaborn"])
    page = words(as_user(ada).get(f"/w/{work.workspace.slug}/check/", HTTP_HX_REQUEST="true"))
    assert "0 of 1 test cell passed" in page
    assert "AssertionError: no" in page
    assert "lacks: seaborn" in page
    assert "49 checks left" in page
    assert "hx-trigger" not in page


def test_points_in_part_and_the_tests_own_reason_are_told_together(work, ada, as_user):
    said = {"passed": False, "score": 0.5, "max_score": 2.0, "message": "", "reasons": ["An empty list has no mean."]}
    check = finished(work)
    WorkCheck.objects.filter(pk=check.pk).update(results=[{**check_row(check), **said}])
    page = words(as_user(ada).get(f"/w/{work.workspace.slug}/check/", HTTP_HX_REQUEST="true"))
    assert "passed in part" in page
    assert "0.5 of 2 points" in page
    assert "<li>An empty list has no mean.</li>" in page
    assert ">failed<" not in page


def check_row(check: WorkCheck) -> dict[str, Any]:
    check.refresh_from_db()
    row: dict[str, Any] = check.results[0]
    return row


def test_a_check_too_soon_or_too_many_says_so_and_the_last_result_stays(work, ada, as_user):
    finished(work)
    page = asks(as_user(ada), work)
    assert "You can check again in" in page
    assert "AssertionError: no" in page
    LineItem.objects.update(check_limit=1)
    assert "You have used all checks" in asks(as_user(ada), work)


def test_it_works_without_a_script(work, ada, as_user):
    client = as_user(ada)
    assert f'action="/w/{work.workspace.slug}/check/"' in words(client.get(f"/w/{work.workspace.slug}/hand-in/"))
    page = words(client.post(f"/w/{work.workspace.slug}/check/", follow=True))
    assert "Look again" in page


def test_where_the_teacher_allows_none_there_is_no_button(work, ada, as_user):
    LineItem.objects.update(check_limit=0)
    assert 'id="check-form"' not in words(as_user(ada).get(f"/w/{work.workspace.slug}/"))


def test_a_group_or_a_person_is_counted_by_their_work_and_others_by_theirs(work, ps1, ben):
    finished(work)
    assert verb.check(work_of(ps1, ben)).state == WorkCheck.State.QUEUED


def test_closed_work_is_not_checked_and_others_cannot_check_it(work, ada, ben, tim, as_user):
    assert as_user(ben).post(f"/w/{work.workspace.slug}/check/").status_code == 404
    assert as_user(tim).post(f"/w/{work.workspace.slug}/check/").status_code == 403
    Assignment.objects.update(state=Assignment.State.CLOSED)
    assert as_user(ada).post(f"/w/{work.workspace.slug}/check/").status_code == 403
