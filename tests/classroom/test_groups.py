"""Groups: who works with whom, one work and one submission for all, and nothing lost by whoever comes or goes."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from classroom import extend, group, group_many, launch, roster, submit
from classroom.errors import ClassroomError
from classroom.models import Assignment, Course, Enrollment, Group, GroupMember, Work, WorkMember
from classroom.people.models import User
from grading.errors import AttemptsUsedUp
from grading.models import Submission
from runtimes import storage
from tests.classroom.work import PS1, handed_in, published, work_of


@pytest.fixture
def ps1(course: Course, grace: User) -> Assignment:
    """Done by two or three, who find each other themselves; two attempts."""
    return published(course, grace, group_size=3, groups_by_students=True, attempt_limit=2)


@pytest.fixture
def pair(ps1: Assignment, ada: User, ben: User) -> Group:
    return group.form(ps1, "Pair", [ada, ben])


def names(found: Group) -> list[str]:
    return sorted(found.members.values_list("username", flat=True))


def paths(work: Work) -> list[str]:
    return list(storage.files(work.workspace).values_list("path", flat=True))


class TestOneWorkForAll:
    def test_all_members_open_the_same_work_and_are_authors(self, pair, ps1, ada, ben, cleo) -> None:
        shared = work_of(ps1, ada)
        assert work_of(ps1, ben) == shared != work_of(ps1, cleo)
        submission = handed_in(ps1, ben)
        assert sorted(submission.authors.values_list("username", flat=True)) == ["ada", "ben"]

    def test_their_receipt_names_all_of_them_and_that_of_one_person_nobody(self, pair, ps1, ada, ben, cleo, as_user):
        page = as_user(ben).get(f"/receipts/{handed_in(ps1, ada).code}/").content.decode()
        assert "<dt>Handed in by</dt><dd>Ada, Ben</dd>" in page
        assert "Handed in by" not in as_user(cleo).get(f"/receipts/{handed_in(ps1, cleo).code}/").content.decode()

    def test_attempts_are_the_groups_whoever_presses_submit(self, pair, ps1, ada, ben, cleo) -> None:
        assert handed_in(ps1, ada, key="1").attempt == 1
        group.put(pair, cleo)
        assert handed_in(ps1, cleo, key="2").attempt == 2
        with pytest.raises(AttemptsUsedUp):
            handed_in(ps1, ben, key="3")

    def test_one_more_attempt_for_one_is_one_more_for_the_group(self, pair, ps1, ada, ben, grace) -> None:
        for key in ("1", "2"):
            handed_in(ps1, ada, key=key)
        extend.extend(ps1, ben, due_at=None, more_attempts=1, reason="", by=grace)
        assert handed_in(ps1, ada, key="3").attempt == 3

    def test_the_latest_due_date_of_the_members_holds_for_all(self, pair, ps1, ada, ben, grace) -> None:
        Assignment.objects.update(due_at=timezone.now() - timedelta(hours=1))
        ps1.refresh_from_db()
        extend.extend(ps1, ben, due_at=timezone.now() + timedelta(days=1), reason="", by=grace)
        assert not handed_in(ps1, ada).late_by

    def test_who_left_the_course_is_no_author_and_gives_no_time(self, pair, ps1, ada, ben, grace) -> None:
        work_of(ps1, ada)
        Assignment.objects.update(due_at=timezone.now() - timedelta(hours=1))
        ps1.refresh_from_db()
        extend.extend(ps1, ben, due_at=timezone.now() + timedelta(days=1), reason="", by=grace)
        roster.drop(Enrollment.objects.get(user=ben))
        submission = handed_in(ps1, ada)
        assert [one.username for one in submission.authors.all()] == ["ada"]
        assert submission.late_by


class TestComing:
    def test_the_first_work_becomes_the_groups_and_others_bring_what_they_wrote(self, ps1, ada, ben) -> None:
        first, second = work_of(ps1, ada), work_of(ps1, ben)
        storage.write(second.workspace, "plot.py", b"print(1)")
        pair = group.form(ps1, "Pair", [ada, ben])
        assert work_of(ps1, ada) == work_of(ps1, ben) == first
        assert Work.objects.get(group=pair) == first
        assert "ben/plot.py" in paths(first)
        # What was as it was given out is there already, and the former workspace is kept as it is.
        assert f"ben/{PS1}" not in paths(first)
        assert "plot.py" in paths(second)
        second.workspace.refresh_from_db()
        assert second.workspace.read_only
        assert launch.access_now(ben.subject, second.workspace.slug) is None
        assert launch.access_now(ben.subject, first.workspace.slug).mode == "write"

    def test_who_comes_after_it_was_opened_is_in(self, pair, ps1, ada, cleo) -> None:
        shared = work_of(ps1, ada)
        group.put(pair, cleo)
        assert WorkMember.objects.get(user=cleo).work == shared

    def test_who_began_alone_while_the_group_was_formed_is_brought_in(self, ps1, ada, ben) -> None:
        alone = work_of(ps1, ada)
        pair = Group.objects.create(assignment=ps1, name="Pair")
        for user in (ada, ben):
            GroupMember.objects.create(group=pair, assignment=ps1, user=user)
        assert work_of(ps1, ben) == work_of(ps1, ada) == alone

    def test_what_was_handed_in_alone_stays_ones_own(self, ps1, ada, ben) -> None:
        alone = handed_in(ps1, ada)
        group.form(ps1, "Pair", [ada, ben])
        assert [one.username for one in alone.authors.all()] == ["ada"]
        assert handed_in(ps1, ben, key="2").attempt == 1

    def test_twice_is_once_and_only_students_come(self, pair, ps1, ada, tim, mallory) -> None:
        group.put(pair, ada)
        assert names(pair) == ["ada", "ben"]
        for user in (tim, mallory):
            with pytest.raises(group.NotAStudent):
                group.put(pair, user)


class TestGoing:
    def test_who_leaves_keeps_a_copy_and_the_authors_stay(self, pair, ps1, ada, ben) -> None:
        shared, submission = work_of(ps1, ada), handed_in(ps1, ada)
        storage.write(shared.workspace, "ours.txt", b"both")
        assert group.take_out(pair, ben)
        alone = work_of(ps1, ben)
        assert alone != shared
        assert "ours.txt" in paths(alone)
        storage.write(alone.workspace, "mine.txt", b"ben")
        assert "mine.txt" not in paths(work_of(ps1, ada))
        assert submission.authors.count() == 2
        assert launch.access_now(ben.subject, shared.workspace.slug) is None
        assert not group.take_out(pair, ben)
        assert handed_in(ps1, ben, key="2").authors_key == str(ben.pk)

    def test_the_last_keeps_the_work_itself(self, pair, ps1, ada, ben) -> None:
        shared = work_of(ps1, ada)
        group.dissolve(pair)
        assert not Group.objects.exists()
        assert {work_of(ps1, ada) == shared, work_of(ps1, ben) == shared} == {True, False}
        assert WorkMember.objects.count() == 2

    def test_who_goes_straight_to_another_group_leaves_the_work_with_the_first(self, pair, ps1, ada, ben, cleo) -> None:
        shared = work_of(ps1, ada)
        storage.write(shared.workspace, "ours.txt", b"both")
        other = group.form(ps1, "Other", [cleo])
        theirs = work_of(ps1, cleo)
        group.put(other, ben)
        assert work_of(ps1, ben) == theirs
        assert not any("ours.txt" in path for path in paths(theirs))
        assert names(pair) == ["ada"]

    def test_who_was_the_only_one_brings_the_work_along(self, ps1, ada, ben) -> None:
        former = group.form(ps1, "Alone", [ada])
        storage.write(work_of(ps1, ada).workspace, "mine.txt", b"ada")
        other = group.form(ps1, "Other", [ben])
        theirs = work_of(ps1, ben)
        group.put(other, ada)
        assert not Group.objects.filter(pk=former.pk).exists()
        assert "ada/mine.txt" in paths(theirs)


class TestByStudents:
    def test_one_forms_a_group_and_others_come_by_its_code(self, ps1, ada, ben, as_user) -> None:
        client, url = as_user(ada), "/c/data/a/ps1/group/"
        assert "You work alone so far" in client.get(url).content.decode()
        client.post(url, {"act": "form", "name": ""})
        code = Group.objects.get().join_code
        assert code in client.get(url).content.decode()
        as_user(ben).post(url, {"act": "join", "code": f" {code.lower()} "})
        assert names(Group.objects.get()) == ["ada", "ben"]
        as_user(ben).post(url, {"act": "leave"})
        assert names(Group.objects.get()) == ["ada"]

    @pytest.mark.parametrize("code", ["", "WRONG1", "' or 1=1"])
    def test_a_wrong_code_leads_nowhere(self, pair, cleo, as_user, code) -> None:
        answer = as_user(cleo).post("/c/data/a/ps1/group/", {"act": "join", "code": code})
        assert answer.status_code == 422
        assert "There is no group with this code" in answer.content.decode()

    def test_a_full_group_one_that_handed_in_and_a_second_group_are_refused(self, pair, ps1, ada, cleo, dan) -> None:
        group.join(ps1, cleo, pair.join_code)
        with pytest.raises(group.GroupFull):
            group.join(ps1, dan, pair.join_code)
        with pytest.raises(group.InAGroup):
            group.form_own(ps1, ada, "Another")
        group.leave(ps1, cleo)
        handed_in(ps1, ada)
        for act in (lambda: group.leave(ps1, ada), lambda: group.join(ps1, dan, pair.join_code)):
            with pytest.raises(group.HandedIn):
                act()

    def test_nothing_of_it_where_the_teacher_makes_groups_or_it_is_closed(self, pair, ps1, ada, cleo, as_user) -> None:
        Assignment.objects.update(closes_at=timezone.now() - timedelta(minutes=1))
        ps1.refresh_from_db()
        for act in (lambda: group.join(ps1, cleo, pair.join_code), lambda: group.leave(ps1, ada)):
            with pytest.raises(group.NotByStudents):
                act()
        Assignment.objects.update(closes_at=None, groups_by_students=False)
        ps1.refresh_from_db()
        with pytest.raises(group.NotByStudents):
            group.form_own(ps1, cleo, "")
        page = as_user(cleo).get("/c/data/a/ps1/group/").content.decode()
        assert "Your teacher makes the groups" in page

    def test_two_of_one_name_get_a_number(self, ps1, ada, ben) -> None:
        assert [group.form_own(ps1, user, "Team").name for user in (ada, ben)] == ["Team", "Team (2)"]


class TestMany:
    def test_chance_leaves_nobody_out_and_groups_equal(self, ps1, pair) -> None:
        assert group_many.deal(ps1, 2) == 2
        assert sorted(one.members.count() for one in Group.objects.all()) == [1, 2, 2]
        assert group_many.without_group(ps1) == []
        assert names(pair) == ["ada", "ben"]

    def test_groups_of_another_assignment_are_taken_over(self, ps1, pair, course, grace, ada, cleo) -> None:
        ps2 = published(course, grace, slug="ps2", group_size=3)
        group.form(ps2, "Cleo's", [ada, cleo])
        group.form(ps1, "Later", [cleo])
        assert group_many.copy_from(ps2, ps1) == 1
        assert names(Group.objects.get(assignment=ps2, name="Pair")) == ["ben"]


class TestTeachersPage:
    URL = "/c/data/a/ps1/teach/groups/"

    def test_everything_is_done_there(self, ps1, grace, ada, ben, cleo, as_user) -> None:
        client = as_user(grace)
        client.post(self.URL, {"act": "make", "name": "Pair", "who": [ada.pk, ben.pk]})
        pair = Group.objects.get()
        client.post(self.URL, {"act": "put", "group": pair.pk, "who": [cleo.pk]})
        client.post(self.URL, {"act": "out", "group": pair.pk, "who": [ada.pk]})
        assert names(pair) == ["ben", "cleo"]
        client.post(self.URL, {"act": "make", "name": "", "who": [ada.pk]})
        client.post(self.URL, {"act": "deal", "size": "2"})
        page = client.get(self.URL).content.decode()
        assert "Group 2" in page
        assert "is in no group" not in page
        client.post(self.URL, {"act": "dissolve", "group": pair.pk})
        assert not Group.objects.filter(pk=pair.pk).exists()

    @pytest.mark.parametrize(
        "body",
        [
            {"act": "nothing"},
            {"act": "put", "group": "x"},
            {"act": "dissolve", "group": "99999"},
            {"act": "out", "group": "9" * 30},
            {"act": "copy", "other": "none"},
            {"act": "list", "text": ""},
            {"act": "confirm_list", "text": "", "digest": ""},
        ],
    )
    def test_nonsense_changes_nothing(self, pair, grace, as_user, body) -> None:
        assert as_user(grace).post(self.URL, body).status_code == 422
        assert names(pair) == ["ada", "ben"]

    def test_the_settings_lead_there(self, ps1, grace, as_user) -> None:
        assert self.URL in as_user(grace).get("/c/data/a/ps1/teach/settings/").content.decode()
        assert self.URL in as_user(grace).get("/c/data/a/ps1/teach/").content.decode()


def test_every_refusal_says_what_to_do() -> None:
    kinds = [kind for kind in vars(group).values() if isinstance(kind, type) and issubclass(kind, ClassroomError)]
    assert len({str(kind.user_message) for kind in kinds}) == len(kinds) > 5


def test_submissions_of_a_dissolved_group_stay_with_all_of_them(pair, ps1, ada: User, ben: User) -> None:
    first = submit.submit(work_of(ps1, ada), ada, request_key="1").submission
    group.dissolve(pair)
    assert set(Submission.objects.get(pk=first.pk).authors.all()) == {ada, ben}
