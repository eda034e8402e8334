"""The operators' page: what runs, waits and went wrong; stopping one with a reason that the student reads."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.utils import timezone

from classroom.launch import open_work
from grading.check import account_of
from runtimes.models import Kernel, Profile, ProviderReport, Runtime
from runtimes.status import Reason
from runtimes.usage import reserved

pytestmark = pytest.mark.django_db
State = Runtime.State


def words(response: Any) -> str:
    assert response.status_code == 200, response.status_code
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", response.content.decode()))


@pytest.fixture
def workspace(ps1, ada):
    return open_work(ps1, ada).workspace


@pytest.fixture
def runtime(workspace) -> Runtime:
    """Ada's, running."""
    now = timezone.now()
    return Runtime.objects.create(
        workspace=workspace, profile=workspace.profile, account=workspace.account, state=State.READY, ready_at=now
    )


@pytest.fixture
def admin(root, as_user):
    return as_user(root)


def test_whoever_has_the_permission_sees_it_and_nobody_else(runtime, tim, grace, as_user):
    assert as_user(grace).get("/operate/").status_code == 403
    tim.user_permissions.add(Permission.objects.get(codename="operate"))
    assert "Ada" in words(as_user(tim).get("/operate/"))


def test_one_is_stopped_with_a_reason_that_the_student_reads(runtime, workspace, admin, ada, as_user):
    answer = admin.post(f"/operate/{runtime.name}/stop/", {"why": "This node goes down at noon."}, follow=True)
    assert "It is being stopped; files are fetched first." in words(answer)
    runtime.refresh_from_db()
    assert (runtime.state, runtime.reason) == (State.STOPPING, Reason.OPERATOR)
    Runtime.objects.update(state=State.STOPPED, stopped_at=timezone.now())
    page = words(as_user(ada).get(f"/w/{workspace.slug}/state/"))
    assert "An administrator stopped the machine: This node goes down at noon. Your files are kept." in page


def test_nothing_is_stopped_without_a_reason_or_twice(runtime, admin):
    assert "Say why" in words(admin.post(f"/operate/{runtime.name}/stop/", {"why": " "}, follow=True))
    runtime.refresh_from_db()
    assert runtime.state == State.READY
    for why, told in (("First.", "reads why."), ("Second.", "not your words.")):
        assert told in words(admin.post(f"/operate/{runtime.name}/stop/", {"why": why}, follow=True))
    runtime.refresh_from_db()
    assert runtime.message == "First."
    Runtime.objects.update(state=State.STOPPED, stopped_at=timezone.now())
    assert "not your words." in words(admin.post(f"/operate/{runtime.name}/stop/", {"why": "Third."}, follow=True))
    assert admin.post("/operate/nothing/stop/", {"why": "x"}).status_code == 404


def test_machines_courses_seats_and_places_are_counted(runtime, course, admin):
    gpu = Profile.objects.create(slug="gpu", name="GPU lab", gpu=2, accelerator_model="nvidia-l4")
    ProviderReport.objects.create(provider="pods", warm=7, accelerators=6)
    for state, reason in ((State.READY, ""), (State.STARTING, Reason.ACCELERATOR_WAIT), (State.QUEUED, "")):
        Runtime.objects.create(profile=gpu, account="course:0", state=state, reason=reason)
    page = admin.get("/operate/").context["page"]
    seats = page.seats
    assert (seats.used, seats.total, seats.free, seats.waiting) == (2, 6, 4, 4)
    assert [(load.slug, load.waiting, load.running) for load in page.machines] == [("gpu", 2, 1), ("standard", 0, 1)]
    assert [(load.name, load.running) for load in page.courses] == [("Data", 1), ("course:0", 1)]
    assert sorted(row.position for row in page.rows) == [0, 0, 1, 2]
    assert page.report.warm == 7
    told = words(admin.get("/operate/"))
    assert "2 of 6 in use, 4 free, 4 waited for" in told
    assert "waiting, number 2" in told


def test_a_shared_gpu_counts_by_its_parts_and_by_what_a_machine_was_started_with(admin):
    shared = Profile.objects.create(slug="t4", name="T4 in turns", gpu=1, accelerator_clients=4)
    for state in (State.READY, State.READY, State.READY, State.STARTING, State.QUEUED):
        held = reserved(shared) if state == State.READY else {}
        Runtime.objects.create(profile=shared, account="x", state=state, reserved=held)
    ProviderReport.objects.create(provider="pods", accelerators=2)
    page = admin.get("/operate/").context["page"]
    assert (page.seats.used, page.seats.waiting) == (1, 0.25)
    assert [load.accelerators for load in (*page.machines, *page.courses)] == [1, 1]
    assert "1 of 2 in use, 1 free, 0.25 waited for" in words(admin.get("/operate/"))
    # Those that run keep what they have; those that start, or wait, get what is written now.
    Profile.objects.filter(pk=shared.pk).update(gpu=2, accelerator_clients=0)
    page = admin.get("/operate/").context["page"]
    assert (page.seats.used, page.seats.waiting) == (2.75, 2)
    assert [load.accelerators for load in (*page.machines, *page.courses)] == [2.75, 2.75]


def test_of_each_machine_it_is_told_how_many_of_how_many_wait_unclaimed(runtime, admin):
    for slug, name in (("gpu", "GPU lab"), ("night", "Not in class hours"), ("cpu", "CPU")):
        Profile.objects.create(slug=slug, name=name)
    wished = {"cpu": (2, 2), "gpu": (3, 1), "night": (0, 0), "deleted": (1, 1)}
    pools = {slug: {"wished": count, "ready": ready} for slug, (count, ready) in wished.items()}
    ProviderReport.objects.create(provider="pods", warm=3, pools=pools)
    page = admin.get("/operate/").context["page"]
    machines = [(load.name, load.running, load.ready, load.wished) for load in page.machines]
    assert machines == [("CPU", 0, 2, 2), ("GPU lab", 0, 1, 3), (runtime.profile.name, 1, 0, 0)]
    assert "1 of 3" in words(admin.get("/operate/"))


def test_the_list_can_be_of_one_machine_or_course(runtime, admin):
    Runtime.objects.create(profile=Profile.objects.create(slug="gpu", name="GPU"), account="x", state=State.READY)
    assert len(admin.get("/operate/").context["page"].rows) == 2
    assert [row.course for row in admin.get("/operate/?course=data").context["page"].rows] == ["Data"]
    assert [row.course for row in admin.get("/operate/?machine=gpu").context["page"].rows] == ["x"]


def test_what_went_wrong_is_there_with_the_providers_own_words(workspace, admin):
    now = timezone.now()
    usual = {"profile": workspace.profile, "account": workspace.account}
    for state, ago, detail in ((State.FAILED, 1, "ErrImagePull: not found"), (State.LOST, 30, "too old")):
        Runtime.objects.create(
            **usual, state=state, reason=Reason.IMAGE_PULL, detail=detail, stopped_at=now - timedelta(hours=ago)
        )
    page = words(admin.get("/operate/"))
    assert "ErrImagePull: not found" in page
    assert "too old" not in page


def test_a_machine_at_one_cell_for_hours_is_flagged(runtime, admin):
    Kernel.objects.create(
        runtime=runtime, workspace=runtime.workspace, index=0, state=Kernel.State.RUNNING, execution_state="busy",
        last_activity=timezone.now() - timedelta(hours=3),
    )  # fmt: skip
    page = words(admin.get("/operate/"))
    assert "1 machine has been at one cell for hours." in page
    assert "one cell, begun 3 hours ago" in page


def test_a_load_is_flagged_and_whether_it_is_slowed_down_is_said(runtime, admin):
    Runtime.objects.update(load_since=timezone.now() - timedelta(hours=3))
    page = words(admin.get("/operate/"))
    assert "1 machine has used its processors for hours with no cell begun." in page
    assert "works, last cell begun 3 hours ago" in page
    assert "not slowed down" in page
    Runtime.objects.update(slowed=True)
    assert "not slowed down" not in words(admin.get("/operate/"))


def test_why_a_pool_is_not_full_is_said_in_the_providers_words(runtime, admin):
    Profile.objects.create(slug="gpu", name="GPU lab")
    report = ProviderReport.objects.create(provider="pods", warm=0)
    assert "kept ready" not in words(admin.get("/operate/"))
    ProviderReport.objects.filter(pk=report.pk).update(lacks={"gpu": "OutOfMemory: its memory limit is 300Mi"})
    page = words(admin.get("/operate/"))
    assert "Fewer of “GPU lab” are kept ready than shall be." in page
    assert "OutOfMemory: its memory limit is 300Mi" in page


def test_a_silent_process_is_said_at_once(runtime, admin):
    assert "has not been heard of" in words(admin.get("/operate/"))
    report = ProviderReport.objects.create(provider="local")
    assert "heard of" not in words(admin.get("/operate/"))
    ProviderReport.objects.filter(pk=report.pk).update(seen_at=timezone.now() - timedelta(minutes=5))
    assert "was last heard of 5 minutes ago" in words(admin.get("/operate/"))


def test_the_summary_comes_alone_where_the_page_asks_for_it_again(runtime, admin):
    part = admin.get("/operate/", headers={"HX-Request": "true"}).content.decode()
    assert part.strip().startswith('<div id="summary"')
    assert "<html" not in part


def test_what_grading_runs_is_counted_with_its_course(ps1, course, admin):
    account = account_of(ps1.release)
    Runtime.objects.create(profile=ps1.profile, account=account, purpose=Runtime.Purpose.GRADING, state=State.READY)
    page = words(admin.get(f"/operate/?course={course.slug}"))
    assert f"{course.title} · grading" in page
    assert account not in page
