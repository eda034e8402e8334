"""What a pod says of itself, within what Kubernetes takes."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from runtimes.machine import Machine
from runtimes.pods import labels
from runtimes.provider import Network
from tests.runtimes.pods.samples import CLUSTER, GRADING, REQUEST, request_for

# Kubernetes, "Labels and Selectors" and "Object Names and IDs".
VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
KEY = re.compile(r"([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")


@pytest.mark.parametrize(
    "text",
    ["small", "a" * 63, "a" * 64, "-small", "small_", "_", "GPU (L4)", "été", "日本語", "a b", "x" * 300, "a.b_c-d"],
)
def test_any_slug_becomes_a_valid_label(text: str) -> None:
    made = labels.value(text)
    assert VALUE.fullmatch(made)
    assert 0 < len(made) <= 63


@pytest.mark.parametrize("text", ["small", "gpu-l4", "a" * 63, "a.b_c"])
def test_a_slug_that_may_be_a_label_stays_as_it_is(text: str) -> None:
    assert labels.value(text) == text


def test_slugs_that_are_cut_to_the_same_words_stay_apart() -> None:
    assert len({labels.value(text) for text in ("-a", "a-", "a!", "a?", "x" * 64, "x" * 65)}) == 6


@pytest.mark.parametrize("warm", [True, False])
@pytest.mark.parametrize("request_", [REQUEST, GRADING, *(request_for(network) for network in Network)])
def test_every_label_and_annotation_is_one_that_kubernetes_takes(request_, warm: bool) -> None:
    made = labels.of_pod(replace(request_, machine=Machine("Ein Profil")), "0123456789abcdef", CLUSTER, warm=warm)
    notes = labels.annotations_of(("pod", "seccomp"), CLUSTER, warm=warm)
    assert all(KEY.fullmatch(key) for key in (*made, *notes))
    assert all(VALUE.fullmatch(value) and len(value) <= 63 for value in made.values())
    assert sum(len(key) + len(value) for key, value in notes.items()) < 256 * 1024


def test_a_pod_says_whose_it_is_and_what_for() -> None:
    assert labels.of_pod(REQUEST, "0123", CLUSTER, warm=False) == {
        "app.kubernetes.io/name": "pupitre-runtime",
        "app.kubernetes.io/instance": "school",
        "pupitre/state": "claimed",
        "pupitre/runtime": "ada-1",
        "pupitre/profile": "small",
        "pupitre/purpose": "interactive",
        "pupitre/network": "none",
        "pupitre/template": "0123",
    }


def test_a_warm_pod_has_no_runtime_yet() -> None:
    made = labels.of_pod(REQUEST, "0123", CLUSTER, warm=True)
    assert made["pupitre/state"] == "warm"
    assert "pupitre/runtime" not in made
    assert "ada-1" not in made.values()


def test_the_selector_finds_this_sites_pods_and_no_others() -> None:
    assert labels.selector(CLUSTER) == "app.kubernetes.io/name=pupitre-runtime,app.kubernetes.io/instance=school"


def test_a_new_name_is_a_host_name_and_new() -> None:
    names = {labels.new_name() for _ in range(100)}
    assert len(names) == 100
    assert all(DNS_LABEL.fullmatch(name) and len(name) <= 63 for name in names)
