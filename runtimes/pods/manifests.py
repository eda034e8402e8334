"""A runtime as Kubernetes takes it: one pod with one container, and the Secret with its order. Pure.

The pod meets the Pod Security Standard `restricted` and has a read-only root and size-limited scratch on top. The image
holds a Python environment in /opt/py, the agent in /opt/pupitre/agent, tini and coreutils' env.

A pod's spec has no limit of processes: the nodes have one, the kubelet's `podPidsLimit` (Kubernetes, "Process ID Limits
And Reservations"). Where pods have user namespaces an rlimit is set as well; elsewhere it would count every pod of the
node together, since all run as the same uid.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Any

from runtimes.agent.enclosure import HOME, INSIDE_UID, SHARED_MEMORY, TEMPORARY
from runtimes.endpoint import AGENT_PORT, CHANNELS, FIRST_KERNEL_PORT, MAX_KERNELS
from runtimes.keys import Keys
from runtimes.machine import image_digest
from runtimes.pods import data_sets, environment, labels
from runtimes.pods.config import ClusterConfig
from runtimes.pods.labels import Manifest
from runtimes.provider import MIB, Network, NotOffered, Request

#: The agent's port and the last one of the last kernel.
FIRST_PORT, LAST_PORT = AGENT_PORT, FIRST_KERNEL_PORT + len(CHANNELS) * MAX_KERNELS - 1
#: How long a warm pod may wait. A deadline can be shortened and never lengthened, and counts from the pod's start.
WARM_FOR = timedelta(hours=12)
#: As long as SIGTERM may take. Never 0: a forced deletion frees a GPU before its process is gone. What people wrote is
#: fetched in that time (Kubernetes' own default, which autoscalers and drains respect); what grades ends at once.
GRACE_SECONDS = {"interactive": 30, "grading": 5}
#: Of it, for the kernels to end.
_LAST_SECONDS = 5
#: How long a pod waits on a node of which nothing is heard, also one that only starts there: as long as the site does
#: for one that is ready (`signs.SILENCE`). Unless told, Kubernetes waits ten times so long (DefaultTolerationSeconds),
#: and has waited for the node before.
SILENT_NODE_SECONDS = 30
_SILENT_NODE = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
SCRATCH = "/scratch"
DATA = "/data"
# Parts of the scratch volume that are seen elsewhere, as its folder and as the other place. What pip installs lies
# where Python looks for it and where pulls find it; what takes room for a while, such as a wheel that pip fetches, is
# where such things go when memory is not meant (Filesystem Hierarchy Standard, "/var/tmp").
_ON_SCRATCH = {".local": f"{HOME}/.local", ".tmp": environment.DISK_TEMPORARY}
# Its disk beside scratch: logs of the container, which hardly writes any.
_OTHER_DISK_BYTES = 64 * MIB
_TRIES_TO_START = 120
_PRIORITIES = {"interactive": "pupitre-interactive", "grading": "pupitre-grading"}
WARM_PRIORITY = "pupitre-warm"
_DEFAULT = ("", "default")


def check(request: Request, config: ClusterConfig) -> None:
    """Raises InvalidRequest or NotOffered where `pod` cannot be made, or could never run."""
    request.validate()
    digest = image_digest(image(request, config))
    if not digest:
        raise NotOffered("neither the profile nor the site names an image of kernels by its digest")
    if request.environment not in (*_DEFAULT, digest):
        raise NotOffered(f"the image of profile {request.machine.slug} is {digest}, not {request.environment}")
    if request.network is Network.INDEX and not config.index_url:
        raise NotOffered("this cluster has no mirror of package indexes")


def image(request: Request, config: ClusterConfig) -> str:
    """The image that `request` runs in: its profile's, or the site's."""
    return request.machine.image or config.image


def pod(request: Request, config: ClusterConfig, *, name: str, warm: bool = False) -> Manifest:
    """The pod called `name` that is claimed by `request`, or is warm for requests like it. Raises what `check` does."""
    check(request, config)
    template = template_digest(request, config)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": config.namespace,
            "labels": labels.of_pod(request, template, config, warm=warm),
            "annotations": _annotations(request, config, warm=warm),
        },
        "spec": _spec(request, config, name=name, warm=warm),
    }


def secret(request: Request, config: ClusterConfig, *, name: str, uid: str, keys: Keys, warm: bool = False) -> Manifest:
    """The order of the pod `name`, which exists as `uid`: its Secret is made after it and ends with it, so that none is
    ever left behind. keys: `connection_keys` of the pod's name."""
    owner = {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid, "controller": False}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name,
            "namespace": config.namespace,
            "labels": {**labels.of_site(config), labels.PROFILE: labels.value(request.machine.slug)},
            "ownerReferences": [{**owner, "blockOwnerDeletion": False}],
        },
        "type": "Opaque",
        "immutable": True,
        "stringData": {environment.ORDER_FILE: json.dumps(order(request, keys, config, warm=warm))},
    }


def order(request: Request, keys: Keys, config: ClusterConfig, *, warm: bool = False) -> dict[str, Any]:
    """What the agent inside is told: see `runtimes.agent.program` and `supervisor`."""
    limits = request.limits
    # Home and /tmp have limits of their own. One file alone does not cost the pod its disk, it fails.
    longest = max(limits.file_bytes, request.machine.scratch_bytes)
    rlimits = {"CORE": 0, "FSIZE": longest, "MSGQUEUE": 0, "NOFILE": limits.open_files}
    if config.user_namespaces:
        rlimits["NPROC"] = limits.processes
    return {
        "transport": "tcp",
        # Its address is not known before it runs; who may connect is the policies' and Curve's to say.
        "host": "0.0.0.0",  # noqa: S104
        "keys": asdict(keys),
        "env": environment.of_kernels(request, config),
        "kernels": request.kernels,
        "watch_idle": request.purpose == "interactive",
        "idle_seconds": limits.idle.total_seconds(),
        # Nobody waits for a warm one: its kernels have time to import what they will need.
        "preload": list(request.preload) if warm else [],
        # A warm one waits for its site; whoever was asked for and never spoken to is forgotten.
        "idle_armed": not warm,
        "grace_seconds": GRACE_SECONDS[request.purpose] - _LAST_SECONDS,
        "rlimits": rlimits,
    }


def isolation(request: Request, config: ClusterConfig) -> tuple[str, ...]:
    """Codes of `ISOLATION_WORDS` for what holds as far as is known of the cluster."""
    processes = ("processes-rlimit",) if config.user_namespaces else ()
    network = f"network-{request.network}" if config.policies_enforced else "network-unproven"
    return ("pod", "seccomp", "memory-cgroup", *processes, "cpu-cgroup", network)


def template_digest(request: Request, config: ClusterConfig) -> str:
    """The same for requests that a pod can serve in each other's place: all but the name and keys is equal. What
    kernels import beforehand counts where people work, whose pods are kept warm; releases that are graded differ in
    it."""
    usual = replace(request, name="any")
    nobody = Keys("", "", "")
    made_from = [
        labels.of_pod(usual, "", config, warm=True),
        _annotations(usual, config, warm=True),
        _spec(usual, config, name="any", warm=True),
        order(usual, nobody, config, warm=request.purpose == "interactive"),
    ]
    return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:16]


def priority(request: Request, *, warm: bool) -> str:
    """The pod's priority class, which cannot be changed when it is claimed: see `namespace.priority_classes`."""
    return WARM_PRIORITY if warm else _PRIORITIES[request.purpose]


def _annotations(request: Request, config: ClusterConfig, *, warm: bool) -> Manifest:
    held = isolation(request, config)
    return {**labels.annotations_of(held, config, warm=warm), **data_sets.annotations_of(request.machine.data)}


def _spec(request: Request, config: ClusterConfig, *, name: str, warm: bool) -> Manifest:
    lifetime = request.limits.lifetime + (WARM_FOR if warm else timedelta(0))
    return {
        "activeDeadlineSeconds": math.ceil(lifetime.total_seconds()),
        # What is graded starts afresh elsewhere. For people the disk outlives an agent that was killed for memory.
        "restartPolicy": "Never" if request.purpose == "grading" else "OnFailure",
        "terminationGracePeriodSeconds": GRACE_SECONDS[request.purpose],
        "priorityClassName": priority(request, warm=warm),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "hostname": "notebook",
        **_names(request.network),
        **({"hostUsers": False} if config.user_namespaces else {}),
        **request.machine.placement(),
        "tolerations": _tolerations(request.machine.placement().get("tolerations", [])),
        **data_sets.identity(request.machine.data),
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": INSIDE_UID,
            "runAsGroup": INSIDE_UID,
            "fsGroup": INSIDE_UID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(request, config)],
        "volumes": _volumes(request, name),
    }


def _tolerations(own: list[Manifest]) -> list[Manifest]:
    """The machine's, and for how long a silent node is borne, where those do not say it."""
    said = {each.get("key", "") for each in own if each.get("effect", "") in ("", "NoExecute")}
    bears = {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": SILENT_NODE_SECONDS}
    return [*own, *({"key": key, **bears} for key in _SILENT_NODE if not said & {key, ""})]


def _names(network: Network) -> Manifest:
    """Where names are resolved. Without a network a look-up fails at once instead of waiting for an answer."""
    if network is Network.NONE:
        return {"dnsPolicy": "None", "dnsConfig": {"nameservers": ["127.0.0.1"]}}
    return {"dnsPolicy": "ClusterFirst"}


def _container(request: Request, config: ClusterConfig) -> Manifest:
    return {
        "name": labels.CONTAINER,
        "image": image(request, config),
        "imagePullPolicy": "IfNotPresent",
        "command": environment.command(request),
        "workingDir": HOME,
        "ports": [{"name": "agent", "containerPort": AGENT_PORT, "protocol": "TCP"}],
        "resources": _resources(request),
        # The agent listens once the kernels that start with it do.
        "startupProbe": _probe(failures=_TRIES_TO_START),
        "readinessProbe": _probe(failures=3),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "privileged": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "order", "mountPath": environment.ORDER_FOLDER, "readOnly": True},
            {"name": "home", "mountPath": HOME},
            {"name": "tmp", "mountPath": TEMPORARY},
            *([{"name": "shared", "mountPath": SHARED_MEMORY}] if request.gpu else []),
            *(_scratch_mounts() if request.machine.scratch_bytes else []),
            *([{"name": "data", "mountPath": DATA, "readOnly": True}] if request.machine.data else []),
        ],
    }


def _scratch_mounts() -> list[Manifest]:
    """After that of home, which one lies in."""
    parts = [{"name": "scratch", "mountPath": place, "subPath": folder} for folder, place in _ON_SCRATCH.items()]
    return [{"name": "scratch", "mountPath": SCRATCH}, *parts]


def _resources(request: Request) -> Manifest:
    """Memory and disk are reserved whole, so that nobody is evicted for what they were promised."""
    limits = request.limits
    reserved = {
        "memory": str(limits.memory_bytes),
        "ephemeral-storage": str(request.machine.scratch_bytes + _OTHER_DISK_BYTES),
        **request.machine.accelerators(request.gpu),
    }
    cores = min(request.machine.cpu_request, limits.cpu_cores)
    return {
        "limits": {"cpu": _millicores(limits.cpu_cores), **reserved},
        "requests": {"cpu": _millicores(cores), **reserved},
    }


def _millicores(cores: float) -> str:
    return f"{max(round(cores * 1000), 1)}m"


def _probe(*, failures: int) -> Manifest:
    return {"tcpSocket": {"port": AGENT_PORT}, "periodSeconds": 1, "timeoutSeconds": 1, "failureThreshold": failures}


def _volumes(request: Request, name: str) -> list[Manifest]:
    """Home and /tmp are in memory, as in a local sandbox: a write beyond the limit fails there, while one beyond a
    limit on the node's disk costs the whole pod. Scratch is on that disk, and large enough for what it is there for."""
    limits, scratch, data = request.limits, request.machine.scratch_bytes, request.machine.data
    sizes = {"home": limits.home_bytes, "tmp": limits.tmp_bytes}
    if request.gpu:
        # As in a sandbox: what feeds an accelerator is loaded by processes of its own. A container has 64 MiB else.
        sizes["shared"] = limits.memory_bytes // 2
    in_memory = {key: {"medium": "Memory", "sizeLimit": str(size)} for key, size in sizes.items()}
    on_disk = {"scratch": {"sizeLimit": str(scratch)}} if scratch else {}
    return [
        {"name": "order", "secret": {"secretName": name, "defaultMode": 0o440}},
        *({"name": key, "emptyDir": fields} for key, fields in {**in_memory, **on_disk}.items()),
        *([{"name": "data", **data_sets.volume(data)}] if data is not None else []),
    ]
