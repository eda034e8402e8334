"""Whether a warm pod will do, and what is wrong with one that will not. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from runtimes.pods import claims, conditions, labels
from runtimes.pods.containers import Pod
from runtimes.provider import Phase, Reason, Request

#: One that is not ready by then never will be: its Secret may never have been made. Its image takes its time.
STUCK = conditions.PREPARATION_PATIENCE
# Ends that say nothing of the next one.
_NO_FAULT = frozenset({Reason.NODE_LOST, Reason.PREEMPTED})


def fits(pod: Pod, request: Request, now: datetime) -> bool:
    """Whether somebody could claim it now, or soon."""
    if conditions.status(pod, now).phase.final or conditions.restarts(pod):
        return False
    if conditions.is_ready(pod):
        template = labels.label(pod, labels.TEMPLATE)
        return claims.may_be_claimed(pod, template, request.limits.lifetime, now)
    return not _is_stuck(pod, now)


def fault(pod: Pod, now: datetime) -> str:
    """Why the next one may well fail as this one did; "" where it did not fail, or its node did."""
    status = conditions.status(pod, now)
    if status.reason in _NO_FAULT:
        return ""
    if status.phase is Phase.LOST or conditions.restarts(pod):
        return ": ".join(text for text in (status.reason, status.message) if text) or "it was started again"
    if status.phase is Phase.STARTING and _is_stuck(pod, now):
        return status.message or f"not ready after {STUCK}"
    return ""


def waits_for(pods: Iterable[Pod], now: datetime) -> str:
    """Why no node has one of them; "" where all have one."""
    told = (conditions.status(pod, now) for pod in pods)
    return next((status.message for status in told if status.phase is Phase.QUEUED), "")


def _is_stuck(pod: Pod, now: datetime) -> bool:
    return now - datetime.fromisoformat(pod["metadata"]["creationTimestamp"]) >= STUCK
