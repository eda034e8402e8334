"""What stands in the namespace beside pods: rights, quota, priorities, budget."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from runtimes.pods import manifests, namespace, trial_pod
from runtimes.pods.namespace import Quota
from runtimes.provider import Network, Request
from tests.runtimes.pods.policies import selects
from tests.runtimes.pods.samples import CLUSTER, GRADING, NAME, REQUEST, request_for

QUOTA = Quota(300, 200, 800 << 30, 2 << 40, {"nvidia.com/gpu": 16, "google.com/tpu": 8})
OBJECTS = namespace.objects(CLUSTER, QUOTA)


def of_kind(kind: str) -> list[dict[str, Any]]:
    return [each for each in OBJECTS if each["kind"] == kind]


def only(kind: str) -> dict[str, Any]:
    (one,) = of_kind(kind)
    return one


def rights(role: dict[str, Any]) -> set[tuple[str, str]]:
    return {(name, verb) for rule in role["rules"] for name in rule["resources"] for verb in rule["verbs"]}


def forbidden(role: dict[str, Any]) -> set[tuple[str, str]]:
    """Rights that would let the site read keys, run things past the agent, or give itself more."""
    reading = {"get", "list", "watch", "patch", "update", "deletecollection", "*"}
    return {
        (name, verb)
        for name, verb in rights(role)
        if (name == "secrets" and verb in reading)
        or ("/" in name and name != "pods/resize")
        or "*" in (name, verb)
        or name not in {"pods", "pods/resize", "secrets", "persistentvolumeclaims"}
        or (name == "persistentvolumeclaims" and verb != "get")
        or verb in {"escalate", "bind", "impersonate", "deletecollection"}
    }


def test_the_sites_rights_are_these_and_no_more() -> None:
    pods = {("pods", verb) for verb in ("create", "get", "list", "watch", "patch", "delete")}
    others = {("pods/resize", "patch"), ("secrets", "create"), ("persistentvolumeclaims", "get")}
    assert rights(only("Role")) == pods | others
    assert forbidden(only("Role")) == set()
    assert only("Role")["metadata"]["namespace"] == "school-runtimes"
    assert not of_kind("ClusterRole") + of_kind("ClusterRoleBinding")


@pytest.mark.parametrize(
    "more",
    [
        ("pods/exec", "create"),
        ("secrets", "list"),
        ("secrets", "get"),
        ("pods", "*"),
        ("nodes", "list"),
        ("*", "get"),
        ("persistentvolumeclaims", "delete"),
    ],
)
def test_a_right_too_many_is_noticed(more: tuple[str, str]) -> None:
    role = copy.deepcopy(only("Role"))
    role["rules"].append({"apiGroups": [""], "resources": [more[0]], "verbs": [more[1]]})
    assert forbidden(role) == {more}


def test_the_rights_are_for_the_sites_own_account() -> None:
    binding = only("RoleBinding")
    assert binding["roleRef"]["name"] == only("Role")["metadata"]["name"]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "pupitre", "namespace": "school-site"}]


def test_the_namespace_refuses_pods_that_are_not_restricted() -> None:
    found = only("Namespace")["metadata"]["labels"]
    assert found["pod-security.kubernetes.io/enforce"] == "restricted"


def test_what_all_runtimes_take_together_is_limited() -> None:
    assert only("ResourceQuota")["spec"]["hard"] == {
        "pods": "300",
        "requests.cpu": "200",
        "requests.memory": str(800 << 30),
        "limits.memory": str(800 << 30),
        "requests.ephemeral-storage": str(2 << 40),
        "requests.nvidia.com/gpu": "16",
        "requests.google.com/tpu": "8",
        "services": "0",
    }


def test_every_pod_says_what_the_quota_asks_of_it() -> None:
    """Where a quota limits a resource, a pod that does not name it is refused (Kubernetes, "Resource Quotas")."""
    for pod in (manifests.pod(REQUEST, CLUSTER, name=NAME), trial_pod.pod(REQUEST, CLUSTER, name=NAME)):
        resources = pod["spec"]["containers"][0]["resources"]
        for name in ("requests.cpu", "requests.memory", "limits.memory", "requests.ephemeral-storage"):
            kind, resource = name.split(".")
            assert name in only("ResourceQuota")["spec"]["hard"]
            assert resources[kind][resource]


def test_there_is_no_limit_range_that_would_give_every_pod_a_gpu() -> None:
    assert not of_kind("LimitRange")


@pytest.mark.parametrize(
    ("request_", "warm", "kept"), [(REQUEST, False, True), (GRADING, False, True), (REQUEST, True, False)]
)
def test_drains_wait_for_claimed_pods_and_not_for_warm_ones(request_: Request, warm: bool, kept: bool) -> None:
    pod = manifests.pod(request_, CLUSTER, name=NAME, warm=warm)
    budget = only("PodDisruptionBudget")["spec"]
    assert selects(budget["selector"], pod["metadata"]["labels"]) is kept
    assert budget["minAvailable"] > QUOTA.pods
    # Another form is for pods that a controller keeps.
    assert "maxUnavailable" not in budget


def test_every_pods_priority_exists_and_a_warm_one_pre_empts_nobody() -> None:
    classes = {each["metadata"]["name"]: each for each in of_kind("PriorityClass")}
    used = {
        manifests.pod(request, CLUSTER, name=NAME, warm=warm)["spec"]["priorityClassName"]
        for request in (REQUEST, GRADING, request_for(Network.INTERNET))
        for warm in (True, False)
    }
    trial = trial_pod.pod(REQUEST, CLUSTER, name=NAME)["spec"]["priorityClassName"]
    assert used | {trial} == classes.keys()
    assert not [each for each in classes.values() if each["globalDefault"]]
    interactive, warm_, grading = (classes[f"pupitre-{name}"] for name in ("interactive", "warm", "grading"))
    # A claimed pod keeps its priority: a warm one must not be easier to push out than one that was started cold.
    assert warm_["value"] == interactive["value"] > grading["value"]
    assert warm_["preemptionPolicy"] == grading["preemptionPolicy"] == classes[trial]["preemptionPolicy"] == "Never"
    # Whoever works or grades goes before a trial, and no autoscaler adds a node for one (its default cut-off is -10).
    assert classes[trial]["value"] < -10


def test_everything_of_a_namespace_is_in_the_sites() -> None:
    cluster_wide = {"Namespace", "PriorityClass"}
    places = {each["metadata"].get("namespace") for each in OBJECTS if each["kind"] not in cluster_wide}
    assert places == {"school-runtimes"}
    assert len({(each["kind"], each["metadata"]["name"]) for each in OBJECTS}) == len(OBJECTS)
