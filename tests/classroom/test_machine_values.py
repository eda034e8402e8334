"""Machines out of the chart's values: all or none, again and again, with a sentence for each mistake; and back."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import CommandError, call_command
from django.utils import timezone

from classroom import machines
from classroom.adjust import adjust
from classroom.machine_values import KEYS, entry_of, words_of
from classroom.places import CHECKOUT
from runtimes import profiles, trials
from runtimes.image_trial import Untried
from runtimes.models import GIB, Profile
from runtimes.pods import manifests
from tests.runtimes.pods.restricted import violations
from tests.runtimes.pods.samples import CLUSTER, DIGEST, NAME

#: A Tuesday in Paris.
CLASS = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)

pytestmark = pytest.mark.django_db

STANDARD: dict[str, Any] = {"slug": "standard", "name": "Python · 2 CPU", "cpu": 2, "memory": "4Gi", "warm": 3}
L4: dict[str, Any] = {"slug": "l4", "name": "GPU · L4", "gpu": 1, "model": "nvidia-l4", "fallback": "standard"}
#: Nothing of it is usual.
WHOLE: dict[str, Any] = {
    "slug": "whole", "name": "TPU · eight", "forAll": False, "cpu": "2500m", "cpuRequest": "250m", "memory": "1536Mi",
    "disk": "512Mi", "scratch": "20Gi", "processes": 64, "environment": "sha256:" + "ab" * 32, "preload": ["numpy"],
    "network": "internet", "isolation": "strict", "idleTimeout": "1h30m", "lifetime": "36h", "warm": 1,
    "timetable": [{"day": "tue", "from": "09:45", "to": "12:00", "warm": 30}], "timeZone": "Europe/Paris", "tpu": 8,
    "model": "tpu-v6e-slice", "topology": "2x4", "fallback": "standard", "image": "r.example/k@sha256:" + "ab" * 32,
    "nodeSelector": {"pool": "lab"}, "tolerations": [{"key": "lab", "operator": "Exists"}],
    "runtimeClassName": "gvisor",
    "dataBucket": "sets", "dataServiceAccount": "sets-reader",
}  # fmt: skip


@pytest.fixture(autouse=True)
def tried(monkeypatch) -> list[str]:
    """The machines that the provider was asked about; it would run every one of them."""
    asked: list[str] = []

    def ask(profile: Profile) -> trials.Answer:
        asked.append(profile.slug)
        return trials.Answer(True)

    monkeypatch.setattr(trials, "ask", ask)
    return asked


@pytest.fixture
def put(tmp_path: Path):
    """Writes machines into a file and applies it; what the command prints."""

    def put(machines: Any, *words: str) -> str:
        file = tmp_path / "machines.json"
        file.write_text(machines if isinstance(machines, str) else json.dumps(machines))
        printed = StringIO()
        call_command(
            "apply_machines", str(file), "--keeper", "Helm release school", *words, stdout=printed, stderr=printed
        )
        return printed.getvalue()

    return put


def rows() -> list[dict[str, Any]]:
    return list(Profile.objects.order_by("slug").values())


def test_what_is_named_is_made_with_what_is_usual_for_the_rest(put, tried):
    # What another falls back to need not stand before it.
    assert put([L4, STANDARD]) == "standard: made\nl4: made\n"
    standard, l4 = Profile.objects.get(slug="standard"), Profile.objects.get(slug="l4")
    assert (standard.cpu, standard.memory_bytes, standard.warm) == (Decimal(2), 4 * GIB, 3)
    assert (standard.lifetime, standard.kept_by) == (timedelta(hours=12), "Helm release school")
    assert (l4.gpu, l4.accelerator, l4.accelerator_model, l4.fallback) == (1, "gpu", "nvidia-l4", standard)
    assert tried == ["standard", "l4"]


def test_applied_again_nothing_is_changed_nor_tried(put, tried):
    put([STANDARD, L4])
    before = rows()
    tried.clear()
    assert put([STANDARD, L4]) == "standard: as it was\nl4: as it was\n"
    assert (rows(), tried) == (before, [])


def test_what_was_changed_in_the_site_is_set_back_and_told(put, course):
    put([STANDARD | {"forAll": False}])
    course.profiles.add(Profile.objects.get())
    Profile.objects.update(memory_bytes=8 * GIB, preload=["torch"])
    told = put([STANDARD | {"forAll": False}])
    assert told == "standard: changed: memory '8Gi' → '4Gi', preload ['torch'] → []\n"
    assert Profile.objects.get().memory_bytes == 4 * GIB
    # Courses are chosen in the site alone.
    assert list(course.profiles.all()) == [Profile.objects.get()]


def test_machines_of_the_site_and_those_that_are_named_no_more_stay_as_they_are(put):
    mine = Profile.objects.create(slug="mine", name="Mine", warm=2)
    put([STANDARD, L4])
    told = put([STANDARD])
    assert "l4: no longer named, left as it is." in told
    assert Profile.objects.get(slug="l4").kept_by == ""
    assert Profile.objects.filter(pk=mine.pk, kept_by="", warm=2).exists()
    assert put([STANDARD]) == "standard: as it was\n"


def test_a_machine_is_retired_and_brought_back_by_its_values(put):
    put([STANDARD])
    put([STANDARD | {"retired": True, "warm": 0}])
    retired = Profile.objects.get()
    assert (retired.retired_at is not None, retired.warm) == (True, 0)
    put([STANDARD | {"retired": True, "warm": 0}])
    assert Profile.objects.get().retired_at == retired.retired_at
    assert "retired True → False" in put([STANDARD])
    assert Profile.objects.get().retired_at is None


def test_a_check_only_says_what_would_be_done(put):
    told = put([STANDARD], "--check")
    assert told == "standard: would be made\nNothing was changed: this was a check.\n"
    put([STANDARD])
    before = rows()
    assert "standard: would be changed: cpu 2 → 4" in put([STANDARD | {"cpu": 4}], "--check")
    assert "standard: no longer named" in put([], "--check")
    assert rows() == before


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a typing error": ({"memmory": "4Gi"}, "l4: “memmory” is nothing that a machine has: “memory”?"),
    "nothing like it": ({"colour of it": 1}, "It may have: slug, name,"),
    "no amount": ({"memory": "4GB"}, "l4: memory: “4GB” is not an amount such as 2, 500m or 4Gi."),
    "more than there is": ({"memory": "1e30Ti"}, "l4: memory: “1e30Ti” is not an amount"),
    "too little": ({"memory": "64Mi"}, "l4: memory: “64Mi” is less than 256Mi."),
    "a disk as large": ({"memory": "1Gi"}, "l4: disk: The disk lies in memory: give it less than the memory"),
    "too fine": ({"cpu": "1001m"}, "l4: cpu: Ensure that there are no more than 2 decimal places."),
    "no cores": ({"cpu": 0}, "l4: cpu: Ensure this value is greater than or equal to 0.05."),
    "no length": ({"lifetime": "soon"}, "l4: lifetime: “soon” is not a length of time such as 30m or 12h."),
    "no whole hours": ({"lifetime": "90m"}, "l4: lifetime: “90m” is not a multiple of 1h."),
    "too long": ({"lifetime": "40d"}, "l4: lifetime: Ensure this value is less than or equal to 720."),
    "another kind": ({"preload": "numpy"}, "l4: preload: “numpy” stands where a list should."),
    "a word for yes": ({"forAll": "no"}, "l4: forAll: “no” stands where true or false should."),
    "yes for a number": ({"warm": True}, "l4: warm: “True” stands where a whole number should."),
    "nothing": ({"memory": None}, "l4: memory: “None” stands where an amount such as 2, 500m or 4Gi should."),
    "no module": ({"preload": ["num py"]}, "l4: preload: “num py” is no name of a module."),
    "no network": ({"network": "wifi"}, "l4: network: Select a valid choice. wifi is not one of"),
    "an image by tag": ({"image": "kernel:latest"}, "l4: image: Name the image by its digest"),
    "a GPU and a TPU": ({"tpu": 8}, "l4: tpu: A machine has GPUs or TPUs, and not both."),
    "a TPU of no model": ({"gpu": 0, "tpu": 8, "model": "", "fallback": ""}, "l4: model: Name the TPU's model"),
    "another count": (
        {"gpu": 0, "tpu": 4, "topology": "2x4"},
        "l4: tpu: A topology of 2x4 is 8 chips, not 4.",
    ),
    "no such fallback": ({"fallback": "big"}, "l4: fallback: There is no machine “big” without a GPU or TPU"),
    "hours that end first": (
        {"timetable": [{"day": "mon", "from": "12:00", "to": "09:45", "warm": 3}]},
        "l4: timetable: Line 1: Class hours end after they begin",
    ),
    "hours of nobody": ({"timetable": [{"day": "mon"}]}, "l4: timetable: Line 1:"),
    "no hours": ({"timetable": ["mon"]}, "l4: timetable: Line 1: “mon” is no class hours."),
    "labels that are none": ({"nodeSelector": {"pool": 3}}, "l4: nodeSelector: A node selector is labels"),
    "ready and retired": ({"retired": True, "warm": 1}, "l4: retired: Of a retired machine none is kept ready"),
    "no name": ({"name": ""}, "l4: name: This field is required."),
}


@pytest.mark.parametrize("what", WRONG)
def test_with_one_mistake_nothing_is_changed_and_it_is_named(put, tried, what):
    put([STANDARD])
    before, more = rows(), WRONG[what][0]
    tried.clear()
    with pytest.raises(CommandError) as told:
        put([STANDARD | {"cpu": 4}, L4 | more])
    assert "Nothing was changed." in str(told.value)
    assert WRONG[what][1] in str(told.value)
    assert (rows(), tried) == (before, [])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("machines: [", "It is neither YAML nor JSON"),
        ("host: learn.example", "It has no list of machines"),
        ("[standard]", "machine 1: “standard” is no machine"),
        ('[{"name": "x"}]', "machine 1: It has no slug"),
        ('[{"slug": "a b", "name": "x"}]', "a b: slug: Letters without accents"),
        ('[{"slug": "a", "name": "x"}, {"slug": "a", "name": "y"}]', "a: There are two machines of this slug."),
    ],
)
def test_a_file_that_is_none_is_refused(put, text, words):
    with pytest.raises(CommandError) as told:
        put(text)
    assert words in str(told.value)
    assert not Profile.objects.exists()


def test_what_is_sent_in_is_read_where_the_file_is_a_dash(monkeypatch):
    monkeypatch.setattr("sys.stdin", StringIO(json.dumps([STANDARD])))
    call_command("apply_machines", "-", "--keeper", "me", stdout=StringIO())
    assert Profile.objects.get().kept_by == "me"


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(CommandError, match="cannot be read"):
        call_command("apply_machines", str(tmp_path / "none.yaml"))


def test_a_machine_that_grades_does_not_become_a_shared_gpu(put, ps1, tried):
    put([STANDARD, L4])
    adjust(ps1, {"grading_profile": Profile.objects.get(slug="l4")})
    before = rows()
    tried.clear()
    with pytest.raises(CommandError, match=f"l4: sharing: Nothing is graded on a shared GPU, .* grades “{ps1.title}”"):
        put([STANDARD, L4 | {"sharing": "time-sharing", "clients": 4}])
    assert (rows(), tried) == (before, [])


def test_what_the_provider_refuses_is_not_made_and_neither_is_the_rest(put, monkeypatch):
    answers = {"standard": trials.Answer(True), "l4": trials.Answer(True, "no node has nvidia-l4")}
    monkeypatch.setattr(trials, "ask", lambda profile: answers[profile.slug])
    with pytest.raises(CommandError, match="l4: It cannot be run here. What the provider says: no node has nvidia-l4"):
        put([STANDARD, L4])
    assert not Profile.objects.exists()


def test_an_image_that_could_not_be_tried_is_made_and_told(put, monkeypatch):
    slow = trials.Answer(True, untried=Untried.SLOW)
    monkeypatch.setattr(trials, "ask", lambda profile: slow if profile.slug == "l4" else trials.Answer(True))
    told = put([STANDARD, L4])
    assert "standard: made\nl4: made. Its image is still being fetched" in told
    assert dict(Profile.objects.values_list("slug", "image_untried")) == {"standard": False, "l4": True}


def test_a_process_that_does_not_answer_is_asked_once_and_keeps_nobody_waiting(put, monkeypatch):
    asked: list[str] = []

    def silent(profile: Profile) -> trials.Answer:
        asked.append(profile.slug)
        return trials.Answer(False)

    monkeypatch.setattr(trials, "ask", silent)
    told = put([STANDARD, L4])
    assert "standard: made\nl4: made\nNot all were tried" in told
    assert asked == ["standard"]
    assert list(Profile.objects.values_list("image_untried", flat=True)) == [True, True]


def test_what_was_made_untried_is_tried_when_it_is_applied_again_though_nothing_changes(put, tried):
    put([STANDARD, L4, L4 | {"slug": "old", "name": "Old", "retired": True}])
    Profile.objects.exclude(slug="standard").update(image_untried=True)
    tried.clear()
    put([STANDARD, L4], "--check")
    assert (tried, Profile.objects.get(slug="l4").image_untried) == (["l4"], True)
    assert "l4: as it was\n" in put([STANDARD, L4, L4 | {"slug": "old", "name": "Old", "retired": True}])
    # Nobody chooses what is retired any more.
    assert (tried, Profile.objects.get(slug="l4").image_untried) == (["l4", "l4"], False)
    put([STANDARD, L4])
    assert tried == ["l4", "l4"]


@pytest.fixture
def upgraded(settings):
    """Has the chart name this image of kernels from now on."""
    settings.RUNTIME_PROVIDER = "runtimes.pods.provider.PodsProvider"

    def upgraded(letter: str) -> None:
        settings.PODS_IMAGE = f"registry.example/kernel@sha256:{letter * 64}"

    return upgraded


def test_another_image_of_the_site_is_tried_though_no_machine_changes(put, tried, upgraded):
    upgraded("a")
    put([STANDARD, L4 | {"nodeSelector": {"pool": "gpu"}}, {"slug": "lab", "name": "Lab"}])
    own = {"slug": "own", "name": "Own", "image": f"registry.example/own@{DIGEST}"}
    machines = [STANDARD, L4 | {"nodeSelector": {"pool": "gpu"}}, {"slug": "lab", "name": "Lab"}, own]
    put(machines)
    tried.clear()
    upgraded("b")
    told = put(machines)
    assert told == "standard: as it was\nlab: as it was\nown: as it was\nl4: as it was\n"
    # Once for each kind of nodes.
    assert tried == ["standard", "l4"]
    put(machines)
    assert tried == ["standard", "l4"]


def test_another_image_of_the_site_that_does_not_run_is_refused_by_an_upgrade(put, monkeypatch, upgraded):
    upgraded("a")
    put([STANDARD])
    before = rows()
    upgraded("b")
    broken = trials.Answer(True, "ErrImagePull: not found", of_image=True)
    monkeypatch.setattr(trials, "ask", lambda profile: broken)
    for _again in range(2):
        with pytest.raises(CommandError, match="standard: It cannot be run here. .*: ErrImagePull: not found"):
            put([STANDARD])
    assert rows() == before


def test_the_sites_image_is_tried_for_machines_that_no_values_name_and_only_that(put, monkeypatch, upgraded):
    grading = machines.grading()
    for slug, fields in {"gpu": {"gpu": 1}, "own": {"image": f"r.example/k@{DIGEST}"}}.items():
        Profile.objects.create(slug=slug, name=slug, node_selector={"of": slug}, **fields)
    Profile.objects.create(slug="old", name="Old", retired_at=timezone.now())
    answers = {"gpu": trials.Answer(True, "no node has a GPU"), "grading": trials.Answer(True)}
    asked: list[str] = []

    def ask(profile: Profile) -> trials.Answer:
        asked.append(profile.slug)
        return answers[profile.slug]

    monkeypatch.setattr(trials, "ask", ask)
    upgraded("a")
    assert put([], "--check").startswith("gpu: as it was\ngrading: as it was\nNothing was changed")
    grading.refresh_from_db()
    assert trials.is_untried(grading)
    put([])
    grading.refresh_from_db()
    assert (trials.is_untried(grading), grading.kept_by) == (False, "")
    asked.clear()
    put([])
    assert asked == ["gpu"]
    answers["gpu"] = trials.Answer(True, "ModuleNotFoundError: ipykernel", of_image=True)
    with pytest.raises(CommandError, match="gpu: It cannot be run here. .* ipykernel"):
        put([])


def test_a_machine_that_nobody_changes_and_whose_node_is_away_keeps_nothing_from_being_applied(
    put, monkeypatch, upgraded
):
    upgraded("a")
    gpu = L4 | {"nodeSelector": {"pool": "gpu"}}
    put([STANDARD, gpu])
    upgraded("b")
    answers = {"l4": trials.Answer(True, "0/1 nodes could run it"), "standard": trials.Answer(True)}
    monkeypatch.setattr(trials, "ask", lambda profile: answers[profile.slug])
    assert "standard: changed: cpu 2 → 4" in put([STANDARD | {"cpu": 4}, gpu])
    l4, standard = Profile.objects.get(slug="l4"), Profile.objects.get(slug="standard")
    assert (standard.cpu, trials.is_untried(l4), trials.is_untried(standard)) == (Decimal(4), True, False)
    with pytest.raises(CommandError, match="l4: It cannot be run here"):
        put([STANDARD, gpu | {"cpu": 2}])


def test_what_its_page_changed_while_it_was_tried_stays_to_be_tried(put, monkeypatch, upgraded):
    upgraded("a")
    lab = Profile.objects.create(slug="lab", name="Lab")
    own = f"registry.example/own@{DIGEST}"

    def ask(profile: Profile) -> trials.Answer:
        Profile.objects.filter(pk=lab.pk).update(image=own, image_untried=True)
        return trials.Answer(True)

    monkeypatch.setattr(trials, "ask", ask)
    put([])
    lab.refresh_from_db()
    assert (lab.image, lab.image_untried) == (own, True)


def test_an_image_that_is_fetched_for_longer_than_anybody_waits_is_waited_for_once(put, monkeypatch, upgraded):
    upgraded("a")
    asked: list[tuple[str, bool]] = []

    def ask(profile: Profile, *, tries_image: bool = True) -> trials.Answer:
        asked.append((profile.slug, tries_image))
        return trials.Answer(True, untried=Untried.SLOW if tries_image else None)

    monkeypatch.setattr(trials, "ask", ask)
    put([STANDARD, {"slug": "lab", "name": "Lab"}])
    assert asked == [("standard", True), ("lab", False)]
    assert all(trials.is_untried(each) for each in Profile.objects.all())


def test_that_nobody_tried_another_image_of_the_site_is_told_and_it_is_tried_the_next_time(put, monkeypatch, upgraded):
    upgraded("a")
    put([STANDARD])
    upgraded("b")
    monkeypatch.setattr(trials, "ask", lambda profile: trials.Answer(False))
    for _again in range(2):
        assert "standard: as it was\nNot all were tried" in put([STANDARD])


def test_the_process_and_an_image_that_is_fetched_are_waited_for(put, monkeypatch):
    answers = [
        trials.Answer(False),
        trials.Answer(True, untried=Untried.SLOW),
        trials.Answer(True, "no such program", of_image=True),
    ]
    monkeypatch.setattr(trials, "ask", lambda profile: answers.pop(0))
    with pytest.raises(CommandError, match="no such program"):
        put([STANDARD], "--patience", "60")
    assert not answers


def test_a_whole_values_file_does_and_hours_without_quotes(put):
    put("""
host: learn.example
machines:
  - slug: lab
    name: Lab
    timetable: [{day: mon, from: 10:00, to: 12:00, warm: 30}]
""")
    [lab] = Profile.objects.all()
    assert lab.timetable == [{"day": "mon", "from": "10:00", "to": "12:00", "warm": 30}]


CHART = CHECKOUT / "deploy" / "helm" / "pupitre"
GKE = "cloud.google.com/gke-"
#: Labels of nodes (GKE, "GPUs in Standard", "Share GPUs with time-sharing", "Plan TPUs").
NODES = {
    "standard": {},
    "l4": {f"{GKE}accelerator": "nvidia-l4"},
    "t4-shared": {
        f"{GKE}accelerator": "nvidia-tesla-t4",
        f"{GKE}gpu-sharing-strategy": "time-sharing",
        f"{GKE}max-shared-clients-per-gpu": "4",
    },
    "tpu": {f"{GKE}tpu-accelerator": "tpu-v6e-slice", f"{GKE}tpu-topology": "1x1"},
}


@pytest.mark.parametrize(("file", "slugs"), [("values-laptop.yaml", {"standard"}), ("values-gke-gpu.yaml", set(NODES))])
def test_the_machines_of_the_charts_values_are_taken_and_are_pods_for_such_nodes(put, file, slugs):
    put((CHART / file).read_text())
    for profile in Profile.objects.all():
        request = profiles.template(profile)
        request.validate()
        machine = replace(request.machine, image=f"registry.example/kernel@{DIGEST}")
        pod = manifests.pod(replace(request, machine=machine), CLUSTER, name=NAME)
        assert violations(pod) == []
        assert pod["spec"].get("nodeSelector", {}) == NODES[profile.slug], profile.slug
    assert {profile.slug for profile in Profile.objects.all()} == slugs
    assert profiles.warm_now(Profile.objects.get(slug="standard"), CLASS) == (40 if len(slugs) > 1 else 1)


def test_what_is_shown_is_read_again_as_the_same_machine(put):
    put([STANDARD, WHOLE])
    before, printed = rows(), StringIO()
    call_command("show_machines", stdout=printed)
    shown = yaml.safe_load(printed.getvalue())
    assert shown == {"machines": [STANDARD, WHOLE]}
    assert put(printed.getvalue()) == "standard: as it was\nwhole: as it was\n"
    Profile.objects.filter(fallback=None).update(name="Other")
    Profile.objects.exclude(fallback=None).delete()
    put(printed.getvalue())
    different = {"id"}
    assert [{k: v for k, v in row.items() if k not in different} for row in rows()] == [
        {k: v for k, v in row.items() if k not in different} for row in before
    ]


def test_machines_of_the_site_are_shown_by_name_and_retired_ones_only_then(put):
    put([STANDARD, {"slug": "old", "name": "Old", "retired": True}])
    printed = StringIO()
    call_command("show_machines", stdout=printed)
    assert [one["slug"] for one in yaml.safe_load(printed.getvalue())["machines"]] == ["standard"]
    printed = StringIO()
    call_command("show_machines", "old", stdout=printed)
    assert yaml.safe_load(printed.getvalue()) == {"machines": [{"slug": "old", "name": "Old", "retired": True}]}
    with pytest.raises(CommandError, match="There is no machine gone"):
        call_command("show_machines", "gone")


def test_every_field_of_a_machine_has_a_key():
    fields = {field.name for field in Profile._meta.fields} - {
        "id",
        "kept_by",
        "image_untried",
        "tried_site_image",
        "accelerator",
    }
    assert {field for field, _kinds in KEYS.values()} == fields
    assert words_of(Profile()).keys() == KEYS.keys()
    assert entry_of(Profile(slug="x", name="X")) == {"slug": "x", "name": "X"}
