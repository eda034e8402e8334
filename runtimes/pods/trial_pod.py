"""A pod that only tries an image: fetched as a runtime's would be, started, ended at once. And what came of it. Pure.

It is no runtime: its labels are others, so that nothing lists, counts, claims or keeps it, and no policy opens anything
for it. Any other pod goes before it, and no autoscaler adds a node for its sake.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from runtimes.image_trial import ImageTrial, Untried
from runtimes.pods import conditions, environment, labels, manifests
from runtimes.pods.config import ClusterConfig
from runtimes.pods.containers import Pod
from runtimes.pods.labels import Manifest
from runtimes.provider import MIB, Phase, Reason, Request, Status

TRIAL_APP = "pupitre-trial"
#: Below what an autoscaler adds nodes for (cluster autoscaler, `--expendable-pods-priority-cutoff`: -10).
PRIORITY, PRIORITY_VALUE = "pupitre-trial", -100
#: How long it may live where nobody deletes it, from when a node takes it on.
LIFETIME_SECONDS = 60
_MEMORY_BYTES, _DISK_BYTES = 256 * MIB, 64 * MIB

# What registries, networks and runtimes say while they cannot, and not because there is nothing.
_PASSES = re.compile(
    r"time(d )?out|deadline exceeded|connection reset|too ?many ?requests|QPS exceeded|no space left"
    r"|(unexpected|:) EOF|\b429\b|\b50[0234]\b|service unavailable",
    re.IGNORECASE,
)
# What another kind of node might not say.
_OF_THE_NODE = re.compile(r"no match for platform|exec format error")
# Ended from outside: SIGKILL, SIGTERM.
_KILLED = (137, 143)
_ENDED_FROM_OUTSIDE = frozenset(
    {Reason.EVICTED, Reason.PREEMPTED, Reason.NODE_LOST, Reason.DELETED, Reason.OUT_OF_MEMORY, Reason.DISK_FULL}
)


def of_site(config: ClusterConfig) -> dict[str, str]:
    """Labels of all trial pods of this site."""
    return {**labels.of_site(config), labels.APP: TRIAL_APP}


def selector(config: ClusterConfig) -> str:
    """They, as a list asks for them."""
    return labels.as_selector(of_site(config))


def pod(request: Request, config: ClusterConfig, *, name: str) -> Manifest:
    """The trial of `request`'s image, as small as can be. Raises what `manifests.check` does."""
    usual = manifests.pod(request, config, name=name)
    spec, container = usual["spec"], usual["spec"]["containers"][labels.place(usual)]
    kept = ("automountServiceAccountToken", "enableServiceLinks", "hostUsers", "serviceAccountName", "runtimeClassName")
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": config.namespace,
            "labels": {**of_site(config), labels.PROFILE: labels.value(request.machine.slug)},
        },
        "spec": {
            **{key: spec[key] for key in kept if key in spec},
            **_placement(spec, config),
            "activeDeadlineSeconds": LIFETIME_SECONDS,
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "priorityClassName": PRIORITY,
            "dnsPolicy": "None",
            "dnsConfig": {"nameservers": ["127.0.0.1"]},
            "securityContext": spec["securityContext"],
            "containers": [
                {
                    **{key: container[key] for key in ("name", "image", "imagePullPolicy", "securityContext")},
                    "command": environment.check_command(request),
                    # Why it failed, without a right to read logs.
                    "terminationMessagePolicy": "FallbackToLogsOnError",
                    "resources": _resources(),
                }
            ],
        },
    }


def verdict(pod: Pod, now: datetime, *, elsewhere: bool) -> ImageTrial | None:
    """What came of it; None while nobody can say. elsewhere: it may be on another kind of node than the profile's."""
    status = conditions.status(pod, now)
    if status.phase is Phase.STOPPED and status.exit_code == 0:
        return ImageTrial()
    if status.reason in _ENDED_FROM_OUTSIDE or status.exit_code in _KILLED:
        return ImageTrial(untried=Untried.FAULT, words=status.message)
    if status.phase is not Phase.LOST and status.reason is not Reason.IMAGE_PULL:
        return None
    if elsewhere and _OF_THE_NODE.search(status.message):
        return ImageTrial(untried=Untried.FAULT, words=status.message)
    if _PASSES.search(status.message.replace(pod["spec"]["containers"][labels.place(pod)]["image"], "")):
        return None
    return ImageTrial(refusal=_words(status))


def late(pod: Pod, now: datetime) -> ImageTrial:
    """What is said of one of which `verdict` still says nothing."""
    status = conditions.status(pod, now)
    if status.phase is Phase.READY:
        return ImageTrial()
    if status.phase is Phase.QUEUED:
        return ImageTrial(untried=Untried.ROOM, words=status.message)
    fault = status.phase is Phase.LOST or status.reason is Reason.IMAGE_PULL
    return ImageTrial(untried=Untried.FAULT if fault else Untried.SLOW, words=status.message)


def is_unplaced(pod: Pod, now: datetime) -> bool:
    """No node takes it now."""
    return conditions.status(pod, now).phase is Phase.QUEUED


def _words(status: Status) -> str:
    if status.reason is not Reason.KERNEL_CRASH:
        return status.message
    # Of a traceback the last line says it.
    told = [line for line in status.message.splitlines() if line.strip()][-1:] or ["it says nothing"]
    return f"a kernel cannot start in this image: {told[0].strip()} (exit status {status.exit_code})"


def _placement(spec: Manifest, config: ClusterConfig) -> Manifest:
    """On nodes of the profile's kind. Where these are added when they are needed there may be none, and then another
    fetches the image just as well."""
    tolerations = {"tolerations": spec["tolerations"]}
    selector: dict[str, Any] = spec.get("nodeSelector", {})
    if not selector:
        return tolerations
    if not config.adds_nodes:
        return {**tolerations, "nodeSelector": selector}
    wanted = [{"key": key, "operator": "In", "values": [text]} for key, text in selector.items()]
    preferred = [{"weight": 100, "preference": {"matchExpressions": wanted}}]
    return {**tolerations, "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}}


def _resources() -> Manifest:
    """Each that a quota limits is named, or the pod would be refused for that."""
    held = {"memory": str(_MEMORY_BYTES), "ephemeral-storage": str(_DISK_BYTES)}
    return {"limits": {"cpu": "1", **held}, "requests": {"cpu": "10m", **held}}
