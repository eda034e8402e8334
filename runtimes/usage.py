"""What runtimes used, charged to their accounts: wall-clock seconds times what was reserved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from runtimes.models import GIB, Profile, Runtime, Usage
from runtimes.status import Reason


def reserved(profile: Profile) -> dict[str, float]:
    """What a runtime of this profile has for itself, as a row keeps it: of a shared GPU its part."""
    return {"cpu": float(profile.cpu), "memory_bytes": profile.memory_bytes, "gpu": profile.accelerators}


def record(runtime: Runtime, until: datetime) -> Usage | None:
    """Writes the runtime's use from its start to `until`; None if it has not started.

    Computed afresh each time: safe to repeat. `runtime.profile` must be loaded."""
    if runtime.ready_at is None:
        return None
    return _write(runtime, max((until - runtime.ready_at).total_seconds(), 0.0), until)


def _write(runtime: Runtime, wall: float, until: datetime) -> Usage:
    share = runtime.reserved or reserved(runtime.profile)
    row, _made = Usage.objects.update_or_create(
        runtime=runtime,
        defaults={
            "account": runtime.account,
            "wall_seconds": wall,
            "cpu_seconds": wall * share["cpu"],
            "memory_gib_seconds": wall * share["memory_bytes"] / GIB,
            "gpu_seconds": wall * share["gpu"],
            "recorded_at": until,
        },
    )
    return row


@dataclass(frozen=True, slots=True)
class Used:
    """One job's runtime. profile: its key."""

    profile: int
    account: str
    environment_digest: str
    began: datetime
    ended: datetime


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
    runtime = Runtime.objects.create(
        profile=profile,
        purpose=Runtime.Purpose.GRADING,
        account=account,
        state=Runtime.State.STOPPED,
        reason=Reason.REQUESTED,
        provider=provider,
        environment_digest=digest,
        requested_at=began,
        ready_at=began,
        stopped_at=ended,
    )
    _write(runtime, sum((one.ended - one.began).total_seconds() for one in used), ended)
