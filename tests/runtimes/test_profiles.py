"""Profiles: what is wrong with one is said before it is saved, and a provider is asked for what it says."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from runtimes import profiles
from runtimes.machine import DataVolume, Gpu, Machine, Tpu
from runtimes.models import GIB, Profile, Runtime
from runtimes.provider import InvalidRequest, Network, Request

DIGEST = "sha256:" + "ab" * 32
MORNING = {"day": "tue", "from": "09:45", "to": "12:00", "warm": 30}


def profile(**fields: Any) -> Profile:
    return Profile(slug="gpu-lab", name="GPU lab", **fields)


def asked(row: Profile, purpose: str = Runtime.Purpose.INTERACTIVE) -> Request:
    request = profiles.request(Runtime(name="ada-1", profile=row, purpose=purpose))
    request.validate()
    return request


@pytest.mark.parametrize(
    ("fields", "at", "words"),
    [
        ({"image": "registry/kernel:latest"}, "image", "digest"),
        ({"cpu_request": 3}, "cpu_request", "at most"),
        ({"cpu": 0}, "cpu", "processor"),
        ({"home_bytes": 2 * GIB}, "home_bytes", "less than the memory"),
        ({"memory_bytes": GIB // 2}, "home_bytes", "less than the memory"),
        # What it is for lies on the node's disk then, and home in memory all the same.
        ({"home_bytes": 3 * GIB, "scratch_bytes": 4 * GIB}, "home_bytes", "less than the memory"),
        ({"scratch_bytes": -1}, "scratch_bytes", "negative"),
        ({"scratch_bytes": GIB}, "scratch_bytes", "at least 2 GB"),
        ({"idle_timeout": timedelta(days=2)}, "idle_timeout", "longest life"),
        ({"gpu": 2, "accelerator_partition": "1g.5gb"}, "gpu", "alone"),
        ({"gpu": 1, "accelerator_sharing": "time-sharing"}, "accelerator_clients", "above one"),
        ({"gpu": 1, "accelerator_clients": 4}, "accelerator_clients", "no other has it"),
        ({"gpu": 1, "accelerator_topology": "2x2"}, "accelerator_topology", "Only a TPU"),
        ({"gpu": 4, "accelerator": "tpu", "accelerator_topology": "2x2"}, "accelerator_model", "tpu-v6e-slice"),
        ({"gpu": 4, "accelerator": "tpu", "accelerator_model": "tpu-v6e-slice"}, "accelerator_topology", "2x2"),
        (
            {"gpu": 3, "accelerator": "tpu", "accelerator_model": "tpu-v6e-slice", "accelerator_topology": "2x2"},
            "gpu",
            "4 chips, not 3",
        ),
        # Two hosts with eight chips each, and two with four.
        ({"gpu": 16, "accelerator": "tpu", "accelerator_model": "tpu-v6e-slice", "accelerator_topology": "4x4"},
         "accelerator_topology", "one host"),
        ({"gpu": 8, "accelerator": "tpu", "accelerator_model": "tpu-v5p-slice", "accelerator_topology": "2x2x2"},
         "accelerator_topology", "one host"),
        ({"node_selector": {"room": 12}}, "node_selector", "as text"),
        ({"node_selector": {"not a label": "x"}}, "node_selector", "as text"),
        ({"tolerations": [{"key": "lab", "kind": "x"}]}, "tolerations", "operator"),
        ({"tolerations": {"key": "lab"}}, "tolerations", "list"),
        ({"runtime_class": "GVisor!"}, "runtime_class", "small letters"),
        ({"data_claim": "sets", "data_bucket": "b", "data_service_account": "s", "network": "internet"},
         "data_bucket", "not from both"),
        ({"data_bucket": "sets", "network": "internet"}, "data_service_account", "service account"),
        ({"data_bucket": "sets", "data_service_account": "reader"}, "data_bucket", "internet"),
        ({"data_claim": "Data Sets"}, "data_claim", "small letters"),
        ({"fallback": Profile(slug="cpu")}, "fallback", "Only a profile with GPUs"),
        ({"gpu": 1, "fallback": Profile(slug="other", gpu=1)}, "fallback", "has no GPU"),
        ({"timetable": [{"day": "tue"}]}, "timetable", "an end"),
        ({"timetable": [MORNING | {"day": "tuesday"}]}, "timetable", "tuesday"),
        ({"timetable": [MORNING | {"from": "9h45"}]}, "timetable", "9h45"),
        ({"timetable": [MORNING | {"to": "08:00"}]}, "timetable", "after they begin"),
        ({"timetable": [MORNING | {"warm": 5000}]}, "timetable", "1000"),
        ({"timetable": {"tue": 30}}, "timetable", "list"),
        ({"time_zone": "Mars/Base"}, "time_zone", "Europe/Paris"),
        ({"warm": 5000}, "warm", "1000"),
    ],
)  # fmt: skip
def test_what_nobody_could_run_is_refused_at_its_field(fields: dict[str, Any], at: str, words: str) -> None:
    with pytest.raises(ValidationError) as refused:
        profile(**fields).clean()
    assert list(refused.value.message_dict) == [at]
    assert words in refused.value.message_dict[at][0]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"memory_bytes": GIB + 1},
        {"image": f"registry.example/kernel@{DIGEST}", "runtime_class": "gvisor", "scratch_bytes": 2 * GIB},
        {"gpu": 1, "accelerator_model": "nvidia-l4", "accelerator_sharing": "time-sharing", "accelerator_clients": 4},
        {"gpu": 4, "accelerator": "tpu", "accelerator_model": "tpu-v6e-slice", "accelerator_topology": "2x2"},
        {"gpu": 8, "accelerator": "tpu", "accelerator_model": "tpu-v5-lite-podslice", "accelerator_topology": "2x4"},
        {"gpu": 4, "accelerator": "tpu", "accelerator_model": "tpu-v5p-slice", "accelerator_topology": "2x2x1"},
        {
            "node_selector": {"example.com/room": "b12", "gpu": ""},
            "tolerations": [{"key": "lab", "operator": "Exists"}],
        },
        {"data_bucket": "sets", "data_service_account": "sets-reader", "network": "internet"},
        {"timetable": [MORNING], "time_zone": "Europe/Zurich", "warm": 2},
    ],
)
def test_a_profile_that_can_be_run_is_taken(fields: dict[str, Any]) -> None:
    row = profile(**fields)
    row.clean()
    asked(row)


def test_a_provider_is_told_all_that_the_profile_says_of_its_machine() -> None:
    row = profile(
        image=f"kernel@{DIGEST}", gpu=1, accelerator_model="nvidia-l4", node_selector={"room": "b12"},
        tolerations=[{"key": "lab"}], runtime_class="gvisor", cpu_request=0.5, scratch_bytes=GIB, data_claim="sets",
    )  # fmt: skip
    assert asked(row).machine == Machine(
        "gpu-lab", f"kernel@{DIGEST}", Gpu("nvidia-l4"), {"room": "b12"}, ({"key": "lab"},), "gvisor", 0.5, GIB,
        DataVolume("sets"),
    )  # fmt: skip


def test_a_tpu_is_asked_for_by_model_and_topology() -> None:
    row = profile(gpu=4, accelerator="tpu", accelerator_model="tpu-v6e-slice", accelerator_topology="2x2")
    assert asked(row).machine.accelerator == Tpu("tpu-v6e-slice", "2x2")


def test_grading_has_no_network_and_so_no_bucket_but_keeps_a_volume() -> None:
    bucket = profile(data_bucket="sets", data_service_account="reader", network="internet")
    graded = asked(bucket, Runtime.Purpose.GRADING)
    assert (graded.network, graded.machine.data) == (Network.NONE, None)
    assert asked(profile(data_claim="sets"), Runtime.Purpose.GRADING).machine.data == DataVolume("sets")


def test_a_shared_gpu_never_grades() -> None:
    row = profile(gpu=1, accelerator_sharing="time-sharing", accelerator_clients=2)
    with pytest.raises(InvalidRequest, match="never shares"):
        asked(row, Runtime.Purpose.GRADING)


@pytest.mark.parametrize(
    ("moment", "warm"),
    [
        (datetime(2026, 11, 24, 8, 44, tzinfo=UTC), 2),  # a Tuesday; Zürich is an hour ahead
        (datetime(2026, 11, 24, 8, 45, tzinfo=UTC), 30),
        (datetime(2026, 11, 24, 10, 59, tzinfo=UTC), 30),
        (datetime(2026, 11, 24, 11, 0, tzinfo=UTC), 2),
        (datetime(2026, 11, 25, 9, 0, tzinfo=UTC), 2),
        (datetime(2026, 7, 21, 7, 50, tzinfo=UTC), 30),  # summer time: the hours are those of the clock on the wall
    ],
)
def test_class_hours_are_those_of_the_schools_clock(moment: datetime, warm: int) -> None:
    row = profile(timetable=[MORNING], time_zone="Europe/Zurich", warm=2)
    assert profiles.warm_now(row, moment) == warm


def test_where_class_hours_overlap_the_larger_class_counts() -> None:
    row = profile(timetable=[MORNING, MORNING | {"from": "11:00", "to": "13:00", "warm": 80}])
    assert profiles.warm_now(row, datetime(2026, 11, 24, 11, 30, tzinfo=UTC)) == 80


@pytest.mark.parametrize(
    "accelerator", [None, Gpu("nvidia-l4", sharing="time-sharing", clients=2), Tpu("tpu-v6e-slice", "2x2")]
)
def test_another_process_is_told_the_same_machine(accelerator: Gpu | Tpu | None) -> None:
    machine = Machine("lab", "", accelerator, {"room": "b12"}, ({"key": "lab"},), data=DataVolume("sets"))
    assert Machine.from_json(json.loads(json.dumps(machine.to_json()))) == machine
    assert Machine.from_json(json.loads(json.dumps(Machine().to_json()))) == Machine()
