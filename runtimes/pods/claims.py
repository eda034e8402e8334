"""Taking a warm pod for a request: which may be taken, and the one JSON patch that takes it. Pure.

The patch tests what it relies on, so that of many who want one pod exactly one gets it and the others are told 422; it
names no resourceVersion, so that the kubelet's reports are no conflict.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Any

from runtimes.pods import labels
from runtimes.pods.conditions import is_ready, restarts
from runtimes.pods.containers import Pod
from runtimes.provider import Request


def may_be_claimed(pod: Pod, template: str, lifetime: timedelta, now: datetime) -> bool:
    """It is ready, free, untouched, made from this template, and young enough to last a whole lifetime from now on."""
    return (
        labels.label(pod, labels.STATE) == labels.WARM
        and labels.label(pod, labels.TEMPLATE) == template
        and is_ready(pod)
        and not restarts(pod)
        and _deadline_seconds(pod, lifetime, now) <= pod["spec"]["activeDeadlineSeconds"]
    )


def patch(pod: Pod, request: Request, now: datetime) -> list[dict[str, Any]]:
    """Makes a pod that `may_be_claimed` the one of `request`, to end a lifetime from now (RFC 6902)."""
    template = labels.label(pod, labels.TEMPLATE)
    seconds = _deadline_seconds(pod, request.limits.lifetime, now)
    return [
        {"op": "test", "path": _label(labels.STATE), "value": labels.WARM},
        {"op": "test", "path": _label(labels.TEMPLATE), "value": template},
        {"op": "replace", "path": _label(labels.STATE), "value": labels.CLAIMED},
        {"op": "add", "path": _label(labels.RUNTIME), "value": request.name},
        {"op": "replace", "path": f"/metadata/annotations/{_escaped(labels.SAFE_TO_EVICT)}", "value": "false"},
        {"op": "replace", "path": "/spec/activeDeadlineSeconds", "value": seconds},
    ]


def _deadline_seconds(pod: Pod, lifetime: timedelta, now: datetime) -> int:
    """A lifetime from now, counted as Kubernetes counts a deadline: from the pod's start."""
    age = now - datetime.fromisoformat(pod["status"]["startTime"])
    return math.ceil((age + lifetime).total_seconds())


def _label(key: str) -> str:
    return f"/metadata/labels/{_escaped(key)}"


def _escaped(key: str) -> str:
    """A key as one step of a JSON pointer (RFC 6901)."""
    return key.replace("~", "~0").replace("/", "~1")
