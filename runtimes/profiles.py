"""Pure: from a profile (a row that a teacher or administrator chose) to what a provider is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

from runtimes.models import Profile, Runtime
from runtimes.provider import Isolation, Limits, Network, Request

# The provider's own limit lies behind ours, so that files are pulled before it strikes.
LIFETIME_MARGIN = timedelta(minutes=2)


def limits(profile: Profile) -> Limits:
    """What one runtime of this profile may use."""
    return Limits(
        memory_bytes=profile.memory_bytes,
        cpu_cores=float(profile.cpu),
        processes=profile.processes,
        home_bytes=profile.home_bytes,
        lifetime=profile.lifetime + LIFETIME_MARGIN,
    )


def request(runtime: Runtime) -> Request:
    """What to ask a provider for, for this row. Where people work, a kernel starts with the runtime: nearly all want
    one. A job asks for the kernel that it needs."""
    profile = runtime.profile
    interactive = runtime.purpose == Runtime.Purpose.INTERACTIVE
    return Request(
        name=runtime.name,
        limits=limits(profile),
        environment="" if profile.environment == "default" else profile.environment,
        preload=tuple(runtime.preload),
        # The profile's network is for people at work: nothing that is graded or checked may depend on it, or reach out.
        network=Network(profile.network) if interactive else Network.NONE,
        isolation=Isolation(profile.isolation),
        gpu=profile.gpu,
        kernels=1 if interactive else 0,
        env={str(name): str(value) for name, value in runtime.env.items()},
        purpose="interactive" if interactive else "grading",
    )


def template(profile: Profile) -> Request:
    """A request of this profile's usual kind, for keeping some warm: equal to those to come in all but the name."""
    usual = Runtime(name="warm", profile=profile, purpose=Runtime.Purpose.INTERACTIVE, preload=profile.preload, env={})
    return request(usual)


def job(profile: Profile, *, preload: Sequence[str], env: Mapping[str, str]) -> Request:
    """What a job of this profile needs: as a runtime that is asked for by a row, but for the name."""
    wanted = Runtime(name="job", profile=profile, purpose=Runtime.Purpose.GRADING, preload=preload, env=env)
    return request(wanted)
