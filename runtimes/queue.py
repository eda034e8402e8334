"""Who waits for which machine, in what order, and for how long about. The order is the database's: first come, first
served, among those who want the same kind of machine."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Q
from django.utils import timezone

from runtimes.estimate import Seat, until_start
from runtimes.models import Profile, Runtime
from runtimes.status import Reason

#: Reasons of a runtime that is on its way and has no seat yet.
WAITS = frozenset({Reason.CAPACITY_WAIT, Reason.ACCELERATOR_WAIT, Reason.QUOTA_EXCEEDED, Reason.SCALING_UP})
#: How many of the last runs are looked at.
MEASURED = 30

WAITING = Q(state=Runtime.State.QUEUED) | Q(state=Runtime.State.STARTING, reason__in=WAITS)
_SEATED = Q(state__in=[Runtime.State.READY, Runtime.State.STOPPING]) | (
    Q(state=Runtime.State.STARTING) & ~Q(reason__in=WAITS)
)


@dataclass(frozen=True, slots=True)
class Outlook:
    """What somebody who waits may expect. left: about how long; None: not known. measured: from how many runs."""

    position: int
    left: timedelta | None
    measured: int

    @property
    def ahead(self) -> int:
        """How many are served before."""
        return self.position - 1


def kind(profile: Profile) -> str:
    """What machines of this profile have seats of: equal for profiles that compete. "" for processors and memory."""
    return f"{profile.accelerator} {profile.accelerator_model} {profile.accelerator_partition}" if profile.gpu else ""


def waits(runtime: Runtime) -> bool:
    """Whether it has no seat yet."""
    return runtime.state == Runtime.State.QUEUED or (
        runtime.state == Runtime.State.STARTING and runtime.reason in WAITS
    )


def queue_position(runtime: Runtime) -> int:
    """1 for the next to start, 0 if it does not wait. `runtime.profile` must be loaded."""
    return _position(runtime, rivals(runtime.profile)) if waits(runtime) else 0


def outlook(runtime: Runtime) -> Outlook | None:
    """What it may expect, in four queries; None if it does not wait. `runtime.profile` must be loaded."""
    if not waits(runtime):
        return None
    profiles = rivals(runtime.profile)
    return _outlook(_position(runtime, profiles), profiles, timezone.now())


def newcomer(profile: Profile) -> Outlook | None:
    """What somebody would expect who asked for this machine now; None if nobody waits for one."""
    profiles = rivals(profile)
    waiting = Runtime.objects.filter(WAITING, profile__in=profiles).count()
    return _outlook(waiting + 1, profiles, timezone.now()) if waiting else None


def rivals(profile: Profile) -> list[int]:
    """Keys of the profiles whose machines take the same seats."""
    return [one.pk for one in Profile.objects.all() if kind(one) == kind(profile)]


def _position(runtime: Runtime, profiles: Collection[int]) -> int:
    earlier = Q(requested_at__lt=runtime.requested_at) | Q(requested_at=runtime.requested_at, pk__lt=runtime.pk)
    return 1 + Runtime.objects.filter(WAITING, earlier, profile__in=profiles).count()


def _outlook(position: int, profiles: Collection[int], now: datetime) -> Outlook:
    seated = Runtime.objects.filter(_SEATED, profile__in=profiles).values_list("ready_at", "deadline")
    seats = [Seat(now - (ready_at or now), deadline - now if deadline else None) for ready_at, deadline in seated]
    lengths = measured(profiles)
    return Outlook(position, until_start(position, seats, lengths), len(lengths))


def measured(profiles: Collection[int]) -> list[timedelta]:
    """How long the last runs of people at work lasted, newest first."""
    over = Runtime.objects.filter(
        profile__in=profiles,
        purpose=Runtime.Purpose.INTERACTIVE,
        state__in=[Runtime.State.STOPPED, Runtime.State.LOST],
        ready_at__isnull=False,
        stopped_at__isnull=False,
    )
    times = over.order_by("-stopped_at").values_list("ready_at", "stopped_at")[:MEASURED]
    return [stopped_at - ready_at for ready_at, stopped_at in times if ready_at and stopped_at]
