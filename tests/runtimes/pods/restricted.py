"""The Pod Security Standard `restricted`, with `baseline` in it, as a list of what a pod does against it.

Written from Kubernetes' "Pod Security Standards"; whether an admission plugin agrees is for a cluster to say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret",
}  # fmt: skip
PROFILES = {"RuntimeDefault", "Localhost"}


def violations(pod: Mapping[str, Any]) -> list[str]:
    """What is against the standard; [] for a pod that meets it."""
    spec = pod["spec"]
    containers = [one for kind in ("initContainers", "containers", "ephemeralContainers") for one in spec.get(kind, ())]
    found = [*_of_pod(spec)]
    for container in containers:
        found += _of_container(container, spec.get("securityContext", {}))
    return found


def _of_pod(spec: Mapping[str, Any]) -> Iterator[str]:
    yield from (name for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name))
    if spec.get("securityContext", {}).get("sysctls"):
        yield "sysctls"
    for volume in spec.get("volumes", ()):
        yield from (f"volume {kind}" for kind in set(volume) - {"name"} - VOLUMES)


def _of_container(container: Mapping[str, Any], around: Mapping[str, Any]) -> Iterator[str]:
    own = container.get("securityContext", {})
    capabilities = own.get("capabilities", {})
    if own.get("privileged"):
        yield "privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation"
    if "ALL" not in capabilities.get("drop", ()) or set(capabilities.get("add", ())) - {"NET_BIND_SERVICE"}:
        yield "capabilities"
    if not own.get("runAsNonRoot", around.get("runAsNonRoot")):
        yield "runAsNonRoot"
    if own.get("runAsUser", around.get("runAsUser")) == 0:
        yield "runAsUser"
    if own.get("seccompProfile", around.get("seccompProfile", {})).get("type") not in PROFILES:
        yield "seccompProfile"
    if own.get("procMount", "Default") != "Default":
        yield "procMount"
    yield from ("hostPort" for port in container.get("ports", ()) if port.get("hostPort"))
