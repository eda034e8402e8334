"""Opening work: one a person, filled once, and who may be in it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import close_old_connections, connection
from django.utils import timezone

from classroom import launch, publish
from classroom.errors import Closed, NotOpenYet
from classroom.models import Assignment, Enrollment, Extension, Group, Work, WorkMember
from runtimes import storage
from runtimes.models import Workspace
from tests.classroom.work import DATA, PS1, source, work_of


def access(user, work):
    return launch.access_now(user.subject, work.workspace.slug)


def test_the_first_open_makes_work_filled_with_the_student_version(ps1, ada):
    work = launch.open_work(ps1, ada)
    files = {row.path: storage.read(row.blob) for row in storage.files(work.workspace)}
    assert set(files) == {PS1, DATA}
    assert b"BEGIN SOLUTION" not in files[PS1]
    assert work.release == ps1.release


def test_opening_again_gives_the_same_work(ps1, ada):
    assert launch.open_work(ps1, ada) == launch.open_work(ps1, ada)
    assert Work.objects.count() == Workspace.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_eight_clicks_at_once_make_one_work(ps1, ada):
    def click(_):
        try:
            return launch.open_work(ps1, ada).pk
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        works = set(pool.map(click, range(8)))
    close_old_connections()
    assert len(works) == 1
    assert Work.objects.count() == 1
    assert WorkMember.objects.count() == 1
    assert Workspace.objects.count() == 1


def test_a_group_shares_one_work(ps1, ada, ben):
    group = Group.objects.create(assignment=ps1, name="pair")
    group.members.set([ada, ben], through_defaults={"assignment": ps1})
    assert launch.open_work(ps1, ada) == launch.open_work(ps1, ben)
    assert access(ben, work_of(ps1, ada)).mode == "write"


def test_someone_who_joins_the_group_later_gets_its_work(ps1, ada, ben):
    group = Group.objects.create(assignment=ps1, name="pair")
    group.members.set([ada], through_defaults={"assignment": ps1})
    work = launch.open_work(ps1, ada)
    group.members.add(ben, through_defaults={"assignment": ps1})
    assert launch.open_work(ps1, ben) == work


def test_a_new_release_leaves_open_work_its_own(ps1, ada, ben, grace):
    old = launch.open_work(ps1, ada)
    release = publish.upload(ps1, {PS1: source(), "new.csv": b"4"}, grace)
    type(release).objects.filter(pk=release.pk).update(state="checked")
    release.refresh_from_db()
    publish.publish(ps1, release, anyway=True)
    assert launch.open_work(ps1, ada).release == old.release
    assert launch.open_work(ps1, ben).release == release


def test_a_draft_cannot_be_opened(course, grace, ada):
    draft = publish.create(course, slug="ps2", title="Two")
    with pytest.raises(NotOpenYet):
        launch.open_work(draft, ada)


def test_a_closed_assignment_cannot_be_begun_but_an_extension_lets_one_in(ps1, ada, ben, grace):
    ps1.state = Assignment.State.CLOSED
    ps1.save()
    with pytest.raises(Closed):
        launch.open_work(ps1, ada)
    Extension.objects.create(assignment=ps1, user=ben, due_at=timezone.now() + timedelta(days=1), granted_by=grace)
    assert access(ben, launch.open_work(ps1, ben)).mode == "write"


def test_a_student_writes_own_work_and_nobody_elses(ps1, ada, ben):
    work = work_of(ps1, ada)
    assert access(ada, work).mode == "write"
    assert access(ben, work) is None


def test_a_stranger_cannot_open_adas_notebook(ps1, ada, mallory):
    assert access(mallory, work_of(ps1, ada)) is None


def test_the_administrator_has_no_business_in_adas_notebook(ps1, ada, root):
    assert access(root, work_of(ps1, ada)) is None


def test_a_ta_reads_the_work_of_their_section_only(ps1, ada, tim, tess):
    work = work_of(ps1, ada)
    assert access(tim, work).mode == "read"
    assert access(tess, work) is None


def test_a_ta_without_a_section_reads_everyones_work(ps1, ada, tess, course):
    Enrollment.objects.filter(course=course, user=tess).update(section=None)
    assert access(tess, work_of(ps1, ada)).mode == "read"


def test_the_teacher_reads_and_never_writes(ps1, ada, grace):
    assert access(grace, work_of(ps1, ada)).mode == "read"


def test_who_was_dropped_is_out_at_once(ps1, ada, tim, course):
    work = work_of(ps1, ada)
    Enrollment.objects.filter(course=course, user__in=[ada, tim]).update(state=Enrollment.State.DROPPED)
    assert access(ada, work) is None
    assert access(tim, work) is None


def test_a_blocked_account_is_out_at_once(ps1, ada):
    work = work_of(ps1, ada)
    ada.is_active = False
    ada.save()
    assert access(ada, work) is None


@pytest.mark.parametrize("ends", ["state", "date", "archive"])
def test_after_closing_ones_own_work_can_only_be_read(ps1, ada, course, ends):
    work = work_of(ps1, ada)
    if ends == "state":
        Assignment.objects.filter(pk=ps1.pk).update(state=Assignment.State.CLOSED)
    elif ends == "date":
        Assignment.objects.filter(pk=ps1.pk).update(closes_at=timezone.now() - timedelta(seconds=1))
    else:
        type(course).objects.filter(pk=course.pk).update(archived_at=timezone.now())
    assert access(ada, work).mode == "read"


def test_work_goes_on_after_the_due_date_until_it_closes(ps1, ada):
    Assignment.objects.filter(pk=ps1.pk).update(due_at=timezone.now() - timedelta(days=1))
    assert access(ada, work_of(ps1, ada)).mode == "write"


def test_a_preview_is_its_teachers_and_apart_from_students(ps1, grace, ada, tess):
    work = launch.preview(ps1, grace)
    assert work.preview
    assert access(grace, work).mode == "write"
    assert access(ada, work) is None
    assert access(tess, work) is None


def test_a_preview_follows_the_newest_version_and_begins_again_when_asked(ps1, grace):
    first = launch.preview(ps1, grace)
    assert launch.preview(ps1, grace).workspace == first.workspace
    assert launch.preview(ps1, grace, afresh=True).workspace != first.workspace
    publish.upload(ps1, {PS1: source(), "extra.csv": b"5"}, grace)
    files = storage.files(launch.preview(ps1, grace).workspace).values_list("path", flat=True)
    assert "extra.csv" in files
    assert Work.objects.filter(preview=True).count() == 1


def test_a_former_student_who_becomes_a_ta_keeps_the_work_to_read(ps1, ada, course):
    work = work_of(ps1, ada)
    Enrollment.objects.filter(course=course, user=ada).update(role=Enrollment.Role.TA)
    assert access(ada, work).mode == "read"
    assert launch.preview(ps1, ada) != work


async def test_the_notebook_host_asks_from_its_event_loop(transactional_db, ada_at_work):
    ada, slug = ada_at_work
    assert (await launch.workspace_access(ada.subject, slug)).mode == "write"
    assert await launch.workspace_access(ada.subject, "wnothere") is None
    assert await launch.workspace_access("x' or 1=1", slug) is None


@pytest.fixture
def ada_at_work(transactional_db, ps1, ada):
    return ada, work_of(ps1, ada).workspace.slug
