"""Machines, administered in the site: filled in, tried, refused with the reason, chosen by teachers, retired."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from classroom import adjust, machines, publish
from classroom.launch import open_work
from classroom.views import machines as views
from runtimes import trials
from runtimes.image_trial import Untried
from runtimes.models import GIB, Profile

pytestmark = pytest.mark.django_db
#: What a browser sends of the form for a new machine, as it is shown.
UNTOUCHED = {
    "name": "Python · 2 CPU", "slug": "", "for_all": "on", "cpu": "2", "memory_bytes": "1.5", "home_bytes": "1",
    "processes": "128", "environment": "default", "preload": "numpy, pandas", "network": "none", "isolation": "forked",
    "idle_timeout": "30", "lifetime": "12", "warm": "0", "time_zone": "UTC", "gpu": "0", "accelerator": "gpu",
    "accelerator_clients": "0", "cpu_request": "0.1", "tolerations": "[]", "scratch_bytes": "0",
    "timetable-day": ["mon", "mon"], "timetable-from": ["", ""], "timetable-to": ["", ""], "timetable-warm": ["", ""],
}  # fmt: skip


def words(response: Any) -> str:
    return re.sub(r"\s+", " ", response.content.decode())


@pytest.fixture
def tried(monkeypatch) -> list[Profile]:
    """The profiles that the provider was asked about; it would run every one of them."""
    asked: list[Profile] = []

    def ask(profile: Profile) -> trials.Answer:
        asked.append(profile)
        return trials.Answer(True)

    monkeypatch.setattr(views.trials, "ask", ask)
    return asked


@pytest.fixture
def admin(root, as_user):
    return as_user(root)


def test_a_machine_is_made_with_what_was_filled_in(tried, admin):
    assert admin.post("/machines/new/", UNTOUCHED).status_code == 302
    made = Profile.objects.get(slug="python-2-cpu")
    assert (made.cpu, made.memory_bytes, made.preload) == (Decimal(2), 3 * GIB // 2, ["numpy", "pandas"])
    assert (made.idle_timeout, made.lifetime) == (timedelta(minutes=30), timedelta(hours=12))
    assert (made.timetable, made.tolerations, made.node_selector) == ([], [], {})
    assert [one.slug for one in tried] == ["python-2-cpu"]


def test_what_is_not_changed_stays_as_it_was(tried, admin):
    before = Profile.objects.create(
        slug="gpu", name="GPU", gpu=1, lifetime=timedelta(hours=3), memory_bytes=2 * GIB, node_selector={"pool": "gpu"},
        tolerations=[{"key": "lab", "operator": "Exists"}], preload=["numpy"],
        timetable=[{"day": "tue", "from": "09:45", "to": "12:00", "warm": 30}],
    )  # fmt: skip
    was = Profile.objects.filter(pk=before.pk).values().get()
    form = admin.get("/machines/gpu/").context["form"]
    sent = {field.html_name: field.value() for field in form if field.name != "timetable"}
    sent = {name: value for name, value in sent.items() if value is not None and value is not False}
    hours = {f"timetable-{part}": [str(before.timetable[0][part])] for part in ("day", "from", "to", "warm")}
    answer = admin.post("/machines/gpu/", {**sent, **hours})
    assert answer.status_code == 302, answer.context["form"].errors
    assert Profile.objects.filter(pk=before.pk).values().get() == was


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ({"image": "registry/kernel:latest"}, "Name the image by its digest"),
        ({"gpu": "1", "accelerator": "tpu"}, "Name the TPU's model, such as tpu-v6e-slice."),
        ({"node_selector": "pool"}, "“pool” is not key=value."),
        ({"idle_timeout": "1000"}, "The idle limit is above zero and at most the longest life."),
        (
            {"timetable-from": ["12:00", ""], "timetable-to": ["09:45", ""], "timetable-warm": ["30", ""]},
            "Line 1: Class hours end after they begin",
        ),
        ({"timetable-from": ["09:45", ""], "timetable-to": ["12:00", ""]}, "Line 1: Between 1 and 1000 kernels"),
        ({"memory_bytes": "0"}, "greater than or equal to 0.25"),
        ({"home_bytes": "1.5"}, "The disk lies in memory: give it less than the memory"),
        ({"name": ""}, "This field is required."),
        ({"slug": "é b"}, "Letters without accents, digits, hyphens and underscores only."),
    ],
)
def test_what_is_wrong_stands_at_its_field_and_nothing_is_saved(tried, admin, typed, told):
    answer = admin.post("/machines/new/", {**UNTOUCHED, **typed})
    assert answer.status_code == 422
    assert told in words(answer).replace("&#x27;", "'")
    assert not Profile.objects.exists()
    assert tried == []


def test_two_machines_that_teachers_choose_among_have_two_names(tried, admin):
    admin.post("/machines/new/", UNTOUCHED)
    again = UNTOUCHED | {"slug": "another"}
    assert "There is a machine “Python · 2 CPU” already." in words(admin.post("/machines/new/", again))
    admin.post("/machines/python-2-cpu/retire/")
    assert admin.post("/machines/new/", again).status_code == 302


def test_a_machine_that_the_provider_refuses_is_not_saved_and_the_page_says_its_reason(admin, monkeypatch):
    refuses = trials.Answer(True, "no node has the label pool=gpu")
    monkeypatch.setattr(views.trials, "ask", lambda profile: refuses)
    image = f"registry.example/kernel@sha256:{'0' * 64}"
    answer = admin.post("/machines/new/", {**UNTOUCHED, "image": image})
    assert answer.status_code == 422
    assert "It cannot be run here, and was not saved." in words(answer)
    assert "no node has the label pool=gpu" in words(answer)
    assert not Profile.objects.exists()
    # Nothing that was filled in is lost, or folded up.
    form = answer.context["form"]
    assert (form["name"].value(), form["image"].value()) == ("Python · 2 CPU", image)
    assert [str(title) for title, _fields, _folds, folded in form.groups if folded] == ["GPU or TPU"]


@pytest.mark.parametrize(
    ("why", "told"),
    [
        (Untried.ROOM, "Its image was not tried, since there is no room for that now: its first start will tell."),
        (Untried.SLOW, "Its image is still being fetched, and was not tried to the end: its first start will tell."),
        (Untried.FAULT, "since that failed for a reason that may pass: its first start will tell."),
    ],
)
def test_an_image_that_was_not_tried_is_saved_and_the_page_says_so_and_why(admin, monkeypatch, why, told):
    answer = trials.Answer(True, untried=why, words="0/3 nodes are available")
    monkeypatch.setattr(views.trials, "ask", lambda profile: answer)
    page = words(admin.post("/machines/new/", UNTOUCHED, follow=True))
    assert f"{told} What the provider says: 0/3 nodes are available" in page
    assert Profile.objects.filter(slug="python-2-cpu").exists()


def test_a_process_that_does_not_answer_keeps_nobody_from_saving(admin, monkeypatch):
    monkeypatch.setattr(views.trials, "ask", lambda profile: trials.Answer(False))
    answer = admin.post("/machines/new/", UNTOUCHED, follow=True)
    assert "It was not tried" in words(answer)
    assert Profile.objects.filter(slug="python-2-cpu").exists()


def test_that_an_image_was_not_tried_is_kept_until_there_is_a_verdict(admin, monkeypatch):
    answers = [
        trials.Answer(True, untried=Untried.SLOW),
        trials.Answer(False),
        trials.Answer(True),
        trials.Answer(False),
    ]
    monkeypatch.setattr(views.trials, "ask", lambda profile: answers.pop(0))
    admin.post("/machines/new/", UNTOUCHED | {"slug": "lab"})
    kept = [Profile.objects.get().image_untried]
    while answers:
        assert admin.post("/machines/lab/", UNTOUCHED).status_code == 302
        kept.append(Profile.objects.get().image_untried)
    # Once it is known of the image, who does not answer takes nothing of that away.
    assert kept == [True, True, False, False]


def test_the_list_says_what_each_gives_and_who_uses_it(ps1, tried, admin):
    Profile.objects.create(slug="gpu", name="GPU", gpu=2, accelerator_model="nvidia-l4", for_all=False)
    page = words(admin.get("/machines/"))
    assert "2 × nvidia-l4" in page
    assert "0 courses" in page
    assert re.search(r"standard.*?Assignments\">1<", page)


def test_teachers_choose_among_the_machines_that_are_open_to_their_course(ps1, grace, course, tried, admin, as_user):
    for slug, fields in {"open": {}, "theirs": {"for_all": False}, "others": {"for_all": False}}.items():
        Profile.objects.create(slug=slug, name=f"Machine {slug}", memory_bytes=3 * GIB, **fields)
    course.profiles.add(Profile.objects.get(slug="theirs"))
    page = words(as_user(grace).get("/c/data/a/ps1/teach/settings/"))
    assert "Machine open" in page
    assert "Machine theirs" in page
    assert "Machine others" not in page
    assert "1 CPU, 3.0 GB memory" in page
    machines.retire(Profile.objects.get(slug="open"))
    assert "Machine open" not in words(as_user(grace).get("/c/data/a/ps1/teach/settings/"))


def test_a_retired_machine_stays_where_it_is_used(ps1, grace, as_user):
    machines.retire(ps1.profile)
    assert ps1.profile in machines.open_to(ps1.course, ps1.profile_id)
    assert ps1.profile.name in words(as_user(grace).get("/c/data/a/ps1/teach/settings/"))


def test_a_machine_that_shares_a_gpu_grades_nothing(ps1, grace, as_user):
    shared = Profile.objects.create(
        slug="shared", name="Shared", gpu=1, accelerator_sharing="time-sharing", accelerator_clients=4
    )
    fields = as_user(grace).get("/c/data/a/ps1/teach/settings/").context["form"].fields
    assert shared in fields["profile"].queryset
    assert shared not in fields["grading_profile"].queryset


SHARED = {"gpu": "1", "accelerator_sharing": "time-sharing", "accelerator_clients": "4"}


def test_a_machine_that_grades_does_not_become_a_shared_gpu(ps1, tried, admin):
    admin.post("/machines/new/", UNTOUCHED | {"slug": "lab", "gpu": "1"})
    lab = Profile.objects.get(slug="lab")
    adjust.adjust(ps1, {"grading_profile": lab})
    tried.clear()
    answer = admin.post("/machines/lab/", UNTOUCHED | SHARED)
    assert answer.status_code == 422
    [field] = answer.context["form"].errors
    assert (field, tried) == ("accelerator_sharing", [])
    assert f"this machine grades “{ps1.title}” in “{ps1.course.title}”. Choose another one there first" in words(answer)
    lab.refresh_from_db()
    assert lab.accelerator_sharing == ""
    # What else is changed there is nobody's trouble.
    assert admin.post("/machines/lab/", UNTOUCHED | {"gpu": "2"}).status_code == 302
    adjust.adjust(ps1, {"grading_profile": machines.grading(), "profile": lab})
    assert admin.post("/machines/lab/", UNTOUCHED | SHARED).status_code == 302


def test_the_machine_that_new_assignments_are_graded_on_does_not_become_one_either(tried, admin):
    answer = admin.post("/machines/new/", UNTOUCHED | SHARED | {"slug": machines.grading().slug})
    assert "There is a machine" in words(answer)
    answer = admin.post("/machines/grading/", UNTOUCHED | SHARED)
    assert "New assignments are graded on it, and nothing is graded on a shared GPU" in words(answer)
    Profile.objects.all().delete()
    answer = admin.post("/machines/new/", UNTOUCHED | SHARED | {"slug": "grading"})
    assert "New assignments are graded on it" in words(answer)
    assert not Profile.objects.exists()


def test_of_many_assignments_that_a_machine_grades_some_are_named(course, grace):
    lab = Profile.objects.create(slug="lab", name="Lab", gpu=1, accelerator_sharing="time-sharing")
    for number in range(6):
        assignment = publish.create(course, slug=f"ps{number}", title=f"Problem set {number}", graded=True)
        adjust.adjust(assignment, {"grading_profile": lab})
    assert machines.why_unshared(lab).count("“") == 2 * 5
    assert "…. Choose another" in machines.why_unshared(lab)


def test_another_machine_of_an_assignment_is_the_next_one_of_work_that_was_begun(ps1, ada):
    workspace = open_work(ps1, ada).workspace
    other = Profile.objects.create(slug="other", name="Other")
    adjust.adjust(ps1, {"profile": other})
    workspace.refresh_from_db()
    assert workspace.profile == other


def test_retiring_keeps_nothing_ready_and_can_be_undone(tried, admin):
    Profile.objects.create(slug="lab", name="Lab", warm=3)
    admin.post("/machines/lab/retire/")
    lab = Profile.objects.get(slug="lab")
    assert (lab.warm, lab.retired_at is not None) == (0, True)
    assert "Nobody can choose it." in words(admin.get("/machines/lab/"))
    admin.post("/machines/lab/retire/", {"back": "1"})
    assert Profile.objects.get(slug="lab").retired_at is None


def test_the_page_says_who_sets_a_machine_back_to_its_own_values(tried, admin):
    Profile.objects.create(slug="lab", name="Lab", kept_by="Helm release school")
    assert "Helm release school keeps this machine" in words(admin.get("/machines/lab/"))
    Profile.objects.update(kept_by="")
    assert "keeps this machine" not in words(admin.get("/machines/lab/"))


def test_courses_that_may_choose_it_are_kept(course, tried, admin):
    sent = {**UNTOUCHED, "courses": [course.pk]}
    del sent["for_all"]
    admin.post("/machines/new/", sent)
    made = Profile.objects.get()
    assert (made.for_all, list(course.profiles.all())) == (False, [made])
