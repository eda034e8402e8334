"""What it means that no node has a pod: it waits for a place, for a new node, or for what will not come. Pure."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from runtimes.machine import Gpu, Tpu
from runtimes.provider import Phase, Reason, Status

#: How long an autoscaler may take to add a node, with the driver of its GPUs; then there are as many as there will be.
GROWTH_PATIENCE = timedelta(minutes=10)

_ACCELERATORS_SHORT = tuple(f"Insufficient {kind.resource}" for kind in (Gpu, Tpu))
# Of a node that would do, but for what others have there; a node that is of another kind, tainted or cordoned is named
# for that alone, since the scheduler looks at those first (Kubernetes, scheduler plugins).
_SHORT = re.compile(r"Insufficient |Too many pods|exceed max volume count|enough free storage")
_NO_NODE = re.compile(r"0/\d+ nodes are available|no nodes available")
# What it says where not even ending others would help, of all nodes alike (Kubernetes, default preemption): each is of
# another kind, tainted, cordoned, or (from 1.35 on) too small as a whole. It never says so of one that pre-empts none.
_NONE_HELPS = re.compile(
    r"0/(\d+) nodes are available: .*preemption: 0/\1 nodes are available: \1 Preemption is not helpful for scheduling"
)
# The scheduler's words where no time helps: somebody has to make the claim, or its volume (Kubernetes, volume binding).
_NO_VOLUME = re.compile(
    r'persistentvolumeclaim "[^"]*" (not found|is being deleted|bound to non-existent persistentvolume)'
)


def status(words: str, since: datetime | None, now: datetime, *, grows: bool) -> Status:
    """words: the scheduler's, since when it says that. grows: nodes are added for pods that have none, up to a number
    that is not known here; so each may ask at once, and after a while all places are taken to be there."""
    if _NO_VOLUME.search(words):
        return Status(Phase.LOST, Reason.ERROR, words)
    if grows and since is not None and now - since < GROWTH_PATIENCE:
        return Status(Phase.QUEUED, Reason.SCALING_UP, words)
    return Status(Phase.QUEUED, _waits_for(words), words)


def _waits_for(words: str) -> Reason:
    if _NONE_HELPS.search(words):
        return Reason.NO_MACHINE
    if any(phrase in words for phrase in _ACCELERATORS_SHORT):
        return Reason.ACCELERATOR_WAIT
    return Reason.NO_MACHINE if _NO_NODE.search(words) and not _SHORT.search(words) else Reason.CAPACITY_WAIT
