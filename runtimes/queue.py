"""Who waits for which machine, in what order, and for how long about. The order is the database's: first come, first
served, among those who want the same kind of machine."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Q
from django.utils import timezone

from runtimes.estimate import Seat, until_start
from runtimes.models import Profile, Runtime
from runtimes.profiles import accelerator
from runtimes.status import Reason
from runtimes.usage import reserved

#: Reasons of a runtime that is on its way and has no seat yet.
WAITS = frozenset(
    {Reason.CAPACITY_WAIT, Reason.ACCELERATOR_WAIT, Reason.QUOTA_EXCEEDED, Reason.SCALING_UP, Reason.NO_MACHINE}
)
#: Waits without a place in an order: each has asked for a machine that is being added, and whose pod gets it is the
#: scheduler's to say; or nobody is served.
_NO_PLACE = frozenset({Reason.SCALING_UP, Reason.NO_MACHINE})
#: How many of the last runs are looked at.
MEASURED = 30
#: How long what some had shows what machines there are.
LATELY = timedelta(days=7)

WAITING = Q(state=Runtime.State.QUEUED) | Q(state=Runtime.State.STARTING, reason__in=WAITS)
_SEATED = Q(state__in=[Runtime.State.READY, Runtime.State.STOPPING]) | (
    Q(state=Runtime.State.STARTING) & ~Q(reason__in=WAITS)
)


@dataclass(frozen=True, slots=True)
class Outlook:
    """What somebody who waits may expect. left: about how long; None: not known. measured: from how many runs. seats:
    how many there are, which are taken."""

    position: int
    left: timedelta | None
    measured: int
    seats: int

    @property
    def ahead(self) -> int:
        """How many are served before."""
        return self.position - 1


def seats_of(profile: Profile) -> str:
    """What machines of this profile have seats of. "" for processors and memory."""
    return f"{profile.accelerator} {profile.accelerator_model} {profile.accelerator_partition}" if profile.gpu else ""


def kind(profile: Profile) -> str:
    """What machines of this profile have seats of, and on which nodes: equal for profiles that compete."""
    labels = accelerator(profile).selector() if profile.gpu else {}
    tolerations = sorted(json.dumps(one, sort_keys=True) for one in profile.tolerations)
    placement = [{**labels, **profile.node_selector}, tolerations, profile.runtime_class]
    return f"{seats_of(profile)} {json.dumps(placement, sort_keys=True)}"


def waits(runtime: Runtime) -> bool:
    """Whether it has no seat yet."""
    return runtime.state == Runtime.State.QUEUED or (
        runtime.state == Runtime.State.STARTING and runtime.reason in WAITS
    )


def has_place(runtime: Runtime) -> bool:
    """Whether it waits, and its number in the queue says who is served before."""
    return waits(runtime) and runtime.reason not in _NO_PLACE


def queue_position(runtime: Runtime) -> int:
    """1 for the next to start, 0 if it does not wait. `runtime.profile` must be loaded."""
    return _position(runtime, rivals(runtime.profile)) if waits(runtime) else 0


def positions(live: Iterable[Runtime]) -> dict[int, int]:
    """The same by key, for all who wait among `live`, which come in the order they were asked for. No query."""
    of_kind: Counter[str] = Counter()
    of_profile: Counter[int] = Counter()
    found = {}
    for row in live:
        if waits(row):
            wanted = kind(row.profile)
            found[row.pk] = 1 + of_kind[wanted] + of_profile[row.profile_id]
            if row.reason == Reason.NO_MACHINE:
                of_profile[row.profile_id] += 1
            else:
                of_kind[wanted] += 1
    return found


def outlook(runtime: Runtime) -> Outlook | None:
    """What it may expect, in four queries; None if it has no place in a queue. `runtime.profile` must be loaded."""
    if not has_place(runtime):
        return None
    profiles = rivals(runtime.profile)
    return _outlook(_position(runtime, profiles), profiles, timezone.now())


def newcomer(profile: Profile) -> Outlook | None:
    """What somebody would expect who asked for this machine now; None if nobody waits for one."""
    profiles = rivals(profile)
    waiting = Runtime.objects.filter(WAITING, _before(profile.pk, profiles)).count()
    return _outlook(waiting + 1, profiles, timezone.now()) if waiting else None


def had_room(runtime: Runtime) -> bool:
    """Whether one of those that compete with it lately had as much as it wants of what it waits for, so that there are
    machines large enough. `runtime.profile` must be loaded."""
    wanted = reserved(runtime.profile)
    names = ["gpu"] if runtime.reason == Reason.ACCELERATOR_WAIT else list(wanted)
    as_much = {f"reserved__{name}__gte": wanted[name] for name in names}
    lately = timezone.now() - LATELY
    return Runtime.objects.filter(profile__in=rivals(runtime.profile), ready_at__gt=lately, **as_much).exists()


def rivals(profile: Profile) -> list[int]:
    """Keys of the profiles whose machines take the same seats."""
    wanted = kind(profile)
    return [one.pk for one in Profile.objects.all() if kind(one) == wanted]


def _position(runtime: Runtime, profiles: Collection[int]) -> int:
    earlier = Q(requested_at__lt=runtime.requested_at) | Q(requested_at=runtime.requested_at, pk__lt=runtime.pk)
    return 1 + Runtime.objects.filter(WAITING, earlier, _before(runtime.profile_id, profiles)).count()


def _before(profile: int, profiles: Collection[int]) -> Q:
    """Who is served before somebody of this profile who came later: not who waits for a machine that is not there, of
    another profile."""
    return Q(profile__in=profiles) & (~Q(reason=Reason.NO_MACHINE) | Q(profile=profile))


def _outlook(position: int, profiles: Collection[int], now: datetime) -> Outlook:
    seated = Runtime.objects.filter(_SEATED, profile__in=profiles).values_list("ready_at", "deadline")
    seats = [Seat(now - (ready_at or now), deadline - now if deadline else None) for ready_at, deadline in seated]
    lengths = measured(profiles)
    return Outlook(position, until_start(position, seats, lengths), len(lengths), len(seats))


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
