"""What students see of a course, and the page with the bar."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from classroom.models import Assignment, Enrollment, Extension
from grading import feedback
from runtimes.models import Kernel, Runtime, Session, Ticket
from runtimes.status import ISOLATION_WORDS
from tests.classroom.work import DATA, PS1, graded, handed_in, published, work_of


def words(response):
    return " ".join(response.content.decode().split())


def test_home_lists_what_is_due_soonest_first_across_courses(course, grace, ada, as_user):
    published(course, grace, slug="later", due_at=timezone.now() + timedelta(days=9))
    published(course, grace, slug="sooner", due_at=timezone.now() + timedelta(days=1))
    page = words(as_user(ada).get("/"))
    assert page.index("Problem set sooner") < page.index("Problem set later")


def test_home_leaves_out_what_was_handed_in_and_tutorials(ps1, tutorial, ada, as_user):
    handed_in(ps1, ada)
    page = words(as_user(ada).get("/"))
    assert "Nothing is due" in page


def test_home_tells_markers_what_waits_in_their_section(ps1, ada, dan, tim, tess, as_user):
    graded(handed_in(ps1, ada))
    assert "1 to mark" in words(as_user(tim).get("/"))
    assert "to mark" not in words(as_user(tess).get("/"))


def test_home_counts_an_attempt_that_was_replaced_no_longer(ps1, ada, tim, as_user):
    graded(handed_in(ps1, ada))
    graded(handed_in(ps1, ada, key="again"))
    assert "1 to mark" in words(as_user(tim).get("/"))


def test_home_says_times_in_each_courses_zone_unless_the_person_has_one(course, ps1, ada, as_user):
    Assignment.objects.update(due_at=datetime(2099, 1, 1, 17, 0, tzinfo=UTC))
    assert "Thu 1 Jan 2099, 18:00" in words(as_user(ada).get("/"))
    ada.time_zone = "Asia/Tokyo"
    ada.save()
    assert "Fri 2 Jan 2099, 02:00" in words(as_user(ada).get("/"))
    ada.time_zone = ""
    ada.save()
    course.time_zone = "Mars/Olympus"
    course.save()
    assert "Thu 1 Jan 2099, 17:00" in words(as_user(ada).get("/"))


def test_home_of_a_stranger_says_what_to_do(course, mallory, as_user):
    assert "You are in no course yet" in words(as_user(mallory).get("/"))


def test_the_course_page_has_units_and_a_state_for_each_row(ps1, tutorial, ada, ben, as_user):
    client = as_user(ada)
    page = words(client.get("/c/data/"))
    assert "Week 1" in page
    assert "tutorial" in page
    assert "new" in page
    work_of(ps1, ada)
    assert "open" in words(client.get("/c/data/"))
    handed_in(ps1, ada)
    assert "· grading" in words(client.get("/c/data/"))


def test_drafts_are_not_on_the_course_page(ps1, ada, as_user):
    Assignment.objects.update(state=Assignment.State.SCHEDULED)
    assert ps1.title not in words(as_user(ada).get("/c/data/"))
    assert as_user(ada).get("/c/data/a/ps1/").status_code == 404


def test_ones_own_extension_is_the_due_date_one_sees(ps1, grace, ada, ben, as_user):
    Extension.objects.create(
        assignment=ps1, user=ada, due_at=timezone.now() + timedelta(days=30, hours=1), granted_by=grace
    )
    assert "in 30 days" in words(as_user(ada).get("/c/data/"))
    assert "in 30 days" not in words(as_user(ben).get("/c/data/"))


def test_a_score_by_tests_alone_is_shown_unless_scores_are_hidden(course, grace, ada, as_user):
    assignment = published(course, grace)
    submission = graded(handed_in(assignment, ada))
    type(submission).objects.update(state="graded")
    assert "<small>/5</small>" in as_user(ada).get("/c/data/").content.decode()
    Assignment.objects.update(hide_scores=True)
    assert "<small>/5</small>" not in as_user(ada).get("/c/data/").content.decode()


def test_marks_are_not_seen_before_feedback_is_returned(ps1, ada, grace, as_user):
    submission = graded(handed_in(ps1, ada))
    type(submission).objects.update(state="reviewed")
    assert "<small>/5</small>" not in as_user(ada).get("/c/data/").content.decode()
    submission.refresh_from_db()
    feedback.release([submission], grace)
    page = as_user(ada).get("/c/data/").content.decode()
    assert "<small>/5</small>" in page
    assert "Read feedback" in page


@pytest.mark.parametrize("who", ["ada", "grace", "tim"])
def test_the_course_page_is_for_members(ps1, who, request, as_user):
    assert as_user(request.getfixturevalue(who)).get("/c/data/").status_code == 200


def test_a_stranger_and_a_dropped_student_find_no_course(ps1, mallory, ben, course, as_user):
    Enrollment.objects.filter(user=ben).update(state=Enrollment.State.DROPPED)
    assert as_user(mallory).get("/c/data/").status_code == 404
    assert as_user(ben).get("/c/data/").status_code == 404


def test_open_goes_to_the_notebook_page_in_one_click(ps1, ada, as_user):
    client = as_user(ada)
    response = client.post("/c/data/a/ps1/", follow=True)
    assert response.status_code == 200
    page = response.content.decode()
    assert f'name="next" value="{PS1}"' in page
    assert 'name="ticket"' in page
    assert "allow-top-navigation" not in page
    assert Ticket.objects.get().mode == "write"


def test_the_notebook_page_says_who_one_is_and_has_language_and_theme(ps1, ada, as_user):
    page = words(as_user(ada).get(f"/w/{work_of(ps1, ada).workspace.slug}/"))
    for part in ("Signed in as </span>Ada", "You are signed in as Ada", 'name="language"', 'name="theme"', "<h1>"):
        assert part in page


def test_the_ticket_is_in_no_address(ps1, ada, as_user):
    client = as_user(ada)
    response = client.get(f"/w/{work_of(ps1, ada).workspace.slug}/")
    ticket = response.context["ticket"]
    page = response.content.decode()
    assert page.count(ticket) == 1
    assert f'<input type="hidden" name="ticket" value="{ticket}">' in page
    assert response["Cache-Control"].count("no-store") == 1


def test_opening_the_page_asks_for_a_machine_once(ps1, ada, as_user):
    client = as_user(ada)
    slug = work_of(ps1, ada).workspace.slug
    client.get(f"/w/{slug}/")
    client.get(f"/w/{slug}/")
    assert Runtime.objects.count() == 1


def test_a_reader_of_someones_work_starts_no_machine_and_cannot_change_it(ps1, ada, tim, as_user):
    slug = work_of(ps1, ada).workspace.slug
    client = as_user(tim)
    page = client.get(f"/w/{slug}/")
    assert page.context["submits"] is False
    assert Runtime.objects.count() == 0
    client.post(f"/w/{slug}/kernel/", {"do": "start"})
    assert Runtime.objects.count() == 0
    assert client.post(f"/w/{slug}/submit/", {"request_key": "k"}).status_code == 403
    assert client.post(f"/w/{slug}/ticket/").status_code == 200
    assert set(Ticket.objects.values_list("mode", flat=True)) == {"read"}


@pytest.mark.parametrize("path", ["", "state/", "machine/", "download/", "hand-in/"])
def test_other_peoples_work_does_not_exist_for_students_and_strangers(ps1, ada, ben, mallory, tess, as_user, path):
    slug = work_of(ps1, ada).workspace.slug
    for person in (ben, mallory, tess):
        assert as_user(person).get(f"/w/{slug}/{path}").status_code == 404


def test_the_bar_says_what_the_machine_waits_for(ps1, ada, as_user):
    slug = work_of(ps1, ada).workspace.slug
    client = as_user(ada)
    client.get(f"/w/{slug}/")
    page = words(client.get(f"/w/{slug}/state/"))
    assert "Next in the queue" in page
    assert 'data-moving="1"' in page


def test_a_machine_that_ended_says_why_and_offers_a_restart(ps1, ada, as_user):
    slug = work_of(ps1, ada).workspace.slug
    client = as_user(ada)
    client.get(f"/w/{slug}/")
    Runtime.objects.update(state=Runtime.State.STOPPED, reason="OutOfMemory")
    page = words(client.get(f"/w/{slug}/state/"))
    assert "used all the memory" in page
    assert "Your work is saved." in page
    assert "notice-restart" in page
    client.post(f"/w/{slug}/kernel/", {"do": "restart"})
    assert Runtime.objects.filter(state=Runtime.State.QUEUED).count() == 1


@pytest.mark.parametrize("code", sorted(ISOLATION_WORDS))
def test_the_bar_says_which_walls_and_limits_hold_and_claims_no_other(code, ps1, ada, as_user):
    slug = work_of(ps1, ada).workspace.slug
    client = as_user(ada)
    client.get(f"/w/{slug}/")
    Runtime.objects.update(isolation=code)
    assert "Kept apart by" not in words(client.get(f"/w/{slug}/")), "nothing runs yet"
    Runtime.objects.update(state=Runtime.State.READY, ready_at=timezone.now())
    for page in (words(client.get(f"/w/{slug}/")), words(client.get(f"/w/{slug}/state/"))):
        said = page.partition("<dt>Kept apart by</dt><dd>")[2].partition("</dd>")[0]
        assert said == str(ISOLATION_WORDS[code])


def test_stop_ends_the_machine(ps1, ada, as_user):
    slug = work_of(ps1, ada).workspace.slug
    client = as_user(ada)
    client.get(f"/w/{slug}/")
    client.post(f"/w/{slug}/kernel/", {"do": "stop"})
    assert Runtime.objects.get().state == Runtime.State.STOPPED


def test_download_gives_all_files_or_one(ps1, ada, as_user):
    slug = work_of(ps1, ada).workspace.slug
    client = as_user(ada)
    whole = client.get(f"/w/{slug}/download/")
    assert whole["Content-Type"] == "application/zip"
    one = client.get(f"/w/{slug}/download/", {"path": DATA})
    assert one.content == b"1,2,3\n"
    assert one["Content-Disposition"].startswith("attachment")
    assert "sandbox" in one["Content-Security-Policy"]


def test_a_tutorial_has_no_submit(tutorial, ada, as_user):
    slug = work_of(tutorial, ada).workspace.slug
    page = as_user(ada).get(f"/w/{slug}/").content.decode()
    assert "submit-button" not in page


def test_a_closed_assignment_can_be_read_and_downloaded(ps1, ada, as_user):
    slug = work_of(ps1, ada).workspace.slug
    Assignment.objects.update(state=Assignment.State.CLOSED)
    client = as_user(ada)
    page = client.get(f"/w/{slug}/")
    assert "submit-button" not in page.content.decode()
    assert "This assignment is closed" in words(page)
    assert client.get(f"/w/{slug}/download/").status_code == 200


def test_a_teacher_previews_and_never_sees_submit(ps1, grace, as_user):
    response = as_user(grace).post("/c/data/a/ps1/preview/", follow=True)
    assert response.status_code == 200
    assert "submit-button" not in response.content.decode()


def test_a_student_cannot_preview(ps1, ada, as_user):
    assert as_user(ada).post("/c/data/a/ps1/preview/").status_code == 403


def test_the_course_page_costs_the_same_however_many_assignments(
    course, grace, ada, as_user, django_assert_max_num_queries
):
    for number in range(6):
        assignment = published(course, grace, slug=f"ps{number}")
        graded(handed_in(assignment, ada), tests=Decimal(number % 3))
    client = as_user(ada)
    client.get("/c/data/")
    with django_assert_max_num_queries(16):
        client.get("/c/data/")
    with django_assert_max_num_queries(16):
        client.get("/")


def test_a_machine_that_is_long_in_coming_is_explained_on_the_page(ps1, ada, as_user):
    slug = work_of(ps1, ada).workspace.slug
    client = as_user(ada)
    client.get(f"/w/{slug}/")
    assert "cells run when the machine is there" not in words(client.get(f"/w/{slug}/state/"))
    Runtime.objects.update(requested_at=timezone.now() - timedelta(minutes=1))
    assert "cells run when the machine is there" in words(client.get(f"/w/{slug}/state/"))


def test_who_waits_reads_the_place_the_reason_and_that_the_time_is_not_known_yet(ps1, ada, as_user):
    slug = work_of(ps1, ada).workspace.slug
    client = as_user(ada)
    client.get(f"/w/{slug}/")
    Runtime.objects.update(requested_at=timezone.now() - timedelta(minutes=1), reason="CapacityWait")
    page = words(client.get(f"/w/{slug}/state/"))
    assert "Next in the queue. All places are taken. It starts by itself when one is free." in page
    assert "How long that takes is not known yet: too few runs on such a machine have been measured." in page


def test_once_runs_were_measured_who_waits_reads_about_how_long(ps1, ada, as_user):
    slug = work_of(ps1, ada).workspace.slug
    client = as_user(ada)
    client.get(f"/w/{slug}/")
    now = timezone.now()
    Runtime.objects.update(requested_at=now - timedelta(minutes=1))
    runs = {"profile": ps1.profile, "account": "x"}
    for _ in range(5):
        Runtime.objects.create(
            **runs, state=Runtime.State.STOPPED, ready_at=now - timedelta(minutes=40), stopped_at=now
        )
    Runtime.objects.create(**runs, state=Runtime.State.READY, ready_at=now - timedelta(minutes=18))
    page = words(client.get(f"/w/{slug}/state/"))
    assert "It will be about 25 minutes, going by the last 5 runs on such a machine." in page
    assert "You can write meanwhile" in page


def test_before_opening_one_reads_what_the_machine_gives_and_how_many_wait(ps1, ada, as_user):
    page = words(as_user(ada).get("/c/data/a/ps1/"))
    assert "2.0 GB memory" in page
    assert "after 30 minutes without a running cell, after 12 hours in any case" in page
    assert "waits for such a machine" not in page
    Runtime.objects.create(profile=ps1.profile, account="x")
    assert "1 person waits for such a machine now." in words(as_user(ada).get("/c/data/a/ps1/"))


def test_where_data_sets_and_scratch_space_are_is_told_where_there_are_any(ps1, ada, as_user):
    client = as_user(ada)
    assert "Data sets" not in words(client.get("/c/data/a/ps1/"))
    ps1.profile.data_claim, ps1.profile.scratch_bytes = "sets", 10 << 30
    ps1.profile.save()
    page = words(client.get("/c/data/a/ps1/"))
    assert "in /data, for reading" in page
    assert "10.0 GB: in /scratch, which is not kept, and for installed packages, which are" in page


def test_a_dead_kernel_is_told_with_what_to_do(ps1, ada, as_user):
    work = work_of(ps1, ada)
    client = as_user(ada)
    client.get(f"/w/{work.workspace.slug}/")
    runtime = Runtime.objects.get()
    Runtime.objects.update(state=Runtime.State.READY)
    kernel = Kernel.objects.create(
        workspace=work.workspace, runtime=runtime, index=0, state=Kernel.State.DEAD, reason="KernelCrash"
    )
    Session.objects.create(workspace=work.workspace, kernel=kernel, path=PS1)
    page = words(client.get(f"/w/{work.workspace.slug}/state/"))
    assert "kernel died" in page
    assert "The kernel crashed. Your files are kept" in page
    assert str(kernel.pk) in page
