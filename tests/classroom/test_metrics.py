"""Metrics: with the token only, in the format that Prometheus reads, and no person in them."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.utils import timezone

from classroom.launch import open_work
from classroom.metrics import Family, collect, exposition
from runtimes.models import Profile, ProviderReport, Runtime
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
    ProviderReport.objects.create(provider="local", warm=3)
    answer = client.get("/metrics", headers=token)
    assert answer["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    text = answer.content.decode()
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
        Runtime.objects.create(profile=shared, account="x", state=State.READY)
    assert value("pupitre_accelerators_in_use", profile="shared") == 0.5
    assert value("pupitre_runtime_ends_last_day", state="failed", reason="ImagePull") == 1


def test_labels_are_escaped_as_the_format_says():
    family = Family("x", "a\nb\\c", [((("name", 'a "b"\\\n'),), 1.5), ((), float("inf"))])
    assert exposition([family]) == '# HELP x a\\nb\\\\c\n# TYPE x gauge\nx{name="a \\"b\\"\\\\\\n"} 1.5\nx +Inf\n'
