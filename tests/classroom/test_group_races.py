"""A group's members at the same moment, on whichever database the tests run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from classroom import courses, group, launch, submit
from classroom.models import Assignment, Course, Enrollment, Group, GroupMember, Work, WorkMember
from classroom.people.models import User
from grading.errors import AttemptsUsedUp
from grading.models import Submission
from tests.classroom.test_races import at_once
from tests.classroom.work import published

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def people(transactional_db: None) -> list[User]:
    """A teacher and five students."""
    return [User.objects.create_user(f"p{n}", f"p{n}@example.org", "a long phrase") for n in range(6)]


@pytest.fixture
def ps1(people: list[User], monkeypatch: pytest.MonkeyPatch) -> Assignment:
    """For three together, three attempts."""
    for task in ("check_release", "autograde_waiting", "drain_outbox"):
        monkeypatch.setattr(f"classroom.tasks.{task}.delay", lambda *_given: None)
    course: Course = courses.create(slug="small", title="Small", term="", time_zone="UTC", by=people[0])
    for user in people[1:]:
        Enrollment.objects.create(course=course, user=user, role=Enrollment.Role.STUDENT)
    return published(course, people[0], group_size=3, groups_by_students=True, attempt_limit=3)


def each(users: Sequence[User], act: Callable[[User], Any]) -> list[Any]:
    """What each of these people got, all at once."""
    turns, lock = iter(users), threading.Lock()

    def one() -> Any:
        with lock:
            user = next(turns)
        return act(user)

    return at_once(one, times=len(users))


def test_members_who_submit_at_once_get_a_number_each_and_never_more_than_there_are(ps1, people) -> None:
    students = people[1:5]
    made = group.form(ps1, "Four", students)
    work = launch.open_work(ps1, students[0])
    results = each(students, lambda user: submit.submit(work, user, request_key=user.username))
    taken = [one.submission for one in results if isinstance(one, submit.HandedIn)]
    assert sorted(one.attempt for one in taken) == [1, 2, 3]
    assert sum(isinstance(one, AttemptsUsedUp) for one in results) == 1
    assert all(one.authors.count() == 4 for one in Submission.objects.all())
    assert {one.authors_key for one in taken} == {f"group:{made.pk}"}


def test_the_last_place_is_taken_once(ps1, people) -> None:
    made = group.form(ps1, "Pair", people[1:3])
    results = each(people[3:], lambda user: group.join(ps1, user, made.join_code))
    assert sum(isinstance(one, Group) for one in results) == 1
    assert sum(isinstance(one, group.GroupFull) for one in results) == 2
    assert made.memberships.count() == 3


def test_one_who_joins_two_groups_at_once_is_in_one(ps1, people) -> None:
    codes = iter([group.form(ps1, str(n), [people[n]]).join_code for n in (1, 2)])
    results = each([people[3]] * 2, lambda user: group.join(ps1, user, next(codes)))
    assert sum(isinstance(one, Group) for one in results) == 1
    assert GroupMember.objects.filter(user=people[3]).count() == 1


def test_members_who_open_it_at_once_open_one_work(ps1, people) -> None:
    group.form(ps1, "Three", people[1:4])
    results = each(people[1:4], lambda user: launch.open_work(ps1, user).pk)
    assert len(set(results)) == 1
    assert Work.objects.count() == 1
    assert WorkMember.objects.count() == 3


def test_members_who_leave_at_once_all_keep_their_work(ps1, people) -> None:
    group.form(ps1, "Three", people[1:4])
    launch.open_work(ps1, people[1])
    each(people[1:4], lambda user: group.leave(ps1, user))
    assert not Group.objects.exists()
    works = WorkMember.objects.values_list("work", flat=True)
    assert len(works) == len(set(works)) == 3
