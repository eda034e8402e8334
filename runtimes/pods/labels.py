"""What a pod says of itself: labels to find and select it by, annotations to read. Pure.

Kubernetes, "Labels and Selectors": a value has at most 63 letters, digits, `-`, `_` and `.`, and begins and ends with a
letter or digit; an annotation may be any text, all of one object together at most 256 KiB.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping
from typing import Any

from runtimes.pods.config import ClusterConfig
from runtimes.provider import Request

#: What every object is made of: JSON, as the API takes and gives it.
Manifest = dict[str, Any]

# Recommended labels (Kubernetes, "Recommended Labels").
APP = "app.kubernetes.io/name"
SITE = "app.kubernetes.io/instance"
COMPONENT = "app.kubernetes.io/component"
RUNTIME_APP = "pupitre-runtime"
SITE_APP = "pupitre"
#: The name of the container that is the runtime.
CONTAINER = "runtime"

STATE = "pupitre/state"
RUNTIME = "pupitre/runtime"
PROFILE = "pupitre/profile"
PURPOSE = "pupitre/purpose"
NETWORK = "pupitre/network"
DATA = "pupitre/data"
TEMPLATE = "pupitre/template"
WARM, CLAIMED = "warm", "claimed"
BUCKET = "bucket"

KEY_VERSION = "pupitre/key-version"
ISOLATION = "pupitre/isolation"
# Cluster autoscaler: whether a node may be removed under it.
SAFE_TO_EVICT = "cluster-autoscaler.kubernetes.io/safe-to-evict"

_VALUE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_DIGEST_LENGTH = 12


def value(text: str) -> str:
    """`text` as a label's value: itself where it may be one, else as much as is readable and a digest of all of it."""
    if _VALUE.fullmatch(text):
        return text
    readable = re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")[:40].strip("-")
    digest = hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_LENGTH]
    return f"{readable}-{digest}" if readable else digest


def new_name() -> str:
    """A pod's name, its host name and what its keys are derived from: a DNS label that is never used again."""
    return f"rt-{secrets.token_hex(10)}"


def of_site(config: ClusterConfig) -> dict[str, str]:
    """Labels of everything that belongs to this site's runtimes."""
    return {APP: RUNTIME_APP, SITE: value(config.site)}


def of_pod(request: Request, template: str, config: ClusterConfig, *, warm: bool) -> dict[str, str]:
    """Labels of a pod that is claimed by `request`, or is warm for one like it and has no name yet.

    template: what it was made from; see `manifests.template_digest`."""
    claimed = {} if warm else {RUNTIME: request.name}
    data = request.machine.data
    return {
        **of_site(config),
        STATE: WARM if warm else CLAIMED,
        PROFILE: value(request.machine.slug),
        PURPOSE: request.purpose,
        NETWORK: str(request.network),
        TEMPLATE: template,
        **({DATA: BUCKET} if data is not None and data.bucket else {}),
        **claimed,
    }


def annotations_of(isolation: tuple[str, ...], config: ClusterConfig, *, warm: bool) -> dict[str, str]:
    """What whoever finds the pod must know of it. isolation: codes of `status.ISOLATION_WORDS`."""
    return {
        KEY_VERSION: str(config.key_version),
        ISOLATION: ",".join(isolation),
        SAFE_TO_EVICT: "true" if warm else "false",
    }


def selector(config: ClusterConfig) -> str:
    """This site's pods, as a list or watch asks for them."""
    return as_selector(of_site(config))


def as_selector(wanted: Mapping[str, str]) -> str:
    """All of these labels, as the API takes them in a query."""
    return ",".join(f"{key}={text}" for key, text in wanted.items())


def label(pod: Mapping[str, Any], key: str) -> str:
    """A label of a pod as the API gives it; "" without."""
    return str(pod["metadata"].get("labels", {}).get(key, ""))


def annotation(pod: Mapping[str, Any], key: str) -> str:
    """An annotation of a pod as the API gives it; "" without."""
    return str(pod["metadata"].get("annotations", {}).get(key, ""))


def place(pod: Mapping[str, Any]) -> int:
    """Where its runtime's container stands in its spec: the cluster may have added others, also before it."""
    return [each["name"] for each in pod["spec"]["containers"]].index(CONTAINER)


def resources(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    """What its runtime's container requests and is limited to."""
    found: Mapping[str, Any] = pod["spec"]["containers"][place(pod)].get("resources", {})
    return found
