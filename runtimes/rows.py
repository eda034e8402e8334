"""The rows as the `runtimes` process sees and moves them. Every move is guarded: it happens once, or not at all.

All in one thread of the process, on one database connection; `@in_thread` makes each function awaitable.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Hashable, Iterable, Mapping
from datetime import datetime
from functools import wraps

from asgiref.sync import sync_to_async
from django.db import connection, transaction
from django.db.models import Case, F, Q, QuerySet, Value, When
from django.db.models.functions import Coalesce
from django.utils import timezone

from runtimes import bus, load, long_runs, profiles, queue, usage
from runtimes.agent_replies import ExitReason, KernelState
from runtimes.models import Kernel, Profile, ProviderReport, Runtime, Usage
from runtimes.provider import Endpoint, Reason, Status

#: As `ProviderReport` has them.
type Pools = dict[str, dict[str, int]]

#: A cluster may say much more than anyone reads.
MOST_WORDS = 1000
_UP = [Runtime.State.STARTING, Runtime.State.READY, Runtime.State.STOPPING]
_EXIT_REASONS = {
    ExitReason.OUT_OF_MEMORY: Reason.OUT_OF_MEMORY,
    ExitReason.STOPPED: Reason.REQUESTED,
}


def in_thread[**P, R](function: Callable[P, R]) -> Callable[P, Awaitable[R]]:
    """An async form of `function`, with a database connection that the server has not closed."""

    @wraps(function)
    def fresh(*args: P.args, **kwargs: P.kwargs) -> R:
        connection.close_if_unusable_or_obsolete()
        return function(*args, **kwargs)

    return sync_to_async(fresh)


@in_thread
def live() -> list[Runtime]:
    """Everything that is not over, with its profile, first come first."""
    rows = Runtime.objects.filter(state__in=Runtime.LIVE).select_related("profile", "workspace")
    return list(rows.order_by("requested_at", "pk"))


def _unsettled() -> QuerySet[Kernel]:
    wanted = [Kernel.State.REQUESTED, Kernel.State.STARTING, Kernel.State.STOPPING]
    return Kernel.objects.filter(runtime__state=Runtime.State.READY, state__in=wanted).order_by("index")


@in_thread
def with_unsettled_kernels() -> set[int]:
    """Keys of ready runtimes with kernels whose rows ask for something."""
    return set(_unsettled().order_by().values_list("runtime_id", flat=True))


@in_thread
def unsettled_kernels(runtime: Runtime) -> list[Kernel]:
    """Those kernels of one runtime."""
    return list(_unsettled().filter(runtime=runtime))


@in_thread
def names_live() -> set[str]:
    """Names of everything that is not over."""
    return set(Runtime.objects.filter(state__in=Runtime.LIVE).values_list("name", flat=True))


@in_thread
def warm_profiles() -> list[Profile]:
    """Profiles of which some runtimes shall be kept ready, always or in class hours."""
    return list(Profile.objects.exclude(warm=0, timetable=[]).order_by("pk"))


@in_thread
def reload(runtime: Runtime) -> Runtime:
    """The row as it is now."""
    return Runtime.objects.select_related("profile", "workspace").get(pk=runtime.pk)


@in_thread
def begin_start(waiting: Collection[Runtime], provider: str) -> set[int]:
    """QUEUED → STARTING for all of them at once. Returns the keys of those that were not stopped or changed
    meanwhile."""
    begun: dict[int, str] = {}
    for profile, runtimes in _by(waiting, lambda row: row.profile_id).items():
        # Somebody who waits may have asked for another machine since the row was read.
        rows = Runtime.objects.filter(pk__in=[row.pk for row in runtimes], profile=profile)
        rows.filter(state=Runtime.State.QUEUED).update(
            state=Runtime.State.STARTING, provider=provider, reason="", message="", detail=""
        )
        begun |= dict(rows.filter(state=Runtime.State.STARTING).values_list("pk", "name"))
    for name in begun.values():
        bus.publish_sync(f"runtime:{name}")
    return set(begun)


@in_thread
def note_queued(held: Collection[tuple[Runtime, str]]) -> None:
    """Says on rows that stay in the queue what they wait for."""
    for reason, news in _by(held, lambda one: one[1]).items():
        keys = [row.pk for row, _reason in news if row.reason != reason or _unsure(row)]
        if keys:
            rows = Runtime.objects.filter(pk__in=keys, state=Runtime.State.QUEUED)
            rows.update(reason=reason, in_vain_since=_in_vain_since(reason))


def _unsure(row: Runtime) -> bool:
    """Whether its reason and since when it has waited in vain do not go together: another version wrote the reason."""
    return (row.reason == Reason.NO_MACHINE) != (row.in_vain_since is not None)


def _in_vain_since(reason: str) -> Coalesce | F | None:
    """What a row has from now on that waits for `reason`. To be asked anew is no reason: that it keeps."""
    if not reason:
        return F("in_vain_since")
    return Coalesce("in_vain_since", Value(timezone.now())) if reason == Reason.NO_MACHINE else None


def _by[T, K: Hashable](things: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    together: dict[K, list[T]] = {}
    for thing in things:
        together.setdefault(key(thing), []).append(thing)
    return together


@in_thread
def back_to_queue(runtime: Runtime) -> None:
    """STARTING → QUEUED: it cannot be started yet, or not by this process; its place in the queue is kept."""
    Runtime.objects.filter(pk=runtime.pk, state=Runtime.State.STARTING).update(
        state=Runtime.State.QUEUED, reason="", message="", detail=""
    )


@in_thread
def note_waiting(runtime: Runtime, reason: str, *, message: str = "", detail: str = "") -> None:
    """Says on the row why it is not ready yet."""
    news = {"reason": reason, "message": message, "detail": detail}
    told = Q(**news) & (Q(in_vain_since__isnull=reason != Reason.NO_MACHINE) if reason else Q())
    row = Runtime.objects.filter(~told, pk=runtime.pk, state=Runtime.State.STARTING)
    if row.update(**news, in_vain_since=_in_vain_since(reason)):
        # Who has got a seat lets the next one ask for one.
        bus.publish_sync("runtimes")
        bus.publish_sync(f"runtime:{runtime.name}")


@in_thread
def mark_ready(runtime: Runtime, status: Status, endpoint: Endpoint, environment_digest: str) -> bool:
    """STARTING → READY, with all that others need to connect; False if it was stopped, or another machine wanted,
    meanwhile."""
    now, waited = timezone.now(), bool(runtime.reason)
    changes = {
        "state": Runtime.State.READY,
        "reason": "",
        "message": "",
        "detail": "",
        "in_vain_since": None,
        "endpoint": endpoint.to_json(),
        "key_version": endpoint.key_version,
        "isolation": ",".join(status.isolation),
        "environment_digest": environment_digest,
        "reserved": usage.reserved(runtime.profile),
        "ready_at": now,
        "pulled_at": now,
        "last_active_at": now,
        "deadline": _deadline(runtime.profile, status, now),
    }
    row = Runtime.objects.filter(pk=runtime.pk, profile=runtime.profile_id, state=Runtime.State.STARTING)
    moved = bool(row.update(**changes))
    if moved:
        for name, value in changes.items():
            setattr(runtime, name, value)
        # Kernel 0 has started with its runtime, in the home folder.
        first = Kernel.objects.filter(runtime=runtime, index=0, cwd="", state=Kernel.State.REQUESTED)
        first.update(state=Kernel.State.RUNNING, execution_state="idle", started_at=now, last_activity=now)
        if waited:
            bus.publish_sync("runtimes")
        bus.publish_sync(f"runtime:{runtime.name}")
    return moved


def _deadline(profile: Profile, status: Status, now: datetime) -> datetime:
    """A lifetime from now, and early enough for files to be pulled before its provider ends it: a pod's limit counts
    from when a node took it on, and its image is fetched after that."""
    whole = now + profile.lifetime
    return whole if status.deadline is None else min(whole, status.deadline - profiles.LIFETIME_MARGIN)


@in_thread
def ask_to_stop(runtime: Runtime, reason: str, message: str = "") -> bool:
    """READY or STARTING → STOPPING, by this process's own decision (idle, lifetime, lease)."""
    row = Runtime.objects.filter(pk=runtime.pk, state__in=[Runtime.State.STARTING, Runtime.State.READY])
    return bool(row.update(state=Runtime.State.STOPPING, reason=reason, message=message))


@in_thread
def stop_idle(runtime: Runtime) -> bool:
    """READY → STOPPING for being idle, unless somebody has used it, or begun to execute, since `runtime` was read."""
    used = {"last_active_at": runtime.last_active_at, "executed_at": runtime.executed_at}
    row = Runtime.objects.filter(pk=runtime.pk, state=Runtime.State.READY, **used)
    return bool(row.update(state=Runtime.State.STOPPING, reason=Reason.IDLE, message=""))


@in_thread
def settle(
    runtime: Runtime, state: str, reason: str, *, message: str = "", detail: str = "", ended_at: datetime | None = None
) -> bool:
    """Any live state → `state`, with its kernels dead and its use recorded. ended_at: when it was over, where that is
    not now; at the earliest, if that is not known any better."""
    now = timezone.now()
    changes = {"state": state, "stopped_at": now, "reason": reason, "message": message, "detail": detail}
    # Together: nobody sees one that has ended and is not charged for, and one is charged whoever dies meanwhile.
    with transaction.atomic():
        moved = bool(Runtime.objects.filter(pk=runtime.pk, state__in=_UP).update(**changes))
        row = Runtime.objects.select_related("profile").get(pk=runtime.pk)
        if row.state not in Runtime.LIVE:
            Kernel.objects.filter(runtime=row).exclude(state=Kernel.State.DEAD).update(
                state=Kernel.State.DEAD, execution_state="dead", reason=row.reason, message=row.message
            )
        if moved:
            usage.record([row], _charged_until(row, ended_at, now))
    if moved:
        bus.publish_sync("runtimes")
        bus.publish_sync(f"runtime:{row.name}")
    return moved


def _charged_until(row: Runtime, ended_at: datetime | None, now: datetime) -> datetime:
    """Its end, and at least when it was last seen: what has been counted is never taken back."""
    if ended_at is None:
        return now
    seen = Usage.objects.filter(runtime=row).values_list("recorded_at", flat=True).first()
    return min(max(ended_at, seen or ended_at), now)


@in_thread
def kernel_seen(runtime: Runtime, seen: KernelState) -> None:
    """What the agent says about a kernel, onto its row."""
    now = timezone.now()
    if seen.exit_reason is not None or seen.state == "dead":
        changed = _mark_dead(runtime, seen)
    else:
        begun = Q(state__in=[Kernel.State.RESTARTING, Kernel.State.STARTING])
        runs = When(begun, then=Value(Kernel.State.RUNNING)) if seen.state in ("idle", "busy") else None
        state = Case(runs, default=F("state")) if runs else F("state")
        rows = Kernel.objects.filter(runtime=runtime, index=seen.index).exclude(state=Kernel.State.DEAD)
        other = rows.filter(~Q(execution_state=seen.state) | begun)
        changed = bool(other.update(state=state, execution_state=seen.state, last_activity=now))
    if changed:
        bus.publish_sync(f"runtime:{runtime.name}")


def _mark_dead(runtime: Runtime, seen: KernelState) -> bool:
    reason = _EXIT_REASONS.get(seen.exit_reason, Reason.KERNEL_CRASH) if seen.exit_reason else Reason.KERNEL_CRASH
    message = f"{seen.exit_reason or 'ended'}, status {seen.exit_status}"
    # A requested kernel is not the dead one that had its index before; one that restarts is expected to end.
    rows = Kernel.objects.filter(runtime=runtime, index=seen.index, state__in=[Kernel.State.RUNNING])
    died = {"died_of": reason, "died_at": timezone.now()} if reason != Reason.REQUESTED else {}
    return bool(rows.update(state=Kernel.State.DEAD, execution_state="dead", reason=reason, message=message, **died))


@in_thread
def died_of_memory(runtime: Runtime) -> None:
    """The kernels of a runtime that was killed for memory as a whole: those that ran, and those whose agent, started
    again, could only tell that they were killed."""
    killed = Q(state=Kernel.State.RUNNING) | Q(state=Kernel.State.DEAD, message__startswith=str(ExitReason.KILLED))
    died = {"died_of": Reason.OUT_OF_MEMORY, "died_at": timezone.now()}
    state = {"state": Kernel.State.DEAD, "execution_state": "dead", "reason": Reason.OUT_OF_MEMORY}
    if Kernel.objects.filter(killed, runtime=runtime).update(**state, **died):
        bus.publish_sync(f"runtime:{runtime.name}")


@in_thread
def report(provider: str, warm: int, pools: Pools, accelerators: int | None, lacks: Mapping[str, str]) -> None:
    """What was seen of the provider, for the operators' page and the metrics. One that is no longer used is not told
    of any more."""
    told = {slug: words[:MOST_WORDS] for slug, words in lacks.items()}
    seen = {"warm": warm, "pools": pools, "accelerators": accelerators, "lacks": told, "seen_at": timezone.now()}
    ProviderReport.objects.update_or_create(provider=provider, defaults=seen)
    ProviderReport.objects.exclude(provider=provider).delete()


make_way = in_thread(long_runs.make_way)
had_room = in_thread(queue.had_room)
note_cpu = in_thread(load.note)
note_slowed = in_thread(load.note_slowed)


@in_thread
def record_usage(runtimes: Collection[Runtime]) -> None:
    """Writes what ready runtimes used so far."""
    usage.record(runtimes, timezone.now())
