"""A warm pod is taken by one request, whole, or not at all."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from runtimes import profiles
from runtimes.keys import Keys
from runtimes.models import Profile, Runtime
from runtimes.pods import claims, manifests
from runtimes.pods.cluster import Refused
from runtimes.provider import Limits
from tests.runtimes.pods.memory import applied
from tests.runtimes.pods.samples import (
    BEGAN,
    CLUSTER,
    NAME,
    PROFILE,
    REQUEST,
    condition,
    running,
    seen,
    template,
    text,
    warm_pod,
)

LIFETIME = REQUEST.limits.lifetime
LATER = BEGAN + timedelta(hours=1)


def test_a_claim_names_the_runtime_and_sets_its_deadline_in_one_patch() -> None:
    pod = applied(warm_pod(), claims.patch(warm_pod(), REQUEST, LATER))
    assert pod["metadata"]["labels"]["pupitre/state"] == "claimed"
    assert pod["metadata"]["labels"]["pupitre/runtime"] == "ada-1"
    assert pod["metadata"]["annotations"]["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"
    assert pod["spec"]["activeDeadlineSeconds"] == (timedelta(hours=1) + LIFETIME).total_seconds()


def test_a_claimed_pod_has_the_labels_of_one_that_was_made_for_the_request() -> None:
    pod = applied(warm_pod(), claims.patch(warm_pod(), REQUEST, LATER))
    cold = manifests.pod(REQUEST, CLUSTER, name=pod["metadata"]["name"])
    assert pod["metadata"]["labels"] == cold["metadata"]["labels"]
    assert pod["metadata"]["annotations"] == cold["metadata"]["annotations"]


def test_the_second_claim_of_a_pod_is_refused() -> None:
    warm = warm_pod()
    taken = applied(warm, claims.patch(warm, REQUEST, LATER))
    with pytest.raises(Refused):
        applied(taken, claims.patch(warm, replace(REQUEST, name="ben-1"), LATER))


def test_a_pod_that_was_made_from_something_else_is_not_taken() -> None:
    changed = warm_pod()
    patch = claims.patch(warm_pod(), REQUEST, LATER)
    changed["metadata"]["labels"]["pupitre/template"] = "another"
    with pytest.raises(Refused):
        applied(changed, patch)


def test_a_claim_only_ever_shortens_the_deadline() -> None:
    """Kubernetes refuses (422) to lengthen it."""
    pod = warm_pod()
    for hours in range(30):
        now = BEGAN + timedelta(hours=hours)
        if claims.may_be_claimed(pod, template(), LIFETIME, now):
            assert claims.patch(pod, REQUEST, now)[-1]["value"] <= pod["spec"]["activeDeadlineSeconds"]


@pytest.mark.parametrize(
    ("pod", "now", "taken"),
    [
        (warm_pod(), LATER, True),
        (warm_pod(), BEGAN + manifests.WARM_FOR, True),
        (warm_pod(), BEGAN + manifests.WARM_FOR + timedelta(seconds=1), False),
        (seen(running()), LATER, False),
        (seen(running(), warm=True, deletionTimestamp=text(LATER)), LATER, False),
        (warm_pod(conditions=[condition("Ready", "False")]), LATER, False),
        (warm_pod(podIP=""), LATER, False),
        (seen({"phase": "Pending"}, warm=True), LATER, False),
        (seen(running(), warm=True, request=replace(REQUEST, kernels=2)), LATER, False),
    ],
    ids=["ready", "as old as may be", "too old", "claimed", "ending", "not ready", "no address", "new", "another kind"],
)
def test_which_pods_may_be_claimed(pod: dict[str, Any], now: datetime, taken: bool) -> None:
    assert claims.may_be_claimed(pod, template(), LIFETIME, now) is taken


def test_a_request_with_a_longer_life_needs_other_warm_pods() -> None:
    longer = replace(REQUEST, limits=Limits(lifetime=LIFETIME + timedelta(hours=1)))
    assert manifests.template_digest(longer, CLUSTER) != template()


LIMITS = Profile(slug="small", lifetime=timedelta(hours=2), idle_timeout=timedelta(minutes=20))


def pod_of(purpose: str, *, warm: bool = False) -> tuple[dict[str, Any], dict[str, Any]]:
    """A pod of this profile and its agent's order, as they are made for a row."""
    request = profiles.request(Runtime(name="ada-1", profile=LIMITS, purpose=purpose, preload=[], env={}))
    cluster = replace(CLUSTER, image=PROFILE.image)
    order = manifests.order(request, Keys("", "", ""), cluster, warm=warm)
    return manifests.pod(request, cluster, name=NAME, warm=warm), order


@pytest.mark.parametrize("purpose", Runtime.Purpose.values)
def test_without_its_site_no_pod_outlives_its_lifetime_by_more_than_the_margin(purpose: str) -> None:
    pod, order = pod_of(purpose)
    most = LIMITS.lifetime + profiles.LIFETIME_MARGIN
    assert 0 < pod["spec"]["activeDeadlineSeconds"] <= most.total_seconds()
    # Nor does one that nobody uses wait for that; and what is killed within it is not made again for ever.
    assert order["idle_seconds"] == (LIMITS.idle_timeout + profiles.LIFETIME_MARGIN).total_seconds()
    assert order["idle_armed"]


def test_without_its_site_a_warm_pod_outlives_neither_the_time_for_claims_nor_its_idle_limit() -> None:
    pod, order = pod_of(Runtime.Purpose.INTERACTIVE, warm=True)
    most = LIMITS.lifetime + profiles.LIFETIME_MARGIN + manifests.WARM_FOR
    assert 0 < pod["spec"]["activeDeadlineSeconds"] <= most.total_seconds()
    assert order["idle_seconds"] == (LIMITS.idle_timeout + profiles.LIFETIME_MARGIN).total_seconds()


def test_a_claimed_pod_is_given_no_more_than_one_that_was_made_for_its_request() -> None:
    cold, _order = pod_of(Runtime.Purpose.INTERACTIVE)
    request = profiles.request(
        Runtime(name="ada-1", profile=LIMITS, purpose=Runtime.Purpose.INTERACTIVE, preload=[], env={})
    )
    pod, _order = pod_of(Runtime.Purpose.INTERACTIVE, warm=True)
    pod["status"] = running()
    for hours in range(13):
        now = BEGAN + timedelta(hours=hours, milliseconds=1)
        left = applied(pod, claims.patch(pod, request, now))["spec"]["activeDeadlineSeconds"]
        left -= (now - BEGAN).total_seconds()
        # The API takes whole seconds.
        assert left < cold["spec"]["activeDeadlineSeconds"] + 1
