"""Published now, at a time, again; closed and opened."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from classroom import courses, launch, publish
from classroom.errors import Closed, NotOpenYet
from classroom.models import Assignment, Course
from classroom.people.models import User
from grading.errors import NotPublishable
from grading.models import Release, ReleaseCheck
from runtimes import storage
from tests.classroom.work import PS1, published, source, work_of

State = Assignment.State


@pytest.fixture
def draft(course: Course) -> Assignment:
    return publish.create(course, slug="ps2", title="Arrays")


def uploaded(assignment: Assignment, by: User, *, state: str = Release.State.CHECKED, passed: bool = True) -> Release:
    """A version whose check has ended."""
    release = publish.upload(assignment, {PS1: source()}, by)
    Release.objects.filter(pk=release.pk).update(state=state)
    check = ReleaseCheck.State.PASSED if passed else ReleaseCheck.State.FAILED
    ReleaseCheck.objects.filter(release=release).update(state=check)
    release.refresh_from_db()
    return release


@pytest.fixture
def told(monkeypatch) -> list[str]:
    """Topics that were published on the bus."""
    topics: list[str] = []
    monkeypatch.setattr("runtimes.bus.publish_sync", lambda topic, payload=b"": topics.append(topic))
    return topics


def test_a_file_beside_the_notebooks_is_named_before_students_get_it(
    course: Course, draft: Assignment, grace: User, as_user
):
    """What a teacher keeps beside the source goes to students, as with nbgrader: they are to know before."""
    release = publish.upload(draft, {PS1: source(), "rubric.txt": b"3 points if brief"}, grace)
    Release.objects.filter(pk=release.pk).update(state=Release.State.CHECKED)
    page = as_user(grace).get("/c/data/a/ps2/teach/publish/").content.decode()
    assert "They get this file beside the notebooks: rubric.txt." in page


def test_a_draft_is_seen_by_no_student(draft: Assignment, ada: User):
    with pytest.raises(NotOpenYet):
        launch.open_work(draft, ada)


def test_two_assignments_cannot_have_one_short_name(course: Course, draft: Assignment):
    with pytest.raises(publish.NameTaken):
        publish.create(course, slug="ps2", title="Other")


def test_a_new_assignment_comes_last(course: Course, draft: Assignment):
    assert publish.create(course, slug="ps3", title="Next").position > draft.position


def test_what_is_published_can_be_opened(draft: Assignment, grace: User, ada: User):
    publish.publish(draft, uploaded(draft, grace))
    assert draft.state == State.OPEN
    assert launch.open_work(draft, ada).release == draft.release


def test_a_version_that_was_not_checked_cannot_be_published(draft: Assignment, grace: User):
    with pytest.raises(NotPublishable):
        publish.publish(draft, publish.upload(draft, {PS1: source()}, grace))
    draft.refresh_from_db()
    assert (draft.state, draft.release) == (State.DRAFT, None)


def test_a_solution_without_full_marks_is_published_only_on_purpose(draft: Assignment, grace: User):
    release = uploaded(draft, grace, passed=False)
    with pytest.raises(NotPublishable):
        publish.publish(draft, release)
    publish.publish(draft, release, anyway=True)
    assert draft.state == State.OPEN


def test_publishing_twice_changes_nothing(draft: Assignment, grace: User):
    release = uploaded(draft, grace)
    publish.publish(draft, release)
    first = Release.objects.get(pk=release.pk).published_at
    publish.publish(draft, release)
    assert Release.objects.get(pk=release.pk).published_at == first


def test_open_work_keeps_its_version_and_new_work_gets_the_new_one(
    draft: Assignment, grace: User, ada: User, ben: User
):
    old = uploaded(draft, grace)
    publish.publish(draft, old)
    work_of(draft, ada)
    new = uploaded(draft, grace)
    publish.publish(draft, new)
    assert work_of(draft, ada).release == old
    assert work_of(draft, ben).release == new
    assert new.number == old.number + 1


def test_an_older_version_never_takes_the_place_of_a_newer_one(draft: Assignment, grace: User):
    old, new = uploaded(draft, grace), uploaded(draft, grace)
    publish.publish(draft, new)
    with pytest.raises(publish.CannotPublish):
        publish.publish(draft, old)
    draft.refresh_from_db()
    assert draft.release == new


def test_a_version_of_another_assignment_is_refused(draft: Assignment, grace: User, course: Course):
    other = publish.create(course, slug="ps3", title="Other")
    with pytest.raises(publish.CannotPublish):
        publish.publish(draft, uploaded(other, grace))


def test_keeping_the_other_files_replaces_only_what_was_uploaded(draft: Assignment, grace: User):
    publish.upload(draft, {PS1: source(), "data.csv": b"1"}, grace)
    release = publish.upload(draft, {"data.csv": b"2"}, grace, keep_others=True)
    assert storage.read_snapshot(release.source) == {PS1: source(), "data.csv": b"2"}
    alone = publish.upload(draft, {PS1: source()}, grace)
    assert set(storage.read_snapshot(alone.source)) == {PS1}


def test_a_tutorial_is_published_without_grading(course: Course, grace: User, ada: User):
    tutorial = publish.create(course, slug="t", title="T", graded=False)
    release = publish.upload(tutorial, {PS1: source()}, grace)
    publish.publish(tutorial, release)
    assert not ReleaseCheck.objects.filter(release=release).exists()
    assert storage.read_snapshot(work_of(tutorial, ada).release.student) == {PS1: source()}


class TestAtATime:
    def test_nothing_happens_before_the_time(self, draft: Assignment, grace: User, ada: User):
        publish.schedule(draft, uploaded(draft, grace), timezone.now() + timedelta(hours=1))
        assert publish.publish_due() == 0
        draft.refresh_from_db()
        assert draft.state == State.SCHEDULED
        with pytest.raises(NotOpenYet):
            launch.open_work(draft, ada)

    def test_at_the_time_it_opens_once(self, draft: Assignment, grace: User):
        release = uploaded(draft, grace)
        publish.schedule(draft, release, timezone.now() + timedelta(hours=1))
        Assignment.objects.update(publish_at=timezone.now() - timedelta(seconds=1))
        assert (publish.publish_due(), publish.publish_due()) == (1, 0)
        draft.refresh_from_db()
        assert (draft.state, draft.release, draft.next_release) == (State.OPEN, release, None)

    def test_a_new_version_of_something_open_waits_for_its_time(self, draft: Assignment, grace: User, ada: User):
        old, new = uploaded(draft, grace), uploaded(draft, grace)
        publish.publish(draft, old)
        publish.schedule(draft, new, timezone.now() + timedelta(hours=1))
        assert draft.state == State.OPEN
        assert work_of(draft, ada).release == old
        Assignment.objects.update(publish_at=timezone.now())
        publish.publish_due()
        draft.refresh_from_db()
        assert draft.release == new

    def test_a_plan_can_be_taken_back(self, draft: Assignment, grace: User):
        publish.schedule(draft, uploaded(draft, grace), timezone.now() + timedelta(hours=1))
        publish.unschedule(draft)
        assert (draft.state, draft.next_release, draft.publish_at) == (State.DRAFT, None, None)

    def test_what_was_not_checked_cannot_be_planned(self, draft: Assignment, grace: User):
        with pytest.raises(NotPublishable):
            publish.schedule(draft, publish.upload(draft, {PS1: source()}, grace), timezone.now() + timedelta(hours=1))

    def test_one_plan_that_cannot_be_kept_does_not_hold_up_the_others(
        self, course: Course, draft: Assignment, grace: User
    ):
        broken, good = uploaded(draft, grace), publish.create(course, slug="ps3", title="Good")
        publish.schedule(draft, broken, timezone.now() + timedelta(hours=1))
        publish.schedule(good, uploaded(good, grace), timezone.now() + timedelta(hours=1))
        newer = uploaded(draft, grace)
        publish.publish(draft, newer)
        Assignment.objects.filter(pk=draft.pk).update(next_release=broken)
        Assignment.objects.update(publish_at=timezone.now())
        publish.publish_due()
        good.refresh_from_db()
        draft.refresh_from_db()
        assert good.state == State.OPEN
        assert (draft.release, draft.next_release) == (newer, None)

    def test_nothing_opens_by_itself_in_an_archived_course(self, course: Course, draft: Assignment, grace: User):
        publish.schedule(draft, uploaded(draft, grace), timezone.now() + timedelta(hours=1))
        Assignment.objects.update(publish_at=timezone.now())
        courses.archive(course, archived=True)
        assert publish.publish_due() == 0


class TestClosing:
    def test_closing_stops_everyone_and_tells_open_notebooks(
        self, ps1: Assignment, ada: User, ben: User, told: list[str], django_capture_on_commit_callbacks
    ):
        slug = work_of(ps1, ada).workspace.slug
        with django_capture_on_commit_callbacks(execute=True):
            publish.close(ps1)
        assert f"access:{slug}" in told
        with pytest.raises(Closed):
            launch.open_work(ps1, ben)

    def test_closing_twice_tells_once(self, ps1: Assignment, ada: User, told, django_capture_on_commit_callbacks):
        work_of(ps1, ada)
        told.clear()
        with django_capture_on_commit_callbacks(execute=True):
            publish.close(ps1)
            publish.close(ps1)
        assert len([topic for topic in told if topic.startswith("access:")]) == 1

    def test_it_closes_by_itself_at_its_time(self, ps1: Assignment):
        Assignment.objects.update(closes_at=timezone.now() - timedelta(seconds=1))
        assert publish.publish_due() == 1
        ps1.refresh_from_db()
        assert ps1.state == State.CLOSED

    def test_opened_again_it_stays_open(self, ps1: Assignment, ben: User):
        Assignment.objects.update(closes_at=timezone.now() - timedelta(seconds=1))
        publish.publish_due()
        ps1.refresh_from_db()
        publish.reopen(ps1)
        assert publish.publish_due() == 0
        assert launch.open_work(ps1, ben)

    def test_a_time_to_publish_across_the_clock_change_is_kept_to_the_minute(
        self, course: Course, draft: Assignment, grace: User, as_user
    ):
        uploaded(draft, grace)
        client = as_user(grace)
        for typed, utc in (("2099-03-28T08:00", 7), ("2099-03-30T08:00", 6)):
            client.post("/c/data/a/ps2/teach/publish/", {"when": "at", "publish_at": typed})
            draft.refresh_from_db()
            # Paris is at UTC+1 until 29 March 2099 and at UTC+2 after it.
            assert draft.publish_at is not None
            assert draft.publish_at.astimezone(UTC).hour == utc
            client.post("/c/data/a/ps2/teach/move/", {"act": "unschedule"})

    def test_a_due_date_across_the_clock_change_is_kept_to_the_minute(self, course: Course, grace: User, as_user):
        assignment = published(course, grace, slug="dst")
        body = {"when": "now", "due_at": "2027-03-29T18:00", "anyway": "on"}
        as_user(grace).post("/c/data/a/dst/teach/publish/", body)
        assignment.refresh_from_db()
        # Paris is at UTC+1 until 28 March 2027 and at UTC+2 after it.
        assert assignment.due_at == datetime(2027, 3, 29, 16, 0, tzinfo=UTC)
