"""What a pod's container tells that is our runtime: what it waits for, why it ended or was started again. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from runtimes.pods import labels
from runtimes.provider import Phase, Reason, Status

Pod = Mapping[str, Any]
#: For how long what was ready, and ended again and again, is left to its kubelet, which has it wait before it goes on
#: with its disk: 10 s the second time, then 20, 40 and 80 (Kubernetes, "Pod Lifecycle", `CrashLoopBackOff`). Who asks
#: for a restart waits as long (`agent_client.START_TIMEOUT`).
RESTART_PATIENCE = timedelta(minutes=1)

# Reasons of a waiting container (kubelet, images and containers). These can still come right:
_NOT_FETCHED = frozenset({"ErrImagePull", "ImagePullBackOff", "RegistryUnavailable", "ImageInspectError"})
# and these cannot.
_NO_IMAGE = frozenset({"ErrImageNeverPull", "InvalidImageName"})
_REFUSED = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
# A container that never came to be: its program is missing, or it was lost with its node.
_NOT_BEGUN = frozenset({"StartError", "ContainerCannotRun"})
_OUT_OF_MEMORY = "OOMKilled"
_ENDS_AND_COMES_BACK = (Reason.OUT_OF_MEMORY, Reason.KERNEL_CRASH)


def of(pod: Pod) -> Mapping[str, Any]:
    """The status of the container that is the runtime, beside what a cluster adds; empty before there is any."""
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return next((each for each in statuses if each["name"] == labels.CONTAINER), {})


def ended_at(pod: Pod) -> datetime | None:
    """When it did, where it is not to run again and its node has told."""
    terminated = of(pod).get("state", {}).get("terminated", {}) or (_last(pod) if waiting(pod) else {})
    return moment(terminated.get("finishedAt"))


def waiting(pod: Pod) -> Mapping[str, Any]:
    """What it waits for; empty where it does not."""
    found: Mapping[str, Any] = of(pod).get("state", {}).get("waiting", {})
    return found


def is_made(pod: Pod) -> bool:
    """Its image is fetched, or it is made from it: both are told alike."""
    return waiting(pod).get("reason") == "ContainerCreating"


def waits(pod: Pod, now: datetime, *, patient: bool, was_ready: bool) -> Status:
    """The status of one that waits. patient: its image may yet be fetched. was_ready: the pod has been, before."""
    why, said = waiting(pod).get("reason", ""), words(waiting(pod))
    if why in _NO_IMAGE:
        return Status(Phase.LOST, Reason.IMAGE_PULL, said)
    if why in _NOT_FETCHED:
        return Status(Phase.STARTING if patient else Phase.LOST, Reason.IMAGE_PULL, said)
    if why in _REFUSED:
        return Status(Phase.LOST, Reason.ERROR, said)
    if why == "CrashLoopBackOff":
        return _held_back(pod, now, said, was_ready=was_ready)
    return Status(Phase.STARTING)


def after_restart(pod: Pod) -> tuple[Reason, str]:
    """Why it is not the first one, and how often that was."""
    count, last = of(pod).get("restartCount"), _last(pod)
    return _again(pod, count) if last and count else (Reason.NONE, "")


def ended(terminated: Mapping[str, Any], said: str) -> Status:
    """The status of one that ended by itself. said: by whoever noticed, beside its own words."""
    why, code = terminated.get("reason", ""), terminated.get("exitCode")
    message = "; ".join(text for text in (words(terminated), said) if text)
    if why == _OUT_OF_MEMORY:
        return Status(Phase.LOST, Reason.OUT_OF_MEMORY, message, exit_code=code)
    if why == "ContainerStatusUnknown":
        return Status(Phase.LOST, Reason.NODE_LOST, message, exit_code=code)
    if code is None or why in _NOT_BEGUN:
        return Status(Phase.LOST, Reason.ERROR, message, exit_code=code)
    return Status(Phase.LOST, Reason.KERNEL_CRASH, message, exit_code=code)


def memory_words(pod: Pod, terminated: Mapping[str, Any]) -> str:
    """How much memory it had, where that is why it ended."""
    if terminated.get("reason") != _OUT_OF_MEMORY:
        return ""
    limit = labels.resources(pod).get("limits", {}).get("memory", "unknown")
    return f"its memory limit is {limit}"


def words(told: Mapping[str, Any]) -> str:
    """Reason and message of a status, condition or container state, for operators."""
    return ": ".join(str(told[key]) for key in ("reason", "message") if told.get(key))


def moment(text: str | None) -> datetime | None:
    """A time as the API writes it."""
    return datetime.fromisoformat(text) if text else None


# --- inside


def _held_back(pod: Pod, now: datetime, said: str, *, was_ready: bool) -> Status:
    last = _last(pod)
    found, finished = ended(last, said), moment(last.get("finishedAt"))
    comes_back = was_ready and found.reason in _ENDS_AND_COMES_BACK
    if comes_back and finished is not None and now - finished < RESTART_PATIENCE:
        # The same words as when it runs again: it is one end, and told once (`signs.Memory`).
        return Status(Phase.STARTING, *_again(pod, int(of(pod).get("restartCount", 0)) + 1))
    return found


def _again(pod: Pod, times: int) -> tuple[Reason, str]:
    last = _last(pod)
    found = ended(last, memory_words(pod, last))
    return found.reason, f"ended {times} times and is started again: {found.message}"


def _last(pod: Pod) -> Mapping[str, Any]:
    found: Mapping[str, Any] = of(pod).get("lastState", {}).get("terminated", {})
    return found
