"""How a runtime is: phase, reason, the walls that hold, and the sentences people read about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _


class Phase(StrEnum):
    """Where a runtime is in its life. `ending`: others than its site end it, and its agent answers for a short while
    yet. `stopped` and `lost` are final."""

    QUEUED = "queued"
    STARTING = "starting"
    READY = "ready"
    UNREACHABLE = "unreachable"
    ENDING = "ending"
    LOST = "lost"
    STOPPED = "stopped"

    @property
    def final(self) -> bool:
        return self in (Phase.LOST, Phase.STOPPED)


class Reason(StrEnum):
    """Why a runtime is in its phase. The sentences people read are in `REASON_SENTENCES`."""

    NONE = ""
    CAPACITY_WAIT = "CapacityWait"
    ACCELERATOR_WAIT = "AcceleratorWait"
    SCALING_UP = "ScalingUp"
    NO_MACHINE = "NoMachine"
    FETCHING = "Fetching"
    IMAGE_PULL = "ImagePull"
    QUOTA_EXCEEDED = "QuotaExceeded"
    OUT_OF_MEMORY = "OutOfMemory"
    DISK_FULL = "DiskFull"
    KERNEL_CRASH = "KernelCrash"
    LIFETIME = "Lifetime"
    IDLE = "Idle"
    REQUESTED = "Requested"
    EVICTED = "Evicted"
    PREEMPTED = "Preempted"
    NODE_LOST = "NodeLost"
    DELETED = "Deleted"
    OWNER_GONE = "OwnerGone"
    OPERATOR = "Operator"
    YIELDED = "Yielded"
    ERROR = "Error"

    @classmethod
    def of(cls, text: str) -> Reason:
        """The reason that a row names; what is none is a person's wish."""
        return cls(text) if text in cls else cls.REQUESTED


REASON_SENTENCES: Mapping[Reason, Promise] = {
    Reason.CAPACITY_WAIT: _("All places are taken. It starts by itself when one is free."),
    Reason.ACCELERATOR_WAIT: _("All GPUs or TPUs are in use. It starts by itself when one is free."),
    # Whether one comes is the autoscaler's to decide, and only events tell, which are not read.
    Reason.SCALING_UP: _(
        "No machine is free, and another one was asked for. It starts by itself as soon as there is one."
    ),
    # However many others end: no node is such a one, or so large; or it is more than the whole quota.
    Reason.NO_MACHINE: _("Nothing can run this machine at the moment. It starts by itself as soon as something can."),
    Reason.FETCHING: _(
        "The machine is being prepared: its software is being fetched, or its data. That may take some minutes."
    ),
    Reason.IMAGE_PULL: _("The software for this notebook could not be fetched yet. It is tried again by itself."),
    Reason.QUOTA_EXCEEDED: _("The limit of running notebooks is reached. It starts by itself when one stops."),
    Reason.OUT_OF_MEMORY: _(
        "The code used all the memory that it may have and was stopped. Your files are kept: use less data and run the "
        "cells again."
    ),
    Reason.DISK_FULL: _(
        "The code wrote more than it may and was stopped. "
        "Your files are kept as last saved: write less and start the kernel again."
    ),
    Reason.KERNEL_CRASH: _("The kernel crashed. Your files are kept: restart it and run the cells again."),
    Reason.LIFETIME: _("The longest time a kernel may run was reached. Your files are kept: start it again."),
    Reason.IDLE: _("The kernel was stopped because nothing ran for a while. Your files are kept: start it again."),
    Reason.REQUESTED: _("The kernel was stopped. Your files are kept: start it again when you need it."),
    Reason.EVICTED: _("The machine needed the place. Your files are kept as last saved: start the kernel again."),
    Reason.PREEMPTED: _("A more urgent job took the place. It starts by itself when one is free."),
    Reason.NODE_LOST: _("The machine was lost. Your files are kept as last saved: start the kernel again."),
    Reason.DELETED: _(
        "The operators of the cluster ended the machine. Your files are kept as last saved: start the kernel again."
    ),
    Reason.OWNER_GONE: _(
        "The service that ran the kernel stopped. Your files are kept as last saved: start the kernel again."
    ),
    Reason.OPERATOR: _("An administrator stopped the machine. Your files are kept: start it again."),
    Reason.YIELDED: _(
        "Others were waiting for such a machine, and on this one something had run for hours. Your files are kept: "
        "start it again to take a place in the queue."
    ),
    Reason.ERROR: _("The kernel could not be run. Try again; if it happens again, tell your teacher."),
}


#: What takes a machine away from under somebody's work: it goes on elsewhere with its files.
MOVES = frozenset({Reason.EVICTED, Reason.PREEMPTED, Reason.NODE_LOST, Reason.DELETED, Reason.OWNER_GONE})

#: On the row of one that was taken away, where that is so.
ALL_KEPT = _("Your files are kept as they were at that moment: start the kernel again.")

#: On the row of one that ended with what it held, where not all of that could be fetched.
LAST_SAVED = _("Your files are kept as last saved: start the kernel again.")

#: What may end one so: for memory `describe.out_of_memory` says more.
ENDED_SENTENCES: Mapping[Reason, Promise] = {
    Reason.OUT_OF_MEMORY: _("The code used all the memory that it may have and was stopped."),
    Reason.KERNEL_CRASH: _("The kernel crashed."),
    Reason.LIFETIME: _("The longest time a kernel may run was reached."),
    Reason.IDLE: _("The kernel was stopped because nothing ran for a while."),
    Reason.REQUESTED: _("The kernel was stopped."),
    Reason.OPERATOR: _("An administrator stopped the machine."),
    Reason.YIELDED: _("Others were waiting for such a machine, and on this one something had run for hours."),
}

MOVED_SENTENCES: Mapping[Reason, Promise] = {
    Reason.EVICTED: _("The machine needed the place."),
    Reason.PREEMPTED: _("A more urgent job took the place."),
    Reason.NODE_LOST: _("The machine was lost."),
    Reason.DELETED: _("The operators of the cluster ended the machine."),
    Reason.OWNER_GONE: _("The service that ran the kernel stopped."),
}


@dataclass(frozen=True, slots=True)
class Status:
    """How a runtime is. `message` is for operators; people read `sentence` and `isolation_words`.

    ended_at: when what is over ended, where its provider knows.
    isolation: codes of `ISOLATION_WORDS`, the walls and limits that really hold for this runtime.
    """

    phase: Phase
    reason: Reason = Reason.NONE
    message: str = ""
    queue_position: int | None = None
    ready_at: datetime | None = None
    deadline: datetime | None = None
    exit_code: int | None = None
    ended_at: datetime | None = None
    isolation: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """The reason as a sentence for the person concerned, in their language; "" when there is nothing to say."""
        return str(REASON_SENTENCES[self.reason]) if self.reason else ""

    @property
    def isolation_words(self) -> str:
        """The walls and limits in words, in the reader's language."""
        return "; ".join(str(ISOLATION_WORDS[code]) for code in self.isolation if code in ISOLATION_WORDS)


ISOLATION_WORDS: Mapping[str, Promise] = {
    "forked": _("own user, process, file, network and memory-sharing namespaces"),
    "strict": _("own namespaces and an interpreter of its own"),
    "pod": _("a pod of its own"),
    "seccomp": _("dangerous system calls blocked"),
    "memory-cgroup": _("memory limited for the whole sandbox"),
    "memory-rlimit": _("memory limited for each process only"),
    "processes-cgroup": _("number of processes limited for the whole sandbox"),
    "processes-rlimit": _("number of processes limited by rlimit"),
    "cpu-cgroup": _("processor time limited"),
    "cpu-none": _("processor time not limited on this machine"),
    "network-none": _("no network"),
    "network-index": _("a package index and no other network"),
    "network-internet": _("internet without local, private and metadata addresses"),
    "network-unproven": _("network closed by rules that this cluster may not apply"),
    "gpu-own": _("GPUs that nobody else uses meanwhile"),
    "gpu-shared": _("a GPU that others use as well"),
    "no-network-program": _("internet not available on this machine"),
}
