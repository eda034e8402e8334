"""What runtimes used, charged to their accounts: wall-clock seconds times what was reserved, and what was measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from runtimes.meter import Meter
from runtimes.models import GIB, Profile, Runtime, Usage
from runtimes.status import Reason

FIELDS = [
    "account", "wall_seconds", "cpu_seconds", "cpu_used_seconds", "memory_gib_seconds", "gpu_seconds", "recorded_at",
]  # fmt: skip
_AT_ONCE = 500


def reserved(profile: Profile) -> dict[str, float]:
    """What a runtime of this profile has for itself, as a row keeps it: of a shared GPU its part."""
    return {"cpu": float(profile.cpu), "memory_bytes": profile.memory_bytes, "gpu": profile.accelerators}


def share(runtime: Runtime) -> dict[str, float]:
    """What this runtime has for itself: what it was started with, or, before it is ready, what its profile would give.
    Its profile must be loaded."""
    return runtime.reserved or reserved(runtime.profile)


def record(runtimes: Iterable[Runtime], until: datetime) -> None:
    """Writes the use of each from its start to `until`; what has not started used nothing. In as many queries for many
    as for a few: those that wait for a place share the connection.

    Computed afresh each time: safe to repeat. Profiles must be loaded."""
    rows = [
        _row(runtime, max((until - runtime.ready_at).total_seconds(), 0.0), until)
        for runtime in runtimes
        if runtime.ready_at is not None
    ]
    Usage.objects.bulk_create(rows, _AT_ONCE, update_conflicts=True, unique_fields=["runtime"], update_fields=FIELDS)


def _row(runtime: Runtime, wall: float, until: datetime) -> Usage:
    held = share(runtime)
    return Usage(
        runtime=runtime,
        account=runtime.account,
        wall_seconds=wall,
        cpu_seconds=wall * held["cpu"],
        cpu_used_seconds=Meter.of(runtime.cpu_meter).used,
        memory_gib_seconds=wall * held["memory_bytes"] / GIB,
        gpu_seconds=wall * held["gpu"],
        recorded_at=until,
    )


def charge(account: str, to: str) -> None:
    """What was charged to `account` is charged to another one, and so is what runs. In the caller's transaction."""
    Runtime.objects.filter(account=account).update(account=to)
    Usage.objects.filter(account=account).update(account=to)


@dataclass(frozen=True, slots=True)
class Used:
    """One job's runtime. profile: its key. cpu_seconds: of processor time, None where that is not known."""

    profile: int
    account: str
    environment_digest: str
    began: datetime
    ended: datetime
    cpu_seconds: float | None = None


def record_jobs(used: Sequence[Used], provider: str) -> None:
    """Writes what jobs used: a row for each (profile, account, environment), since jobs are many and short."""
    together: dict[tuple[int, str, str], list[Used]] = {}
    for one in used:
        together.setdefault((one.profile, one.account, one.environment_digest), []).append(one)
    profiles = Profile.objects.in_bulk([profile for profile, _account, _digest in together])
    with transaction.atomic():
        for (key, account, digest), ones in together.items():
            profile = profiles.get(key)
            if profile is not None:
                _record_stretch(profile, account, digest, ones, provider)


def _record_stretch(profile: Profile, account: str, digest: str, used: Sequence[Used], provider: str) -> None:
    began, ended = min(one.began for one in used), max(one.ended for one in used)
    measured = [one.cpu_seconds for one in used if one.cpu_seconds is not None]
    runtime = Runtime.objects.create(
        profile=profile,
        purpose=Runtime.Purpose.GRADING,
        account=account,
        state=Runtime.State.STOPPED,
        reason=Reason.REQUESTED,
        provider=provider,
        environment_digest=digest,
        cpu_meter=Meter(sum(measured)).to_json() if measured else {},
        requested_at=began,
        ready_at=began,
        stopped_at=ended,
    )
    _row(runtime, sum((one.ended - one.began).total_seconds() for one in used), ended).save()
