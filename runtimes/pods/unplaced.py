"""What it means that no node has a pod: it waits for a place, for a new node, or for what will not come. Pure."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from runtimes.machine import Gpu, Tpu
from runtimes.provider import Phase, Reason, Status

#: How long an autoscaler may take to add a node, with the driver of its GPUs; then there are as many as there will be.
GROWTH_PATIENCE = timedelta(minutes=10)

_ACCELERATORS_SHORT = tuple(f"Insufficient {kind.resource}" for kind in (Gpu, Tpu))
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
    short = any(phrase in words for phrase in _ACCELERATORS_SHORT)
    return Status(Phase.QUEUED, Reason.ACCELERATOR_WAIT if short else Reason.CAPACITY_WAIT, words)
