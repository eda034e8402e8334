"""How a runtime is, from its pod as the API gives it. Pure: what is not in the pod is not known here.

An out-of-memory kill shows in the pod only where it takes the container (cgroup v2). On cgroup v1 it takes one process:
the pod says nothing, and the agent tells of the kernel that ended so. The place in the queue is the database's to say.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from runtimes.endpoint import Endpoint
from runtimes.pods import containers, labels, quotas, unplaced
from runtimes.pods.containers import Pod, moment, words
from runtimes.provider import NotReady, Owned, Phase, Reason, Status

#: How long the kubelet may try to fetch an image before the runtime counts as lost.
IMAGE_PATIENCE = timedelta(minutes=2)
#: How long a node may take over a pod's volumes, network and image: only since Kubernetes 1.36 it says which of them it
#: has (`PodReadyToStartContainers`, KEP 3085), and why it does not get on is in events, which are not read. Images of
#: GPU machines take minutes.
PREPARATION_PATIENCE = timedelta(minutes=15)
#: A node that has the image has made the container by then.
PREPARED_BY = timedelta(seconds=10)
#: How long a deleted pod may outlast its grace where nobody has heard of its node, and where the cluster has taken it
#: from a node that may still end it.
SILENT_PATIENCE, TAKEN_PATIENCE = timedelta(seconds=5), timedelta(seconds=15)

# Reasons of the condition DisruptionTarget (Kubernetes, "Pod disruption conditions").
_TAKEN = "DeletionByTaintManager"
_DISRUPTIONS = {
    "PreemptionByScheduler": Reason.PREEMPTED,
    _TAKEN: Reason.NODE_LOST,
    "DeletionByPodGC": Reason.NODE_LOST,
    "EvictionByEvictionAPI": Reason.EVICTED,
    "TerminationByKubelet": Reason.EVICTED,
}
# Reasons of a failed pod: the kubelet's, and what it says where it does not even begin (OutOfcpu, OutOfmemory, …).
_FAILURES = {
    "Evicted": Reason.EVICTED,
    "Terminated": Reason.EVICTED,
    "NodeShutdown": Reason.EVICTED,
    "NodeAffinity": Reason.EVICTED,
    "UnexpectedAdmissionError": Reason.EVICTED,
    "Preempting": Reason.PREEMPTED,
}
# The kubelet's words for a pod that is evicted for what it wrote itself (eviction manager, local storage).
_OWN_DISK = re.compile(r"Usage of EmptyDir volume|ephemeral local storage usage|local ephemeral storage limit")
# The kubelet's word for a container of the pod that is not ready, such as a sidecar of the cluster's.
_OTHER_CONTAINER = "ContainersNotReady"


def status(pod: Pod, now: datetime, *, grows: bool = False) -> Status:
    """The pod as the contract's status; `deadline`, `ready_at` and the walls come with each.

    grows: an autoscaler adds nodes for pods that have none, up to a number that is not known here."""
    found = _phase(pod, now, grows)
    ready = _condition(pod, "Ready")
    isolation = tuple(code for code in labels.annotation(pod, labels.ISOLATION).split(",") if code)
    ready_at = moment(ready.get("lastTransitionTime")) if ready.get("status") == "True" else None
    ended_at = containers.ended_at(pod) if found.phase.final else None
    return replace(found, deadline=deadline(pod), ready_at=ready_at, ended_at=ended_at, isolation=isolation)


def refused(code: int, message: str) -> Status | None:
    """What it means that a pod was not created (HTTP status and message of the API's answer); None where asking again
    may help."""
    if code == 403 and quotas.exceeded(message):
        # It waits for a larger quota, or for others to end.
        reason = Reason.NO_MACHINE if quotas.beyond_all(message) else Reason.QUOTA_EXCEEDED
        return Status(Phase.QUEUED, reason, message)
    if code in (400, 403, 404, 422):
        return Status(Phase.LOST, Reason.ERROR, message)
    return None


def is_over(pod: Pod) -> bool:
    """Nothing of it runs any more, and it counts against no quota."""
    return _state(pod).get("phase") in ("Succeeded", "Failed")


def restarts(pod: Pod) -> int:
    """How often its container was started again."""
    return int(containers.of(pod).get("restartCount", 0))


def is_ready(pod: Pod) -> bool:
    """Its agent answers, and nobody ends it."""
    return (
        _condition(pod, "Ready").get("status") == "True"
        and "deletionTimestamp" not in pod["metadata"]
        and bool(_state(pod).get("podIP"))
    )


def is_abandoned(pod: Pod, now: datetime) -> bool:
    """It is deleted and should be gone, and whoever ends processes on its node does not answer."""
    due = moment(pod["metadata"].get("deletionTimestamp"))
    if due is None:
        return False
    if _is_silent(pod):
        return now - due >= SILENT_PATIENCE
    # It may never have begun there; a kubelet that lives is rid of it by then.
    taken = _condition(pod, "DisruptionTarget")
    return taken.get("status") == "True" and taken.get("reason") == _TAKEN and now - due >= TAKEN_PATIENCE


def deadline(pod: Pod) -> datetime | None:
    """When the kubelet ends it at the latest; None before it has taken it on."""
    began, seconds = moment(_state(pod).get("startTime")), pod["spec"].get("activeDeadlineSeconds")
    return began + timedelta(seconds=seconds) if began and seconds else None


def endpoint(pod: Pod) -> Endpoint:
    """Where it listens. Raises NotReady before it does, or without an IPv4 address."""
    if not is_ready(pod):
        raise NotReady(f"pod {pod['metadata']['name']} is not ready")
    state = _state(pod)
    addresses = [state["podIP"], *(each["ip"] for each in state.get("podIPs", ()))]
    host = next((text for text in addresses if ipaddress.ip_address(text).version == 4), None)
    if host is None:
        raise NotReady(f"pod {pod['metadata']['name']} has no IPv4 address, on which its agent listens")
    return Endpoint("tcp", host, pod["metadata"]["name"], int(labels.annotation(pod, labels.KEY_VERSION)))


def owned(pod: Pod, now: datetime, *, grows: bool = False) -> Owned:
    """The pod as a reconciler compares it with rows."""
    return Owned(labels.label(pod, labels.RUNTIME), pod["metadata"]["name"], status(pod, now, grows=grows))


# --- inside


def _phase(pod: Pod, now: datetime, grows: bool) -> Status:
    state, leaving = _state(pod), "deletionTimestamp" in pod["metadata"]
    if state.get("phase") == "Succeeded" and not leaving:
        # By its own switch: see `runtimes.agent.switch`.
        return Status(Phase.STOPPED, Reason.IDLE, "its agent ended in good order", exit_code=0)
    # SIGTERM ends a deleted pod's container, and the pod has then failed, too, for no reason of its own.
    if state.get("phase") == "Failed" and (state.get("reason") or not leaving):
        return _failed(pod)
    if leaving:
        return _leaving(pod)
    if _is_silent(pod):
        return Status(Phase.UNREACHABLE, Reason.NODE_LOST, words(state) or words(_condition(pod, "Ready")))
    if _condition(pod, "PodScheduled").get("status") == "False":
        scheduled = _condition(pod, "PodScheduled")
        return unplaced.status(words(scheduled), moment(scheduled.get("lastTransitionTime")), now, grows=grows)
    if is_ready(pod):
        return Status(Phase.READY, *containers.after_restart(pod))
    return _not_ready(pod, now)


def _is_silent(pod: Pod) -> bool:
    """Nobody has heard of its node for a while: the cluster says so of a pod that was well, and leaves the rest as it
    was (Kubernetes, node lifecycle controller)."""
    state, ready = _state(pod), _condition(pod, "Ready")
    if state.get("phase") == "Unknown" or state.get("reason") == "NodeLost":
        return True
    well = bool(containers.of(pod).get("ready")) and ready.get("reason") != _OTHER_CONTAINER
    return well and bool(ready) and ready.get("status") != "True"


def _not_ready(pod: Pod, now: datetime) -> Status:
    sandbox = _condition(pod, "PodReadyToStartContainers")
    since = moment(sandbox.get("lastTransitionTime"))
    waited = now - since if since is not None else timedelta(0)
    if sandbox.get("status") == "False" and waited >= PREPARATION_PATIENCE:
        why = "its volumes, its network or its image did not get ready: see the events of the pod"
        return Status(Phase.LOST, Reason.ERROR, why)
    if not containers.waiting(pod):
        return Status(Phase.STARTING, *containers.after_restart(pod))
    if containers.is_made(pod) and waited >= PREPARED_BY:
        return Status(Phase.STARTING, Reason.FETCHING)
    scheduled_at = moment(_condition(pod, "PodScheduled").get("lastTransitionTime"))
    patient = scheduled_at is None or now - scheduled_at < IMAGE_PATIENCE
    return containers.waits(pod, now, patient=patient, was_ready=_was_ready(pod))


def _was_ready(pod: Pod) -> bool:
    """Whether one that is not ready has been: its kubelet says that it is not as it takes it on, and then not again
    before that has changed twice. Both times are whole seconds, written one after the other."""
    since, began = moment(_condition(pod, "Ready").get("lastTransitionTime")), moment(_state(pod).get("startTime"))
    return since is not None and began is not None and since - began > timedelta(seconds=1)


def _leaving(pod: Pod) -> Status:
    # What we delete is being released, and nobody asks then.
    disruption = _disruption(pod) or Status(Phase.LOST, Reason.DELETED, "the pod is deleted, and not by this site")
    # Its agent serves on within the grace (see `runtimes.agent.switch`), where its node is one that can be spoken to.
    serves = _serves(pod) and disruption.reason is not Reason.NODE_LOST
    return replace(disruption, phase=Phase.ENDING) if serves else disruption


def _serves(pod: Pod) -> bool:
    container = containers.of(pod)
    return "running" in container.get("state", {}) and bool(container.get("started") or container.get("ready"))


def _failed(pod: Pod) -> Status:
    state, said = _state(pod), words(_state(pod))
    why = state.get("reason", "")
    if why == "DeadlineExceeded":
        return Status(Phase.STOPPED, Reason.LIFETIME, said)
    if why == "Evicted" and _OWN_DISK.search(said):
        return Status(Phase.LOST, Reason.DISK_FULL, said)
    disruption = _disruption(pod)
    if disruption is not None:
        return disruption
    if why in _FAILURES or why.startswith("OutOf"):
        return Status(Phase.LOST, _FAILURES.get(why, Reason.EVICTED), said)
    terminated = containers.of(pod).get("state", {}).get("terminated", {})
    return containers.ended(terminated, containers.memory_words(pod, terminated) or said)


def _disruption(pod: Pod) -> Status | None:
    target = _condition(pod, "DisruptionTarget")
    if target.get("status") != "True":
        return None
    return Status(Phase.LOST, _DISRUPTIONS.get(target.get("reason", ""), Reason.EVICTED), words(target))


def _state(pod: Pod) -> Mapping[str, Any]:
    return pod.get("status") or {}


def _condition(pod: Pod, kind: str) -> Mapping[str, Any]:
    conditions = _state(pod).get("conditions") or ()
    return next((each for each in conditions if each["type"] == kind), {})
