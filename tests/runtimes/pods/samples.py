"""What tests of pods share: a site's cluster, profiles, and pods as the API gives them."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from typing import Any

from runtimes.machine import Machine
from runtimes.pods import labels, manifests
from runtimes.pods.config import ClusterConfig, Index
from runtimes.provider import Limits, Network, Request

DIGEST = "sha256:" + "ab" * 32
INDEX = Index("mirrors", {"app": "devpi"}, 3141)
CLUSTER = ClusterConfig(
    site="school",
    namespace="school-runtimes",
    site_namespace="school-site",
    policies_enforced=True,
    cluster_networks=("10.88.7.0/24", "34.118.224.0/20", "35.190.0.7/32", "2600:1900:4000::/64", "fd00:88::/112"),
    dns_networks=("169.254.20.10/32",),
    index=INDEX,
    index_url="http://devpi.mirrors:3141/simple/",
)
PROFILE = Machine("small", f"registry.example/kernel@{DIGEST}")
REQUEST = Request("ada-1", limits=Limits(lifetime=timedelta(hours=2)), kernels=1, machine=PROFILE)
GRADING = Request("job-1", purpose="grading", machine=PROFILE)
BEGAN = datetime(2026, 11, 25, 8, 0, tzinfo=UTC)
NAME = "rt-0123456789abcdef0123"


def request_for(network: Network) -> Request:
    return Request(f"runtime-{network}", network=network, machine=PROFILE)


def text(moment: datetime) -> str:
    """As the API writes a time."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def condition(kind: str, status: str, **more: str) -> dict[str, str]:
    return {"type": kind, "status": status, "lastTransitionTime": text(BEGAN), **more}


def seen(status: dict[str, Any], *, request: Request = REQUEST, warm: bool = False, **metadata: str) -> dict[str, Any]:
    """A pod of ours as the API gives it, with this status."""
    pod = copy.deepcopy(manifests.pod(request, CLUSTER, name=NAME, warm=warm))
    pod["metadata"] |= {"uid": "0a1b", "creationTimestamp": text(BEGAN), **metadata}
    pod["status"] = status
    return pod


def node(taints: list[dict[str, str]] | None = None, its_labels: dict[str, str] | None = None, **more: str) -> Any:
    """As the API gives it, with this of what it has."""
    has = {"cpu": "4", "memory": "16Gi", "ephemeral-storage": "100Gi", "pods": "110", **more}
    return {"metadata": {"labels": its_labels or {}}, "spec": {"taints": taints or []}, "status": {"allocatable": has}}


SCHEDULED = condition("PodScheduled", "True")
READY = condition("Ready", "True")


def container(state: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": labels.CONTAINER, "state": state, "ready": False, "restartCount": 0, "lastState": {}, **more}


def unscheduled(message: str, reason: str = "Unschedulable") -> dict[str, Any]:
    """The status of a pod that the scheduler says so of."""
    return {"phase": "Pending", "conditions": [condition("PodScheduled", "False", reason=reason, message=message)]}


def running(**more: Any) -> dict[str, Any]:
    """The status of a pod that runs and is ready; `more` replaces parts of it."""
    healthy = container({"running": {"startedAt": text(BEGAN)}}, ready=True)
    return {
        "phase": "Running",
        "startTime": text(BEGAN),
        "podIP": "10.88.7.20",
        "podIPs": [{"ip": "10.88.7.20"}],
        "conditions": [SCHEDULED, READY],
        "containerStatuses": [healthy],
        **more,
    }


def warm_pod(**more: Any) -> dict[str, Any]:
    return seen(running(**more), warm=True)


def template() -> str:
    return manifests.template_digest(REQUEST, CLUSTER)
