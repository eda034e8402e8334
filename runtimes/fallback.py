"""Verb: who waits for a GPU or TPU goes on at once without one. For this machine only: the next start asks again."""

from __future__ import annotations

from runtimes import bus, queue
from runtimes.models import Profile, Runtime


def offered(runtime: Runtime) -> Profile | None:
    """What somebody who waits for this runtime may use at once. `runtime.profile.fallback` must be loaded."""
    fallback = runtime.profile.fallback
    if runtime.purpose != Runtime.Purpose.INTERACTIVE or fallback is None or fallback.retired_at is not None:
        return None
    return fallback if queue.waits(runtime) else None


def use_fallback(runtime: Runtime) -> bool:
    """Has the waiting runtime become one of its profile's fallback; False where it waits no longer. Safe to repeat.

    It keeps its kernels, its files and the time at which it was asked for. What was asked of the provider is given
    back by the runtime's keeper, which sees that the row wants another machine."""
    fallback = offered(runtime)
    if fallback is None:
        return False
    mine = Runtime.objects.filter(queue.WAITING, pk=runtime.pk, profile=runtime.profile_id)
    news = {"reason": "", "message": "", "detail": "", "in_vain_since": None}
    if not mine.update(profile=fallback, preload=fallback.preload, **news):
        return False
    bus.publish_on_commit("runtimes")
    bus.publish_on_commit(f"runtime:{runtime.name}")
    return True
