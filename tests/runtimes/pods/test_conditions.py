"""What a pod tells becomes a phase, a reason and a sentence. Pods are dictionaries as the API gives them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils.translation import override

from runtimes import borrow
from runtimes.pods import conditions, containers, unplaced
from runtimes.provider import NotReady, Phase, Reason
from runtimes.status import ALL_KEPT, ENDED_SENTENCES, LAST_SAVED, REASON_SENTENCES
from tests.runtimes.pods.samples import (
    BEGAN,
    NAME,
    READY,
    REQUEST,
    SCHEDULED,
    condition,
    container,
    running,
    seen,
    text,
    unscheduled,
    warm_pod,
)

NOW = BEGAN + timedelta(seconds=30)
MUCH_LATER = BEGAN + conditions.IMAGE_PATIENCE
GPU_SHORT = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu. preemption: 0/3 nodes are available."
CPU_SHORT = "0/3 nodes are available: 3 Insufficient cpu."
QUOTA = 'pods "rt-1" is forbidden: exceeded quota: runtimes, requested: pods=1, used: pods=300, limited: pods=300'
TOO_SMALL_QUOTA = (
    'pods "rt-1" is forbidden: exceeded quota: runtimes, requested: limits.memory=16Gi,pods=1, '
    "used: limits.memory=2Gi,pods=3, limited: limits.memory=8Gi,pods=300"
)
OTHER_QUOTA = 'pods "rt-1" is forbidden: exceeded quota: runtimes, see the handbook'
OOM = {"terminated": {"reason": "OOMKilled", "exitCode": 137}}
KILLED = {"terminated": {"reason": "Error", "exitCode": 137}}
STARTABLE = condition("PodReadyToStartContainers", "True")
CRASH = {"terminated": {"reason": "Error", "exitCode": 139}}


def waiting(reason: str, **last: Any) -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": "as the kubelet says"}}
    return {
        "phase": "Pending",
        "startTime": text(BEGAN),
        "conditions": [SCHEDULED],
        "containerStatuses": [container(state, **last)],
    }


def failed(reason: str = "", message: str = "", state: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    said = {key: value for key, value in (("reason", reason), ("message", message)) if value}
    ended = [container(state)] if state else []
    return {"phase": "Failed", "startTime": text(BEGAN), "containerStatuses": ended, **said, **more}


def restarted(last: dict[str, Any], *, ready: bool = True) -> dict[str, Any]:
    again = container({"running": {}}, ready=ready, restartCount=1, lastState=last)
    return running(containerStatuses=[again], conditions=[SCHEDULED, *([READY] if ready else [])])


def held_back(last: dict[str, Any], *, ended: float, was_ready: bool = True) -> dict[str, Any]:
    """As the kubelet of Kubernetes 1.35 tells of a container that it lets wait after its second end in a while; ended:
    at this second, having been ready just before, or never."""
    state = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting failed container"}}
    finished = {"terminated": {**last["terminated"], "finishedAt": text(BEGAN + timedelta(seconds=ended))}}
    unready = BEGAN + timedelta(seconds=ended if was_ready else 1)
    well = condition("Ready", "False", reason="ContainersNotReady") | {"lastTransitionTime": text(unready)}
    again = container(state, restartCount=1, started=False, lastState=finished)
    return running(conditions=[STARTABLE, SCHEDULED, well], containerStatuses=[again])


def disrupted(reason: str) -> list[dict[str, str]]:
    return [SCHEDULED, READY, condition("DisruptionTarget", "True", reason=reason)]


TABLE: dict[str, tuple[dict[str, Any], Phase, Reason]] = {
    "just created": ({}, Phase.STARTING, Reason.NONE),
    "pending, not looked at": ({"phase": "Pending"}, Phase.STARTING, Reason.NONE),
    "no node has room": (unscheduled(CPU_SHORT), Phase.QUEUED, Reason.CAPACITY_WAIT),
    "no GPU is free": (unscheduled(GPU_SHORT), Phase.QUEUED, Reason.ACCELERATOR_WAIT),
    "no TPU is free": (unscheduled("1 Insufficient google.com/tpu"), Phase.QUEUED, Reason.ACCELERATOR_WAIT),
    "no node matches yet": (
        unscheduled("0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."),
        Phase.QUEUED,
        Reason.NO_MACHINE,
    ),
    "its nodes are drained": (
        unscheduled(
            "0/3 nodes are available: 1 node(s) were unschedulable, 2 node(s) had untolerated taint {a: b}. "
            "preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
        ),
        Phase.QUEUED,
        Reason.NO_MACHINE,
    ),
    "it is too large for the nodes that are not drained": (
        unscheduled(
            "0/4 nodes are available: 1 node(s) were unschedulable, 3 Insufficient memory. "
            "no new claims to deallocate, "
            "preemption: 0/4 nodes are available: 4 Preemption is not helpful for scheduling."
        ),
        Phase.QUEUED,
        Reason.NO_MACHINE,
    ),
    "no node has a GPU": (
        unscheduled(
            "0/1 nodes are available: 1 Insufficient nvidia.com/gpu. "
            "preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
        ),
        Phase.QUEUED,
        Reason.NO_MACHINE,
    ),
    "those that have a GPU are full": (
        unscheduled(
            "0/12 nodes are available: 12 Insufficient nvidia.com/gpu. preemption: 0/12 nodes are available: "
            "1 No preemption victims found for incoming pod, 11 Preemption is not helpful for scheduling."
        ),
        Phase.QUEUED,
        Reason.ACCELERATOR_WAIT,
    ),
    "one of its nodes is full": (
        unscheduled("0/3 nodes are available: 1 Too many pods, 2 node(s) didn't match Pod's node affinity/selector."),
        Phase.QUEUED,
        Reason.CAPACITY_WAIT,
    ),
    "there are no nodes": (unscheduled("no nodes available to schedule pods"), Phase.QUEUED, Reason.NO_MACHINE),
    "its data sets are not there": (
        unscheduled('0/1 nodes are available: persistentvolumeclaim "sets" not found. not found'),
        Phase.LOST,
        Reason.ERROR,
    ),
    "its volume is being made": (
        unscheduled("0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims."),
        Phase.QUEUED,
        Reason.NO_MACHINE,
    ),
    "held by a gate": (unscheduled("", "SchedulingGated"), Phase.QUEUED, Reason.CAPACITY_WAIT),
    "scheduled": ({"phase": "Pending", "conditions": [SCHEDULED]}, Phase.STARTING, Reason.NONE),
    "container is made": (waiting("ContainerCreating"), Phase.STARTING, Reason.NONE),
    "image fails once": (waiting("ErrImagePull"), Phase.STARTING, Reason.IMAGE_PULL),
    "image fails again": (waiting("ImagePullBackOff"), Phase.STARTING, Reason.IMAGE_PULL),
    "image is never there": (waiting("ErrImageNeverPull"), Phase.LOST, Reason.IMAGE_PULL),
    "image has no name": (waiting("InvalidImageName"), Phase.LOST, Reason.IMAGE_PULL),
    "container is refused": (waiting("CreateContainerConfigError"), Phase.LOST, Reason.ERROR),
    "crash loop": (waiting("CrashLoopBackOff", lastState=CRASH, restartCount=3), Phase.LOST, Reason.KERNEL_CRASH),
    "crash loop for memory": (waiting("CrashLoopBackOff", lastState=OOM), Phase.LOST, Reason.OUT_OF_MEMORY),
    "crash loop without a program": (
        waiting("CrashLoopBackOff", lastState={"terminated": {"reason": "StartError", "exitCode": 128}}),
        Phase.LOST,
        Reason.ERROR,
    ),
    "runs, agent not there yet": (
        running(conditions=[SCHEDULED], containerStatuses=[container({"running": {}})]),
        Phase.STARTING,
        Reason.NONE,
    ),
    "ready": (running(), Phase.READY, Reason.NONE),
    "memory ran out on cgroup v2, again ready": (restarted(OOM), Phase.READY, Reason.OUT_OF_MEMORY),
    "memory ran out on cgroup v2, on its way": (restarted(OOM, ready=False), Phase.STARTING, Reason.OUT_OF_MEMORY),
    "agent crashed, again ready": (restarted(CRASH), Phase.READY, Reason.KERNEL_CRASH),
    "memory ran out for good": (failed(state=OOM), Phase.LOST, Reason.OUT_OF_MEMORY),
    "crashed for good": (failed(state=CRASH), Phase.LOST, Reason.KERNEL_CRASH),
    "failed without a word": (failed(), Phase.LOST, Reason.ERROR),
    "lost with its node's memory": (
        failed(state={"terminated": {"reason": "ContainerStatusUnknown", "exitCode": 137}}),
        Phase.LOST,
        Reason.NODE_LOST,
    ),
    "evicted for the node": (
        failed("Evicted", "The node was low on resource: memory."),
        Phase.LOST,
        Reason.EVICTED,
    ),
    "evicted for its scratch": (
        failed("Evicted", 'Usage of EmptyDir volume "scratch" exceeds the limit "1Gi". '),
        Phase.LOST,
        Reason.DISK_FULL,
    ),
    "evicted for its disk": (
        failed("Evicted", "Pod ephemeral local storage usage exceeds the total limit of containers 1Gi. "),
        Phase.LOST,
        Reason.DISK_FULL,
    ),
    "evicted for its container's disk": (
        failed("Evicted", 'Container runtime exceeded its local ephemeral storage limit "1Gi". '),
        Phase.LOST,
        Reason.DISK_FULL,
    ),
    "node shut down": (failed("Terminated", "Pod was terminated"), Phase.LOST, Reason.EVICTED),
    "node had no room after all": (failed("OutOfnvidia.com/gpu"), Phase.LOST, Reason.EVICTED),
    "kubelet made room": (
        failed("Preempting", "Preempted in order to admit it"),
        Phase.LOST,
        Reason.PREEMPTED,
    ),
    "its node was deleted": (
        failed(conditions=disrupted("DeletionByPodGC"), containerStatuses=[container({"running": {}}, ready=True)]),
        Phase.LOST,
        Reason.NODE_LOST,
    ),
    "kubelet terminated it": (
        failed(state=CRASH, conditions=disrupted("TerminationByKubelet")),
        Phase.LOST,
        Reason.EVICTED,
    ),
    "deadline": (
        failed("DeadlineExceeded", "Pod was active on the node longer than the specified deadline"),
        Phase.STOPPED,
        Reason.LIFETIME,
    ),
    "ended by its own switch": ({"phase": "Succeeded"}, Phase.STOPPED, Reason.IDLE),
    "node silent": (
        running(conditions=[SCHEDULED, condition("Ready", "False")]),
        Phase.UNREACHABLE,
        Reason.NODE_LOST,
    ),
    "node silent, unknown": (
        running(conditions=[SCHEDULED, condition("Ready", "Unknown", reason="NodeStatusUnknown")]),
        Phase.UNREACHABLE,
        Reason.NODE_LOST,
    ),
    "a sidecar is not well": (
        running(conditions=[SCHEDULED, condition("Ready", "False", reason="ContainersNotReady")]),
        Phase.STARTING,
        Reason.NONE,
    ),
    "node lost": (running(reason="NodeLost"), Phase.UNREACHABLE, Reason.NODE_LOST),
    "phase unknown": ({"phase": "Unknown"}, Phase.UNREACHABLE, Reason.NODE_LOST),
}
LEAVING: dict[str, tuple[dict[str, Any], Reason, Phase]] = {
    "its agent has ended, as it was told": ({"phase": "Succeeded"}, Reason.DELETED, Phase.LOST),
    "deleted": (running(), Reason.DELETED, Phase.ENDING),
    "deleted, ended by SIGTERM": (
        failed(state={"terminated": {"reason": "Error", "exitCode": 143}}),
        Reason.DELETED,
        Phase.LOST,
    ),
    "deleted while it waited": (unscheduled(CPU_SHORT), Reason.DELETED, Phase.LOST),
    "deleted, and told so before it could begin": (waiting("ContainerCreating"), Reason.DELETED, Phase.LOST),
    "pre-empted, its agent ended as it was told": (
        {"phase": "Succeeded", "conditions": disrupted("PreemptionByScheduler")},
        Reason.PREEMPTED,
        Phase.LOST,
    ),
    "pre-empted, ended by SIGTERM": (
        failed(
            state={"terminated": {"reason": "Error", "exitCode": 143}}, conditions=disrupted("PreemptionByScheduler")
        ),
        Reason.PREEMPTED,
        Phase.LOST,
    ),
    "deleted after its deadline": (failed("DeadlineExceeded"), Reason.LIFETIME, Phase.STOPPED),
    # While its agent answers, what is there can be fetched.
    "pre-empted": (running(conditions=disrupted("PreemptionByScheduler")), Reason.PREEMPTED, Phase.ENDING),
    "drained": (running(conditions=disrupted("EvictionByEvictionAPI")), Reason.EVICTED, Phase.ENDING),
    "drained, no longer well": (
        running(
            conditions=disrupted("EvictionByEvictionAPI"), containerStatuses=[container({"running": {}}, started=True)]
        ),
        Reason.EVICTED,
        Phase.ENDING,
    ),
    "drained before it was ready": (
        running(
            conditions=disrupted("EvictionByEvictionAPI"), containerStatuses=[container({"running": {}}, started=False)]
        ),
        Reason.EVICTED,
        Phase.LOST,
    ),
    "drained, its agent has ended": (
        running(conditions=disrupted("EvictionByEvictionAPI"), containerStatuses=[container(CRASH, started=False)]),
        Reason.EVICTED,
        Phase.LOST,
    ),
    "node tainted": (running(conditions=disrupted("DeletionByTaintManager")), Reason.NODE_LOST, Phase.LOST),
    "node gone": (running(conditions=disrupted("DeletionByPodGC")), Reason.NODE_LOST, Phase.LOST),
}


@pytest.mark.parametrize("case", TABLE)
def test_what_a_pod_tells_is_a_phase_and_a_reason(case: str) -> None:
    status, phase, reason = TABLE[case]
    found = conditions.status(seen(status), NOW)
    assert (found.phase, found.reason) == (phase, reason)


@pytest.mark.parametrize("case", LEAVING)
def test_a_pod_that_is_being_deleted_ends_for_the_reason_that_it_gives(case: str) -> None:
    status, reason, phase = LEAVING[case]
    found = conditions.status(seen(status, deletionTimestamp=text(NOW)), NOW)
    assert (found.phase, found.reason) == (phase, reason)


# What the cluster leaves of a pod whose node is silent: only its Ready is no longer true.
SILENT = [SCHEDULED, condition("Ready", "False")]
TAKEN = condition("DisruptionTarget", "True", reason="DeletionByTaintManager")


@pytest.mark.parametrize(
    ("status", "seconds", "abandoned"),
    [
        (running(conditions=SILENT), 4, False),
        (running(conditions=SILENT), 5, True),
        # A kubelet that lives says so, however long it takes.
        (running(), 3600, False),
        (waiting("ContainerCreating"), 3600, False),
        (running(conditions=[SCHEDULED, condition("Ready", "False", reason="ContainersNotReady")]), 3600, False),
        (running(conditions=disrupted("EvictionByEvictionAPI")), 3600, False),
        (running(conditions=disrupted("DeletionByTaintManager")), 14, False),
        (waiting("ContainerCreating") | {"conditions": [SCHEDULED, TAKEN]}, 15, True),
    ],
)
def test_a_deleted_pod_is_abandoned_only_where_nobody_answers_for_its_node(
    status: dict[str, Any], seconds: int, abandoned: bool
) -> None:
    pod = seen(status, deletionTimestamp=text(NOW))
    assert conditions.is_abandoned(pod, NOW + timedelta(seconds=seconds)) is abandoned


def test_a_pod_that_nobody_deleted_is_never_abandoned() -> None:
    assert not conditions.is_abandoned(seen(running(conditions=SILENT)), NOW + timedelta(days=1))


@pytest.mark.parametrize("why", ["ErrImagePull", "ImagePullBackOff"])
def test_an_image_that_cannot_be_fetched_is_given_up_after_a_while(why: str) -> None:
    pod = seen(waiting(why))
    assert conditions.status(pod, MUCH_LATER - timedelta(seconds=1)).phase is Phase.STARTING
    found = conditions.status(pod, MUCH_LATER)
    assert (found.phase, found.reason) == (Phase.LOST, Reason.IMAGE_PULL)
    assert "as the kubelet says" in found.message


@pytest.mark.parametrize(("message", "then"), [(CPU_SHORT, Reason.CAPACITY_WAIT), (GPU_SHORT, Reason.ACCELERATOR_WAIT)])
def test_where_nodes_are_added_who_has_none_waits_for_a_new_one_for_a_while(message: str, then: Reason) -> None:
    pod, late = seen(unscheduled(message)), BEGAN + unplaced.GROWTH_PATIENCE
    before = late - timedelta(seconds=1)
    assert conditions.status(pod, before, grows=True).reason is Reason.SCALING_UP
    assert conditions.owned(pod, before, grows=True).status.reason is Reason.SCALING_UP
    assert conditions.status(pod, late, grows=True).reason is then
    assert conditions.status(pod, before).reason is then


def test_volumes_that_do_not_get_ready_are_given_up_after_a_while_and_an_image_that_is_fetched_is_not() -> None:
    """As where a bucket may not be read: the pod says no more than this."""
    late = BEGAN + conditions.PREPARATION_PATIENCE
    made = waiting("ContainerCreating")
    without, within = (condition("PodReadyToStartContainers", status) for status in ("False", "True"))
    pod = seen({**made, "conditions": [SCHEDULED, without]})
    assert conditions.status(pod, late - timedelta(seconds=1)).phase is Phase.STARTING
    found = conditions.status(pod, late)
    assert (found.phase, found.reason) == (Phase.LOST, Reason.ERROR)
    assert "volumes" in found.message
    assert conditions.status(seen({**made, "conditions": [SCHEDULED, within]}), late).phase is Phase.STARTING


@pytest.mark.parametrize(
    ("last", "reason"), [(OOM, Reason.OUT_OF_MEMORY), (KILLED, Reason.KERNEL_CRASH), (CRASH, Reason.KERNEL_CRASH)]
)
def test_what_was_ready_and_ended_again_comes_back_by_itself(last: dict[str, Any], reason: Reason) -> None:
    """The same cell once more, on cgroup v2: the kubelet waits before it goes on, with the disk that it had."""
    pod = seen(held_back(last, ended=30))
    found = conditions.status(pod, NOW)
    assert (found.phase, found.reason) == (Phase.STARTING, reason)
    given_up = NOW + containers.RESTART_PATIENCE
    assert conditions.status(pod, given_up - timedelta(seconds=1)) == found
    late = conditions.status(pod, given_up)
    assert (late.phase, late.reason) == (Phase.LOST, reason)
    assert "back-off" in late.message


def test_one_end_is_told_in_the_same_words_while_it_waits_and_when_it_runs_again() -> None:
    """What the keeper of its row goes by: kernels that run again did not die of it once more."""
    waits = conditions.status(seen(held_back(OOM, ended=30)), NOW)
    again = container({"running": {}}, restartCount=2, lastState=OOM)
    starts = conditions.status(seen(running(conditions=[SCHEDULED], containerStatuses=[again])), NOW)
    runs = conditions.status(seen(running(containerStatuses=[again | {"ready": True}])), NOW)
    assert runs.phase is Phase.READY
    assert waits.message == starts.message == runs.message
    assert waits.message.startswith("ended 2 times and is started again: OOMKilled; its memory limit is")


@pytest.mark.parametrize("last", [OOM, KILLED, CRASH])
def test_what_ends_again_and_was_never_ready_is_lost_at_once(last: dict[str, Any]) -> None:
    assert conditions.status(seen(held_back(last, ended=30, was_ready=False)), NOW).phase is Phase.LOST


def test_what_was_ready_and_whose_program_is_no_longer_there_is_lost_at_once() -> None:
    gone = {"terminated": {"reason": "StartError", "exitCode": 128}}
    found = conditions.status(seen(held_back(gone, ended=30)), NOW)
    assert (found.phase, found.reason) == (Phase.LOST, Reason.ERROR)


@pytest.mark.parametrize("startable", ["True", "False"], ids=["Kubernetes 1.36", "Kubernetes 1.35"])
def test_an_image_that_takes_minutes_is_told_of_and_waited_for(startable: str) -> None:
    """Until 1.35 a kubelet says that nothing is there while it fetches the image, as while it attaches volumes: seen
    with a registry that does not answer."""
    prepared = [SCHEDULED, condition("PodReadyToStartContainers", startable), condition("Ready", "False")]
    pod = seen({**waiting("ContainerCreating"), "conditions": prepared})
    assert conditions.status(pod, BEGAN + timedelta(seconds=9)).reason is Reason.NONE
    for minutes in (1, 10):
        found = conditions.status(pod, BEGAN + timedelta(minutes=minutes))
        assert (found.phase, found.reason) == (Phase.STARTING, Reason.FETCHING)
    failed_once = seen({**waiting("ErrImagePull"), "conditions": prepared})
    assert conditions.status(failed_once, NOW).reason is Reason.IMAGE_PULL


def test_on_cgroup_v1_the_pod_says_nothing_of_a_kernel_killed_for_memory() -> None:
    """One process dies there and the container goes on: the agent tells (`ExitReason.OUT_OF_MEMORY`)."""
    found = conditions.status(seen(running()), NOW)
    assert (found.phase, found.reason, found.message) == (Phase.READY, Reason.NONE, "")


@pytest.mark.parametrize("status", [restarted(OOM), failed(state=OOM)])
def test_an_operator_reads_how_much_memory_there_was(status: dict[str, Any]) -> None:
    found = conditions.status(seen(status), NOW)
    assert f"its memory limit is {REQUEST.limits.memory_bytes}" in found.message
    assert "OOMKilled" in found.message


def test_exit_codes_are_kept() -> None:
    assert conditions.status(seen(failed(state=CRASH)), NOW).exit_code == 139
    assert conditions.status(seen(failed(state=OOM)), NOW).exit_code == 137


def test_a_restart_is_told_with_how_often() -> None:
    assert conditions.status(seen(restarted(CRASH)), NOW).message == "ended 1 times and is started again: Error"


def test_a_ready_pod_tells_since_when_until_when_and_behind_which_walls() -> None:
    found = conditions.status(seen(running()), NOW)
    assert found.ready_at == BEGAN
    assert found.deadline == BEGAN + REQUEST.limits.lifetime
    assert found.isolation == ("pod", "seccomp", "memory-cgroup", "cpu-cgroup", "network-none")
    assert found.isolation_words


def test_a_pod_that_no_node_has_yet_has_no_deadline() -> None:
    found = conditions.status(seen(unscheduled(GPU_SHORT)), NOW)
    assert (found.deadline, found.ready_at) == (None, None)
    assert found.message == f"Unschedulable: {GPU_SHORT}"


@pytest.mark.parametrize(
    ("code", "message", "phase", "reason"),
    [
        (403, QUOTA, Phase.QUEUED, Reason.QUOTA_EXCEEDED),
        (403, OTHER_QUOTA, Phase.QUEUED, Reason.QUOTA_EXCEEDED),
        (403, TOO_SMALL_QUOTA, Phase.QUEUED, Reason.NO_MACHINE),
        (403, 'pods "rt-1" is forbidden: violates PodSecurity "restricted:latest"', Phase.LOST, Reason.ERROR),
        (422, 'Pod "rt-1" is invalid: spec.priorityClassName', Phase.LOST, Reason.ERROR),
        (404, 'namespaces "school-runtimes" not found', Phase.LOST, Reason.ERROR),
    ],
)
def test_a_pod_that_is_refused_waits_for_quota_or_is_lost(
    code: int, message: str, phase: Phase, reason: Reason
) -> None:
    found = conditions.refused(code, message)
    assert found is not None
    assert (found.phase, found.reason, found.message) == (phase, reason, message)


@pytest.mark.parametrize("code", [409, 429, 500, 503])
def test_a_refusal_that_may_pass_is_no_status(code: int) -> None:
    assert conditions.refused(code, "try again") is None


def test_a_ready_pod_has_an_endpoint_that_needs_nothing_else() -> None:
    found = conditions.endpoint(seen(running()))
    assert (found.transport, found.host, found.identity, found.key_version) == ("tcp", "10.88.7.20", NAME, 1)


@pytest.mark.parametrize(
    "pod",
    [seen({"phase": "Pending"}), seen(running(), deletionTimestamp=text(NOW)), warm_pod(podIP="fd00::1", podIPs=[])],
    ids=["pending", "ending", "IPv6 alone"],
)
def test_a_pod_that_cannot_be_spoken_to_has_no_endpoint(pod: dict[str, Any]) -> None:
    with pytest.raises(NotReady):
        conditions.endpoint(pod)


def test_of_two_addresses_the_one_that_the_agent_listens_on_is_taken() -> None:
    pod = seen(running(podIP="fd00::1", podIPs=[{"ip": "fd00::1"}, {"ip": "10.88.7.20"}]))
    assert conditions.endpoint(pod).host == "10.88.7.20"


def test_what_is_owned_is_named_by_its_runtime_and_a_warm_one_by_none() -> None:
    assert (conditions.owned(seen(running()), NOW).name, conditions.owned(warm_pod(), NOW).name) == ("ada-1", "")
    assert conditions.owned(warm_pod(), NOW).identity == NAME


def test_every_reason_has_a_sentence_with_what_to_do_also_in_french() -> None:
    for reason in set(Reason) - {Reason.NONE}:
        with override("en"):
            english = str(REASON_SENTENCES[reason])
        with override("fr"):
            assert str(REASON_SENTENCES[reason]) != english


def test_what_is_said_of_the_files_of_one_that_ended_is_in_french_too() -> None:
    for sentence in (*ENDED_SENTENCES.values(), ALL_KEPT, LAST_SAVED):
        with override("en"):
            english = str(sentence)
        with override("fr"):
            assert str(sentence) != english


def test_what_is_over_says_since_when_also_to_who_comes_later() -> None:
    over = {"terminated": {"reason": "Completed", "exitCode": 0, "finishedAt": text(BEGAN + timedelta(minutes=5))}}
    for status in (
        {"phase": "Succeeded", "containerStatuses": [container(over)]},
        failed("DeadlineExceeded", state=over),
        failed("Evicted", state=over),
        waiting("CrashLoopBackOff", lastState=over, restartCount=3),
    ):
        told = conditions.status(seen(status), NOW + timedelta(hours=9))
        assert (told.phase.final, told.ended_at) == (True, BEGAN + timedelta(minutes=5))
    assert conditions.status(seen(failed("Evicted")), NOW).ended_at is None
    # What began again is not over.
    assert conditions.status(seen(restarted(over)), NOW).ended_at is None


def test_a_job_that_filled_its_disk_is_not_tried_again_as_lost() -> None:
    assert borrow._OF_RUNTIME[Reason.DISK_FULL] == "disk_full"


def test_a_sidecar_of_the_cluster_is_not_taken_for_the_runtime() -> None:
    sidecar = {"name": "gke-gcsfuse-sidecar", "state": {"waiting": {"reason": "ErrImageNeverPull"}}, "ready": False}
    own = running()["containerStatuses"]
    assert conditions.status(seen(running(containerStatuses=[sidecar, *own])), NOW).phase is Phase.READY
    pending = running(
        containerStatuses=[sidecar, container({"waiting": {"reason": "ContainerCreating"}})], conditions=[]
    )
    assert conditions.status(seen(pending), NOW).phase is Phase.STARTING
