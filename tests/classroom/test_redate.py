"""Lateness follows the dates, and the teacher reads what a change does before it is applied."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from classroom import adjust, extend, redate, submit
from classroom.deadlines import Allowance
from classroom.models import Assignment, Course, Enrollment, Extension
from classroom.people.models import User
from grading.models import Submission
from tests.classroom.work import handed_in, published, work_of

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


@pytest.fixture
def ps1(course: Course, grace: User) -> Assignment:
    """Due an hour ago; Ada and Ben have handed in since."""
    return published(course, grace, due_at=timezone.now() - HOUR, opened_at=timezone.now() - 9 * HOUR)


@pytest.fixture
def late(ps1: Assignment, ada: User, ben: User) -> list[Submission]:
    found = [handed_in(ps1, ada), handed_in(ps1, ben)]
    assert all(one.late_by for one in found)
    return found


def lateness(late: list[Submission]) -> list[bool]:
    """Who is late now, Ada and Ben."""
    return [bool(Submission.objects.get(pk=one.pk).late_by) for one in late]


def member(user: User) -> Enrollment:
    return Enrollment.objects.get(user=user)


def test_a_later_due_date_forgives_and_the_way_back_makes_late(ps1: Assignment, late) -> None:
    tomorrow, before = timezone.now() + timedelta(days=1), ps1.due_at
    assert adjust.effects_of(ps1, {"due_at": tomorrow}).words == ["2 submissions will no longer be late."]
    assert lateness(late) == [True, True]
    adjust.adjust(ps1, {"due_at": tomorrow})
    assert lateness(late) == [False, False]
    assert Submission.objects.get(pk=late[0].pk).due_at == tomorrow
    assert adjust.effects_of(ps1, {"due_at": before}).words == ["2 submissions become late."]
    assert adjust.effects_of(ps1, {"title": "Other"}).words == []


def test_less_and_more_late_are_said_too(ps1: Assignment, late) -> None:
    assert ps1.due_at is not None
    half = {"due_at": ps1.due_at + HOUR / 2}
    assert adjust.effects_of(ps1, half).words == ["2 submissions are late by less."]
    assert adjust.effects_of(ps1, {"due_at": ps1.due_at - HOUR}).words == ["2 submissions are late by more."]


def test_grace_is_forgiven_after_the_fact(ps1: Assignment, late) -> None:
    assert adjust.effects_of(ps1, {"grace_minutes": 120}).words == ["2 submissions will no longer be late."]
    adjust.adjust(ps1, {"grace_minutes": 120})
    assert lateness(late) == [False, False]


def test_an_extension_changes_one_persons_work_only(ps1: Assignment, late, ada: User, grace: User) -> None:
    tomorrow = timezone.now() + timedelta(days=1)
    assert extend.extending(ps1, ada, tomorrow).words == ["1 submission will no longer be late."]
    given = extend.extend(ps1, ada, due_at=tomorrow, reason="", by=grace)
    assert lateness(late) == [False, True]
    assert extend.taking_back(ps1.course, ada, given.pk).words == ["1 submission becomes late."]
    assert extend.take_back(ps1.course, ada, given.pk)
    assert lateness(late) == [True, True]


def test_an_accommodation_changes_what_the_person_has_handed_in(ps1: Assignment, late, ada: User) -> None:
    # A quarter of eight hours is two.
    assert extend.accommodating(member(ada), Allowance(percent=25)).words == ["1 submission will no longer be late."]
    extend.accommodate(member(ada), Allowance(percent=25))
    assert lateness(late) == [False, True]
    extend.accommodate(member(ada), Allowance())
    assert lateness(late) == [True, True]


def test_an_accommodation_holds_in_assignments_to_come(course: Course, grace: User, ada: User, ben: User) -> None:
    extend.accommodate(member(ada), Allowance(hours=3))
    later = published(course, grace, slug="ps2", due_at=timezone.now() - HOUR)
    assert (bool(handed_in(later, ada).late_by), bool(handed_in(later, ben).late_by)) == (False, True)


def test_what_comes_in_while_the_date_changes_goes_by_the_new_one(
    ps1: Assignment, ada: User, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks
) -> None:
    """The submission reads the old date, the teacher changes it, the submission is stored: it is looked at again."""
    tomorrow, take = timezone.now() + timedelta(days=1), submit._take

    def overtaken(*arguments, **named):
        taken = take(*arguments, **named)
        Assignment.objects.filter(pk=ps1.pk).update(due_at=tomorrow)
        return taken

    monkeypatch.setattr(submit, "_take", overtaken)
    submission = submit.submit(work_of(ps1, ada), ada, request_key="1").submission
    assert not Submission.objects.get(pk=submission.pk).late_by
    # The other way round: stored after the change looked, it is found once the change is committed.
    with django_capture_on_commit_callbacks(execute=True):
        adjust.adjust(ps1, {"due_at": tomorrow - timedelta(days=1, hours=3)})
        Submission.objects.filter(pk=submission.pk).update(due_at=tomorrow, late_by=timedelta(0))
    assert Submission.objects.get(pk=submission.pk).late_by


def test_a_row_that_somebody_else_moved_is_left(ps1: Assignment, late) -> None:
    found = redate.effects(ps1)
    assert not found.changes
    Submission.objects.filter(pk=late[0].pk).update(late_by=timedelta(days=9))
    stale = redate.effects(ps1)
    Submission.objects.filter(pk=late[0].pk).update(late_by=timedelta(days=8))
    redate._write(stale)
    assert Submission.objects.get(pk=late[0].pk).late_by == timedelta(days=8)


class TestPages:
    def test_settings_say_what_would_change_and_ask_once(self, ps1, late, grace: User, as_user) -> None:
        client, url = as_user(grace), "/c/data/a/ps1/teach/settings/"
        form = client.get(url).context["form"]
        body = {name: form[name].value() for name in form.fields}
        body = {name: value for name, value in body.items() if value is not None and value is not False}
        body["due_at"] = "2099-06-01T12:00"
        asked = client.post(url, body)
        assert asked.status_code == 422
        assert "2 submissions will no longer be late." in asked.content.decode()
        assert lateness(late) == [True, True]
        assert client.post(url, body | {"agreed": "something else"}).status_code == 422
        assert client.post(url, body | {"agreed": asked.context["effects"].digest}).status_code == 302
        assert lateness(late) == [False, False]

    def test_a_person_gets_an_accommodation_and_reads_it(self, ps1, late, grace: User, ada: User, as_user) -> None:
        teacher, url = as_user(grace), f"/c/data/people/{member(ada).pk}/"
        asked = teacher.post(f"{url}accommodation/", {"percent": "25", "days": "1"})
        assert "1 submission will no longer be late." in asked.content.decode()
        agreed = asked.context["accommodation_effects"].digest
        teacher.post(f"{url}accommodation/", {"percent": "25", "days": "1", "agreed": agreed})
        assert lateness(late) == [False, True]
        page = teacher.get(url).content.decode()
        assert "+25 %" in page
        assert "accommodation" in page
        assert "+25 %" in teacher.get("/c/data/people/").content.decode()
        assert "for you" in as_user(ada).get("/c/data/").content.decode()

    def test_nobody_loses_an_accommodation_to_a_wrong_number(self, ps1, grace: User, ada: User, as_user) -> None:
        url = f"/c/data/people/{member(ada).pk}/accommodation/"
        assert as_user(grace).post(url, {"percent": "-1", "hours": "24"}).status_code == 422
        assert member(ada).extra_time_percent == 0

    def test_an_extension_asks_before_it_changes_and_before_it_goes(self, ps1, late, grace, ada, as_user) -> None:
        teacher, url = as_user(grace), f"/c/data/people/{member(ada).pk}/extension/"
        body = {"assignment": ps1.pk, "due_at": "2099-06-01T12:00", "reason": "ill"}
        asked = teacher.post(url, body)
        assert not Extension.objects.exists()
        teacher.post(url, body | {"agreed": asked.context["extension_effects"].digest})
        back = f"{url}{Extension.objects.get().pk}/back/"
        asked = teacher.post(back)
        assert "1 submission becomes late." in asked.content.decode()
        teacher.post(back, {"agreed": asked.context["back_effects"].digest})
        assert lateness(late) == [True, True]

    def test_an_extension_gives_attempts_without_a_date_and_not_nothing(self, ps1, grace, ada, as_user) -> None:
        teacher, url = as_user(grace), f"/c/data/people/{member(ada).pk}/extension/"
        assert teacher.post(url, {"assignment": ps1.pk}).status_code == 422
        teacher.post(url, {"assignment": ps1.pk, "more_attempts": "1"})
        assert (Extension.objects.get().due_at, Extension.objects.get().more_attempts) == (None, 1)
        assert "1 more attempt" in teacher.get(f"/c/data/people/{member(ada).pk}/").content.decode()


def test_those_who_mark_read_whose_date_is_later(ps1, ada: User, ben: User, grace: User, tim: User, as_user) -> None:
    handed_in(ps1, ada)
    tomorrow = timezone.now() + timedelta(days=1, hours=1)
    for user in (ada, ben):
        extend.extend(ps1, user, due_at=tomorrow, reason="", by=grace)
    listing = as_user(tim).get("/c/data/a/ps1/submissions/").context["listing"]
    assert {one.enrollment.user: one.due_at for one in listing.missing}[ben] == tomorrow
    assert all(one.due_at is None for one in listing.missing if one.enrollment.user != ben)
    assert [line.submission.due_at for line in listing.lines] == [tomorrow]
