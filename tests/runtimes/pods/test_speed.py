"""A pod's processors are limited while it runs: what is asked of the cluster."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from runtimes.pods import speed
from runtimes.pods.cluster import Refused
from runtimes.provider import Limits, ProviderUnavailable
from tests.runtimes.pods.samples import NAME, PROFILE, REQUEST, seen


def pod(cores: float = 1.0, reserved: float = 0.1, limit: str = "", whole: str = "") -> dict[str, Any]:
    """One that may use `cores`, as the API gives it; at the moment `limit` of `whole`."""
    machine = replace(PROFILE, cpu_request=reserved)
    made = seen({}, request=replace(REQUEST, limits=Limits(cpu_cores=cores), machine=machine))
    if whole:
        made["metadata"]["annotations"][speed.WHOLE] = whole
        made["spec"]["containers"][0]["resources"]["limits"]["cpu"] = limit
    return made


def wanted(made: dict[str, Any], share: float | None) -> dict[str, str]:
    return {
        change["path"].removeprefix("/spec/containers/0/resources/"): change["value"]
        for change in speed.changed(made, share)
    }


def test_a_share_is_of_the_whole_however_often_it_is_asked_for() -> None:
    assert wanted(pod(2.0), 0.2) == {"limits/cpu": "400m"}
    assert wanted(pod(2.0, limit="400m", whole="2"), 0.2) == {}
    assert wanted(pod(2.0, limit="400m", whole="2"), None) == {"limits/cpu": "2000m"}
    assert wanted(pod(2.0, limit="2", whole="2"), None) == {}
    assert wanted(pod(2.0), None) == {}


def test_its_class_of_service_stays_what_it_is() -> None:
    assert wanted(pod(1.0, reserved=0.5), 0.2) == {"limits/cpu": "501m"}
    assert wanted(pod(1.0, reserved=1.0), 0.2) == {"limits/cpu": "200m", "requests/cpu": "200m"}


def test_a_container_that_the_cluster_put_before_it_keeps_its_own() -> None:
    made = pod(2.0)
    made["spec"]["containers"].insert(0, {"name": "gke-gcsfuse-sidecar", "resources": {"limits": {"cpu": "250m"}}})
    assert [change["path"] for change in speed.changed(made, 0.2)] == ["/spec/containers/1/resources/limits/cpu"]


class Api:
    """Says no to what it is told to."""

    def __init__(self, code: int) -> None:
        self.code = code

    async def patch_pod(self, _name: str, _changes: Any) -> dict[str, Any]:
        return pod(whole="1", limit="1")

    async def resize_pod(self, _name: str, _changes: Any) -> dict[str, Any]:
        raise Refused(self.code, "no")


class Known(dict[str, Any]):
    def put(self, made: dict[str, Any]) -> None:
        self[made["metadata"]["name"]] = made


@pytest.mark.parametrize("code", [404, 403, 422])
async def test_a_cluster_that_cannot_is_no_error_but_what_was_taken_must_be_given_back(code: int) -> None:
    pods: Any = Known({NAME: pod()})
    api: Any = Api(code)
    assert not await speed.throttle(api, pods, NAME, 0.2)
    slowed: Any = Known({NAME: pod(limit="200m", whole="1")})
    if code == 404:
        assert not await speed.throttle(api, slowed, NAME, None)
        return
    with pytest.raises(ProviderUnavailable):
        await speed.throttle(api, slowed, NAME, None)
