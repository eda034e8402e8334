"""Pure: from a profile (a row that a teacher or administrator chose) to what a provider is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from runtimes import timetable
from runtimes.machine import DataVolume, Gpu, Machine, Tpu
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
        idle=profile.idle_timeout + LIFETIME_MARGIN,
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
        machine=machine(profile, interactive=interactive),
    )


def machine(profile: Profile, *, interactive: bool = True) -> Machine:
    """What else a profile says. Data sets out of a bucket come over its network, which only people at work have."""
    data = DataVolume(profile.data_claim, profile.data_bucket, profile.data_service_account)
    has_data = bool(profile.data_claim or (profile.data_bucket and interactive))
    return Machine(
        slug=profile.slug,
        image=profile.image,
        accelerator=accelerator(profile) if profile.gpu else None,
        node_selector=dict(profile.node_selector),
        tolerations=tuple(profile.tolerations),
        runtime_class=profile.runtime_class,
        cpu_request=float(profile.cpu_request),
        scratch_bytes=profile.scratch_bytes,
        data=data if has_data else None,
    )


def accelerator(profile: Profile) -> Gpu | Tpu:
    """The kind of its GPUs or TPUs."""
    if profile.accelerator == Profile.Accelerator.TPU:
        return Tpu(profile.accelerator_model, profile.accelerator_topology)
    return Gpu(
        model=profile.accelerator_model,
        partition=profile.accelerator_partition,
        sharing=profile.accelerator_sharing,  # type: ignore[arg-type]
        clients=profile.accelerator_clients,
    )


def warm_now(profile: Profile, now: datetime) -> int:
    """How many runtimes of it shall be ready at `now`."""
    return timetable.warm_at(timetable.read(profile.timetable), profile.time_zone, now, profile.warm)


def template(profile: Profile) -> Request:
    """A request of this profile's usual kind, for keeping some warm: equal to those to come in all but the name."""
    usual = Runtime(name="warm", profile=profile, purpose=Runtime.Purpose.INTERACTIVE, preload=profile.preload, env={})
    return request(usual)


def job(profile: Profile, *, preload: Sequence[str], env: Mapping[str, str]) -> Request:
    """What a job of this profile needs: as a runtime that is asked for by a row, but for the name."""
    wanted = Runtime(name="job", profile=profile, purpose=Runtime.Purpose.GRADING, preload=preload, env=env)
    return request(wanted)
