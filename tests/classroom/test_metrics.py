"""Metrics: with the token only, in the format that Prometheus reads, and no person in them."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.utils import timezone

from classroom.launch import open_work
from classroom.metrics import Family, collect, exposition
from grading.check import account_of
from runtimes import load, usage
from runtimes.meter import Meter
from runtimes.models import GIB, Profile, ProviderReport, Runtime
from runtimes.status import Reason

State = Runtime.State
#: A line of the text format, version 0.0.4: comment, or name, labels and value.
LINE = re.compile(
    r'# (HELP|TYPE) [a-z_]+ .+|[a-z_]+(\{([a-z_]+="([^"\\\n]|\\[\\n"])*",?)+\})? ([-+]?[0-9.e+-]+|[+-]Inf|NaN)'
)


@pytest.fixture
def token(settings) -> dict[str, str]:
    settings.METRICS_TOKEN = "a token for tests"
    return {"Authorization": f"Bearer {settings.METRICS_TOKEN}"}


def value(name: str, **labels: str) -> float | None:
    [family] = [family for family in collect() if family.name == name]
    return dict(family.values).get(tuple(labels.items()))


@pytest.mark.django_db
def test_without_the_setting_there_is_no_such_page_and_without_the_token_nothing_is_told(client, settings):
    assert client.get("/metrics").status_code == 404
    settings.METRICS_TOKEN = "a token for tests"
    for headers in ({}, {"Authorization": "Bearer another"}, {"Authorization": "Bearer "}):
        answer = client.get("/metrics", headers=headers)
        assert (answer.status_code, answer.content) == (401, b"")


@pytest.mark.django_db
def test_every_line_is_one_that_prometheus_reads_and_names_nobody(client, token, ps1, ada):
    workspace = open_work(ps1, ada).workspace
    Runtime.objects.create(workspace=workspace, profile=workspace.profile, account=workspace.account)
    ProviderReport.objects.create(provider="local", warm=3, lacks={"standard": "no room"})
    answer = client.get("/metrics", headers=token)
    assert answer["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    text = answer.content.decode()
    assert value("pupitre_warm_pool_short", profile="standard") == 1
    assert text.endswith("\n")
    assert [line for line in text.splitlines() if not LINE.fullmatch(line)] == []
    for private in ("ada", workspace.slug, workspace.title, "Data"):
        assert private not in text


@pytest.mark.django_db
def test_what_runs_and_waits_is_counted_by_profile():
    now = timezone.now()
    gpu = Profile.objects.create(slug="gpu", name="GPU", gpu=2)
    asked = now - timedelta(minutes=5)
    Runtime.objects.create(profile=gpu, account="x", state=State.READY)
    Runtime.objects.create(profile=gpu, account="x", state=State.STARTING, reason=Reason.ACCELERATOR_WAIT)
    Runtime.objects.create(profile=gpu, account="x", requested_at=asked)
    Runtime.objects.create(profile=gpu, account="x", state=State.FAILED, reason=Reason.IMAGE_PULL, stopped_at=now)
    assert value("pupitre_runtimes", profile="gpu", purpose="interactive", state="ready") == 1
    assert value("pupitre_runtimes_waiting", profile="gpu") == 2
    assert value("pupitre_runtimes_waiting_longest_seconds", profile="gpu") == pytest.approx(300, abs=30)
    assert value("pupitre_accelerators_in_use", profile="gpu") == 2
    shared = Profile.objects.create(slug="shared", name="Shared", gpu=1, accelerator_clients=4)
    for _person in range(2):
        Runtime.objects.create(profile=shared, account="x", state=State.READY, reserved=usage.reserved(shared))
    assert value("pupitre_accelerators_in_use", profile="shared") == 0.5
    # What runs has what it was started with.
    Profile.objects.filter(slug="shared").update(gpu=0)
    assert value("pupitre_accelerators_in_use", profile="shared") == 0.5
    assert value("pupitre_runtime_ends_last_day", state="failed", reason="ImagePull") == 1


@pytest.mark.django_db
def test_what_waits_unclaimed_is_told_by_profile_beside_what_shall():
    ProviderReport.objects.create(provider="pods", warm=1, pools={"gpu": {"wished": 3, "ready": 1}})
    assert value("pupitre_warm_pool_wished", provider="pods", profile="gpu") == 3
    assert value("pupitre_warm_pool_ready", provider="pods", profile="gpu") == 1


def counters() -> dict[str, float]:
    """By their names, of grading in the course."""
    labels = (("profile", "standard"), ("course", "data"), ("purpose", "grading"))
    found = [family for family in collect() if family.type == "counter"]
    assert all(family.name.endswith("_seconds_total") for family in found)
    return {family.name: dict(family.values)[labels] for family in found}


@pytest.mark.django_db
def test_what_was_used_is_counted_by_profile_and_course(ps1):
    Profile.objects.update(cpu=2, memory_bytes=4 * GIB, gpu=1, accelerator_clients=4)
    now = timezone.now()
    for count in (1, 2):
        runtime = Runtime.objects.create(
            profile=Profile.objects.get(slug="standard"), account=account_of(ps1.release), ready_at=now,
            purpose="grading", cpu_meter=Meter(50.0).to_json() if count == 1 else {},
        )  # fmt: skip
        usage.record([runtime], now + timedelta(seconds=100))
    assert counters() == {
        "pupitre_usage_seconds_total": 200,
        "pupitre_usage_cpu_reserved_seconds_total": 400,
        "pupitre_usage_cpu_used_seconds_total": 50,
        "pupitre_usage_memory_gib_seconds_total": 800,
        "pupitre_usage_accelerator_seconds_total": 50,
    }


@pytest.mark.django_db
def test_what_was_used_never_grows_less_whatever_is_written(ps1):
    """Also by nothing that rounding would take: Prometheus would count all of it anew."""
    runtime = Runtime.objects.create(
        profile=Profile.objects.get(slug="standard"), account=account_of(ps1.release), ready_at=timezone.now(),
        purpose="grading",
    )  # fmt: skip
    told = []
    for number in range(20):
        load.note(runtime, 7.7 * number)
        usage.record([runtime], runtime.ready_at + timedelta(seconds=number / 7))
        told.append(counters())
        assert told[-1]["pupitre_usage_seconds_total"] == int(1000 * number / 7) / 1000
    for name in told[0]:
        seen = [each[name] for each in told]
        assert seen == sorted(seen)


def test_a_counter_says_what_it_is_with_all_its_digits():
    text = exposition([Family("x_total", "a", [((), 123456789.125)], "counter")])
    assert text == "# HELP x_total a\n# TYPE x_total counter\nx_total 123456789.125\n"


def test_labels_are_escaped_as_the_format_says():
    family = Family("x", "a\nb\\c", [((("name", 'a "b"\\\n'),), 1.5), ((), float("inf"))])
    assert exposition([family]) == '# HELP x a\\nb\\\\c\n# TYPE x gauge\nx{name="a \\"b\\"\\\\\\n"} 1.5\nx +Inf\n'
