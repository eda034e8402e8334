"""A pod that tries an image is nobody's runtime and as small as can be; what its status says of the image. Pure."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest

from runtimes.image_trial import ImageTrial, Untried
from runtimes.machine import DataVolume, Gpu, Machine
from runtimes.pods import environment, labels, namespace, network, trial_pod
from runtimes.pods.namespace import Quota
from runtimes.provider import NotOffered, Request
from tests.runtimes.pods.policies import Cluster, Outside, Pod, selects
from tests.runtimes.pods.restricted import violations
from tests.runtimes.pods.samples import BEGAN, CLUSTER, DIGEST, NAME, PROFILE, REQUEST, SCHEDULED, condition, container

ROOM = Quota(300, 200, 800 << 30, 2 << 40)
ON_GPU = replace(
    PROFILE,
    accelerator=Gpu("nvidia-l4"),
    node_selector={"pool": "lab"},
    tolerations=({"key": "lab", "operator": "Exists"},),
    runtime_class="gvisor",
    scratch_bytes=1 << 30,
    data=DataVolume(bucket="sets", service_account="reader"),
)
GPU = replace(REQUEST, gpu=1, machine=ON_GPU, network="internet")  # type: ignore[arg-type]


def trial(request: Request = REQUEST, **config: Any) -> dict[str, Any]:
    return trial_pod.pod(request, replace(CLUSTER, **config), name=NAME)


def test_it_has_the_walls_of_every_pod_and_asks_for_hardly_anything() -> None:
    for request in (REQUEST, GPU):
        spec = trial(request, user_namespaces=True)["spec"]
        [only] = spec["containers"]
        assert violations(trial(request)) == []
        assert only["securityContext"]["readOnlyRootFilesystem"] is True
        assert spec["automountServiceAccountToken"] is spec["enableServiceLinks"] is spec["hostUsers"] is False
        assert "volumes" not in spec
        assert only["resources"]["requests"].keys() == {"cpu", "memory", "ephemeral-storage"}
        assert (spec["restartPolicy"], spec["activeDeadlineSeconds"]) == ("Never", 60)


def test_its_image_is_fetched_as_a_runtimes_would_be() -> None:
    spec = trial(GPU)["spec"]
    [only] = spec["containers"]
    assert (only["image"], only["imagePullPolicy"]) == (f"registry.example/kernel@{DIGEST}", "IfNotPresent")
    assert (spec["serviceAccountName"], spec["runtimeClassName"]) == ("reader", "gvisor")
    assert {"key": "lab", "operator": "Exists"} in spec["tolerations"]
    assert spec["nodeSelector"].items() >= {"pool": "lab", "cloud.google.com/gke-accelerator": "nvidia-l4"}.items()
    assert only["command"][-2:] == environment.check_command(GPU)[-2:]
    with pytest.raises(NotOffered):
        trial(replace(REQUEST, machine=Machine()))


def test_where_nodes_are_added_another_kind_of_node_will_do() -> None:
    """None of a GPU's may be up, and none is added for a trial."""
    spec = trial(GPU, adds_nodes=True)["spec"]
    assert "nodeSelector" not in spec
    assert spec["affinity"]["nodeAffinity"].keys() == {"preferredDuringSchedulingIgnoredDuringExecution"}
    assert "affinity" not in trial(adds_nodes=True)["spec"]


def test_it_is_no_runtime_to_whoever_lists_counts_or_keeps_them() -> None:
    its = trial()["metadata"]["labels"]
    runtimes = dict(pair.split("=") for pair in labels.selector(CLUSTER).split(","))
    assert not selects({"matchLabels": runtimes}, its)
    assert not {labels.STATE, labels.RUNTIME, labels.TEMPLATE} & its.keys()
    [budget] = [each for each in namespace.objects(CLUSTER, ROOM) if each["kind"] == "PodDisruptionBudget"]
    assert not selects(budget["spec"]["selector"], its)
    trials = dict(pair.split("=") for pair in trial_pod.selector(CLUSTER).split(","))
    assert selects({"matchLabels": trials}, its)
    assert not selects({"matchLabels": trials}, labels.of_pod(REQUEST, "x", CLUSTER, warm=True))


@pytest.mark.parametrize("request_", [REQUEST, GPU], ids=["usual", "internet"])
def test_it_reaches_nobody_and_nobody_reaches_it(request_: Request) -> None:
    policies = Cluster(network.policies(CLUSTER))
    made = Pod("school-runtimes", trial(request_)["metadata"]["labels"])
    client = {**labels.of_site(CLUSTER), labels.APP: labels.SITE_APP, labels.COMPONENT: "runtimes"}
    for port in (53, 80, 443, 988, 8080, 52317):
        for other in ("169.254.169.254", "93.184.216.34", "10.0.0.1"):
            assert not policies.may_connect(made, Outside(other), port)
        assert not policies.may_connect(Pod("school-site", client), made, port)


IMAGE = f"registry.example/kernel@{DIGEST}"
REFUSED = f'failed to pull and unpack image "{IMAGE}": failed to resolve reference "{IMAGE}": {IMAGE}: not found'
MISSING = "Traceback (most recent call last):\n  File \"<string>\"\nModuleNotFoundError: No module named 'ipykernel'\n"
NO_PROGRAM = 'exec: "/usr/bin/tini": stat /usr/bin/tini: no such file or directory: unknown'


def seen(state: dict[str, Any] | None, phase: str = "Pending", **status: Any) -> Any:
    pod = copy.deepcopy(trial())
    its = {"phase": phase, "conditions": [SCHEDULED], **status}
    pod["status"] = its if state is None else {**its, "containerStatuses": [container(state)]}
    return pod


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {"waiting": {"reason": reason, "message": message}}


def ended(code: int, reason: str = "Error", message: str = "") -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": reason, "message": message}}


@pytest.mark.parametrize(
    ("pod", "words"),
    [
        (seen(waiting("ErrImagePull", REFUSED)), f"ErrImagePull: {REFUSED}"),
        (seen(waiting("ImagePullBackOff", f"Back-off pulling image: {REFUSED}")), REFUSED),
        (seen(waiting("ErrImagePull", "pull access denied, insufficient_scope")), "pull access denied"),
        (seen(waiting("ErrImagePull", f"failed with status code [manifests {DIGEST}]: 401 Unauthorized")), "401"),
        (seen(waiting("ErrImagePull", "dial tcp: lookup registry.exmaple: no such host")), "no such host"),
        (seen(waiting("InvalidImageName", "couldn't parse image name")), "couldn't parse image name"),
        (seen(waiting("ErrImageNeverPull", "is not present with pull policy of Never")), "is not present"),
        (seen(waiting("CreateContainerConfigError", "image has non-numeric user")), "image has non-numeric user"),
        (seen(ended(128, "StartError", NO_PROGRAM), "Failed"), NO_PROGRAM),
        (
            seen(ended(1, message=MISSING), "Failed"),
            "a kernel cannot start in this image: ModuleNotFoundError: No module named 'ipykernel' (exit status 1)",
        ),
        (seen(ended(3), "Failed"), "a kernel cannot start in this image: Error (exit status 3)"),
    ],
)
def test_an_image_that_will_never_run_is_refused_in_the_clusters_words(pod: Any, words: str) -> None:
    found = trial_pod.verdict(pod, BEGAN, elsewhere=False)
    assert found is not None
    assert words in found.refusal
    assert found.untried is None


@pytest.mark.parametrize(
    ("pod", "why"),
    [
        (seen(None, "Failed", reason="Evicted", message="The node was low on resource"), Untried.FAULT),
        (seen(ended(137), "Failed"), Untried.FAULT),
        (seen(ended(137, "OOMKilled"), "Failed"), Untried.FAULT),
        (seen(None, conditions=[condition("PodScheduled", "False", reason="Unschedulable")]), Untried.ROOM),
        (seen(waiting("ContainerCreating")), Untried.SLOW),
        (seen(None, "Failed", reason="DeadlineExceeded"), Untried.SLOW),
        (seen(waiting("ErrImagePull", "toomanyrequests: rate limit")), Untried.FAULT),
        (seen(waiting("ErrImagePull", f"failed with status code [manifests {DIGEST}]: 500 Internal")), Untried.FAULT),
        (
            seen(waiting("ErrImagePull", 'failed to do request: Head "http://registry.example/v2/x": EOF')),
            Untried.FAULT,
        ),
        (seen(waiting("ErrImagePull", "unexpected status: 503 Service Unavailable")), Untried.FAULT),
        (seen(waiting("ErrImagePull", "dial tcp 10.0.0.9:443: i/o timeout")), Untried.FAULT),
    ],
)
def test_what_says_nothing_of_an_image_is_no_refusal(pod: Any, why: Untried) -> None:
    found = trial_pod.verdict(pod, BEGAN, elsewhere=False) or trial_pod.late(pod, BEGAN)
    assert (found.refusal, found.untried) == ("", why)


def test_an_image_that_is_named_like_a_fault_is_none() -> None:
    pod = seen(None)
    image = f"registry.example/timeout-lab@{DIGEST}"
    pod["spec"]["containers"][0]["image"] = image
    pod["status"]["containerStatuses"] = [container(waiting("ErrImagePull", f"{image}: not found"))]
    found = trial_pod.verdict(pod, BEGAN, elsewhere=False)
    assert found is not None
    assert found.refusal


def test_one_that_ends_well_is_fine_and_so_is_one_that_was_started() -> None:
    assert trial_pod.verdict(seen(ended(0, "Completed"), "Succeeded"), BEGAN, elsewhere=False) == ImageTrial()
    started = seen({"running": {}}, "Running", conditions=[condition("Ready", "True")], podIP="10.88.7.9")
    assert trial_pod.verdict(started, BEGAN, elsewhere=False) is None
    assert trial_pod.late(started, BEGAN) == ImageTrial()


@pytest.mark.parametrize(
    "state",
    [
        waiting("ErrImagePull", "no match for platform in manifest: not found"),
        ended(255, message="exec /usr/bin/env: exec format error"),
    ],
)
def test_what_another_kind_of_node_says_of_its_own_processor_is_no_refusal(state: dict[str, Any]) -> None:
    pod = seen(state, "Failed" if "terminated" in state else "Pending")
    there = trial_pod.verdict(pod, BEGAN, elsewhere=True)
    here = trial_pod.verdict(pod, BEGAN, elsewhere=False)
    assert there is not None
    assert here is not None
    assert (there.untried, here.untried, here.refusal != "") == (Untried.FAULT, None, True)
