"""What runtimes used, charged to their accounts: wall-clock seconds times what was reserved."""

from __future__ import annotations

from datetime import datetime

from runtimes.models import GIB, Runtime, Usage


def record(runtime: Runtime, until: datetime) -> Usage | None:
    """Writes the runtime's use from its start to `until`; None if it has not started.

    Computed afresh each time: safe to repeat. `runtime.profile` must be loaded."""
    if runtime.ready_at is None:
        return None
    profile = runtime.profile
    wall = max((until - runtime.ready_at).total_seconds(), 0.0)
    row, _made = Usage.objects.update_or_create(
        runtime=runtime,
        defaults={
            "account": runtime.account,
            "wall_seconds": wall,
            "cpu_seconds": wall * float(profile.cpu),
            "memory_gib_seconds": wall * profile.memory_bytes / GIB,
            "gpu_seconds": wall * profile.gpu,
            "recorded_at": until,
        },
    )
    return row
