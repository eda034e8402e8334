"""Who waits for which machine, in what order, and for how long about. The order is the database's: first come, first
served, in each line. `admission.py` asks the same lines who may start."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum

from django.conf import settings
from django.db.models import Count, Q
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
#: Of somebody in the queue who is held up by nobody, or was not looked at yet.
_UNHELD = frozenset({Reason.NONE, Reason.CAPACITY_WAIT})
_SEATED = Q(state__in=[Runtime.State.READY, Runtime.State.STOPPING]) | (
    Q(state=Runtime.State.STARTING) & ~Q(reason__in=WAITS)
)


class Width(IntEnum):
    """Who stand in one line: of one profile, on the same nodes, who want seats of the same sort, all."""

    PROFILE = 0
    KIND = 1
    SEATS = 2
    EVERYONE = 3


type Line = tuple[Width, str]
_EVERYONE: Line = (Width.EVERYONE, "")


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


def lines(profile: Profile) -> tuple[Line, Line, Line]:
    """Those in which machines of this profile are waited for, from the narrowest."""
    return (Width.PROFILE, profile.slug), (Width.KIND, kind(profile)), (Width.SEATS, seats_of(profile))


def line(profile: Profile, reason: str) -> Line:
    """The one in which somebody who waits for this reason goes before all who came later."""
    own, same_nodes, same_seats = lines(profile)
    if reason == Reason.NO_MACHINE:
        # What waits in vain holds up its like alone.
        return own
    # A quota is the whole namespace's, wherever in it a pod would be.
    return same_seats if reason == Reason.QUOTA_EXCEEDED else same_nodes


def waits(runtime: Runtime) -> bool:
    """Whether it has no seat yet."""
    return runtime.state == Runtime.State.QUEUED or (
        runtime.state == Runtime.State.STARTING and runtime.reason in WAITS
    )


def has_place(runtime: Runtime) -> bool:
    """Whether it waits, and its number in the queue says who is served before."""
    return waits(runtime) and runtime.reason not in _NO_PLACE


def queue_position(runtime: Runtime) -> int:
    """1 for the next to start, 0 if it does not wait. In two queries. `runtime.profile` must be loaded."""
    return _standing(runtime).position if waits(runtime) else 0


def positions(live: Sequence[Runtime]) -> dict[int, int]:
    """The same by key, for all who wait among `live`: all that are not over, in the order they were asked for. No
    query."""
    full = _full(sum(row.state != Runtime.State.QUEUED for row in live))
    before: Counter[Line] = Counter()
    found = {}
    for row in live:
        if waits(row):
            found[row.pk] = 1 + sum(before[one] for one in _behind(row.profile, row.state, full=full))
            before[_line(row.profile, row.state, row.reason, full=full)] += 1
    return found


def outlook(runtime: Runtime) -> Outlook | None:
    """What it may expect, in four queries; None if it has no place in a queue. `runtime.profile` must be loaded."""
    return _outlook(_standing(runtime), timezone.now()) if has_place(runtime) else None


def newcomer(profile: Profile) -> Outlook | None:
    """What somebody would expect who asked for this machine now; None if nobody is served before."""
    standing = _standing(Runtime(profile=profile))
    return _outlook(standing, timezone.now()) if standing.position > 1 else None


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


@dataclass(frozen=True, slots=True)
class _Standing:
    """A place, and the profiles any of whose machines, when it ends, brings it forward."""

    position: int
    profiles: Sequence[int]


def _standing(runtime: Runtime) -> _Standing:
    """Of one that waits; one that is not saved comes now."""
    earlier = WAITING
    if runtime.pk is not None:
        same_time = Q(requested_at=runtime.requested_at, pk__lt=runtime.pk)
        earlier &= Q(requested_at__lt=runtime.requested_at) | same_time
    live = Runtime.objects.filter(state__in=Runtime.LIVE).values_list("profile", "state", "reason")
    groups = list(live.annotate(Count("pk"), earlier=Count("pk", filter=earlier)))
    # After them: none of theirs is missing.
    profiles = {one.pk: one for one in Profile.objects.all()}
    full = _full(sum(count for _profile, state, _reason, count, _earlier in groups if state != Runtime.State.QUEUED))
    before: Counter[Line] = Counter()
    for profile, state, reason, _count, found in groups:
        before[_line(profiles[profile], state, reason, full=full)] += found
    behind = _behind(runtime.profile, runtime.state, full=full)
    own = _line(runtime.profile, runtime.state, runtime.reason, full=full)
    widest = max([lines(runtime.profile)[1], own, *(one for one in behind if before[one])])
    share = [pk for pk, one in profiles.items() if widest in (*lines(one), _EVERYONE)]
    return _Standing(1 + sum(before[one] for one in behind), share)


def _full(up: int) -> bool:
    """Whether so many are as many as may be up at once."""
    return 0 < settings.RUNTIMES_MOST <= up


def _line(profile: Profile, state: str, reason: str, *, full: bool) -> Line:
    """`line`; who waits for nothing but that one of all ends goes before everyone in the queue."""
    unheld = full and state == Runtime.State.QUEUED and reason in _UNHELD
    return _EVERYONE if unheld else line(profile, reason)


def _behind(profile: Profile, state: str, *, full: bool) -> Sequence[Line]:
    """The lines at whose end somebody stands who comes now."""
    queued = full and state == Runtime.State.QUEUED
    return (*lines(profile), _EVERYONE) if queued else lines(profile)


def _outlook(standing: _Standing, now: datetime) -> Outlook:
    profiles = standing.profiles
    seated = Runtime.objects.filter(_SEATED, profile__in=profiles).values_list("ready_at", "deadline")
    seats = [Seat(now - (ready_at or now), deadline - now if deadline else None) for ready_at, deadline in seated]
    lengths = measured(profiles)
    return Outlook(standing.position, until_start(standing.position, seats, lengths), len(lengths), len(seats))


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
