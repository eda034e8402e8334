"""The namespace of runtimes and what stands in it beside pods and policies: rights, quota, priorities, budget. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from runtimes.pods import labels
from runtimes.pods.config import ClusterConfig
from runtimes.pods.labels import Manifest
from runtimes.pods.manifests import WARM_PRIORITY
from runtimes.pods.network import policies
from runtimes.pods.trial_pod import PRIORITY, PRIORITY_VALUE

_NAME = "pupitre-runtimes"
# No site has so many: nothing may be disrupted. Pods without a controller take this form of a budget only (Kubernetes,
# "Arbitrary workloads and arbitrary selectors").
_ALL = 1_000_000


@dataclass(frozen=True, slots=True)
class Quota:
    """What all runtimes together may take. accelerators: how many by resource, such as {"nvidia.com/gpu": 4}."""

    pods: int
    cpu_cores: int
    memory_bytes: int
    scratch_bytes: int
    accelerators: Mapping[str, int] = field(default_factory=dict)


def objects(config: ClusterConfig, quota: Quota) -> list[Manifest]:
    """Everything that the namespace needs before the first pod, in the order in which it can be applied."""
    return [
        namespace(config),
        role(config),
        role_binding(config),
        *policies(config),
        resource_quota(config, quota),
        disruption_budget(config),
        *priority_classes(config),
    ]


def namespace(config: ClusterConfig) -> Manifest:
    """Pod Security Admission refuses in it whatever does not meet `restricted`."""
    modes = ("enforce", "audit", "warn")
    level = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in modes}
    version = {f"pod-security.kubernetes.io/{mode}-version": "latest" for mode in modes}
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": config.namespace, "labels": {**labels.of_site(config), **level, **version}},
    }


def role(config: ClusterConfig) -> Manifest:
    """All that the site may do here. Secrets are made and never read; they end with their pods. Nothing is executed in
    a pod but by its agent."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": _metadata(config),
        "rules": [
            {
                "apiGroups": [""],
                "resources": ["pods"],
                "verbs": ["create", "get", "list", "watch", "patch", "delete"],
            },
            {"apiGroups": [""], "resources": ["pods/resize"], "verbs": ["patch"]},
            {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]},
            # Whether there are the data sets that a profile names.
            {"apiGroups": [""], "resources": ["persistentvolumeclaims"], "verbs": ["get"]},
        ],
    }


def role_binding(config: ClusterConfig) -> Manifest:
    """Those rights for the site's service account."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": _metadata(config),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": _NAME},
        "subjects": [
            {"kind": "ServiceAccount", "name": config.service_account, "namespace": config.site_namespace},
        ],
    }


def node_reader(config: ClusterConfig) -> list[Manifest]:
    """The right to see nodes, which is the cluster's and so apart from the others: with it a profile that no node could
    run is refused when it is saved, and operators see how many accelerators there are. Nothing else needs it."""
    name = f"{config.namespace}-nodes"
    group = "rbac.authorization.k8s.io"
    subject = {"kind": "ServiceAccount", "name": config.service_account, "namespace": config.site_namespace}
    metadata = {"name": name, "labels": labels.of_site(config)}
    rule = {"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]}
    return [
        {"apiVersion": f"{group}/v1", "kind": "ClusterRole", "metadata": metadata, "rules": [rule]},
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": name},
            "subjects": [subject],
        },
    ]


def resource_quota(config: ClusterConfig, quota: Quota) -> Manifest:
    """A pod beyond it is refused (403), and its runtime waits. No LimitRange: its maximum would become the default, and
    each pod would ask for a GPU."""
    accelerators = {f"requests.{resource}": str(count) for resource, count in quota.accelerators.items()}
    hard = {
        "pods": str(quota.pods),
        "requests.cpu": str(quota.cpu_cores),
        "requests.memory": str(quota.memory_bytes),
        "limits.memory": str(quota.memory_bytes),
        "requests.ephemeral-storage": str(quota.scratch_bytes),
        "services": "0",
        **accelerators,
    }
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": _metadata(config), "spec": {"hard": hard}}


def disruption_budget(config: ClusterConfig) -> Manifest:
    """Drains and the autoscaler wait for claimed pods, which end by their deadline; warm ones may go, and so may one
    that is not well."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": _metadata(config),
        "spec": {
            "minAvailable": _ALL,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": {**labels.of_site(config), labels.STATE: labels.CLAIMED}},
        },
    }


def priority_classes(config: ClusterConfig) -> list[Manifest]:
    """People go before grading, which is tried again elsewhere. A priority cannot be changed: a warm pod has that of
    people from the start, since it will be somebody's, and pre-empts nothing while nobody wants it. That it gives way
    is the provider's to see to (`give_way`)."""
    return [
        _priority("pupitre-interactive", 1000, "PreemptLowerPriority", "runtimes of people at work", config),
        _priority(WARM_PRIORITY, 1000, "Never", "runtimes that wait for people", config),
        _priority("pupitre-grading", 500, "Never", "runtimes that grade or check", config),
        _priority(PRIORITY, PRIORITY_VALUE, "Never", "trials of images", config),
    ]


def _priority(name: str, value: int, preemption: str, description: str, config: ClusterConfig) -> Manifest:
    return {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": name, "labels": labels.of_site(config)},
        "value": value,
        "globalDefault": False,
        "preemptionPolicy": preemption,
        "description": description,
    }


def _metadata(config: ClusterConfig) -> Manifest:
    return {"name": _NAME, "namespace": config.namespace, "labels": labels.of_site(config)}
