"""How pods end on a real cluster that nobody asked to end: drains, pre-emption, lost nodes, and a site that is away."""

from __future__ import annotations

import asyncio
import secrets
import shlex
import shutil
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from asgiref.sync import sync_to_async

from classroom.places import CHECKOUT
from runtimes import launch
from runtimes.describe import source_text
from runtimes.machine import Gpu, Machine
from runtimes.models import Profile, Runtime, Usage, Workspace, WorkspaceFile
from runtimes.pods import conditions, labels
from runtimes.pods import warm as warm_pods
from runtimes.pods.cluster import Refused
from runtimes.pods.config import ClusterConfig
from runtimes.pods.provider import PodsProvider
from runtimes.provider import Phase, ProviderUnavailable, Reason, Request, Status
from runtimes.status import ALL_KEPT
from tests.runtimes import waiting
from tests.runtimes.pods import samples
from tests.runtimes.pods.real import (
    SMALL,
    WAIT_SECONDS,
    Admin,
    needs_cluster,
    own_namespace,
    ready_ones,
    running,
    seats,
    site_settings,
    until,
)
from tests.runtimes.process import RuntimesProcess
from tests.runtimes.sandbox.notebook import leave_nothing, settled
from tests.runtimes.waiting import at_work, run, state_is

pytestmark = [needs_cluster, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]
#: With the `runtimes` process and its rows.
on_rows = pytest.mark.django_db(transaction=True)
State = Runtime.State
NODE = "pupitre.test/node"
STARTING = "still-starting"
BEAT_SECONDS = 10.0
MERGE = "application/merge-patch+json"
GUIDE = CHECKOUT / "docs/operate.md"
REFUSED = b"Cannot evict pod as it would violate the pod's disruption budget"
BUDGET = "pupitre-runtimes"
#: A cell that has written a file that nobody has pulled, and runs on.
BUSY = "open('kept.txt', 'w').write('kept')\nprint('on', flush=True)\nwhile True: pass"


async def evict(admin: Admin, name: str) -> None:
    """What `kubectl drain` does for each pod of its node."""
    metadata = {"name": name, "namespace": admin.namespace}
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
    await admin.call("POST", "Pod", f"{name}/eviction", body=body)


# --- nodes that are lost


def node(name: str) -> dict[str, Any]:
    """A node without a kubelet that says now that it is well; nobody else's pods are put there."""
    now = samples.text(datetime.now(UTC))
    size = {"cpu": "2", "memory": "4Gi", "pods": "10", "ephemeral-storage": "10Gi"}
    well = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "well"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {NODE: name}},
        "spec": {"taints": [{"key": NODE, "value": name, "effect": "NoSchedule"}]},
        "status": {
            "capacity": size,
            "allocatable": size,
            "conditions": [{**well, "lastHeartbeatTime": now, "lastTransitionTime": now}],
        },
    }


@asynccontextmanager
async def kept_alive(admin: Admin, *names: str) -> AsyncIterator[None]:
    """Says for these nodes meanwhile that they are well: the cluster gives one up that is silent for 40 s."""

    async def beat() -> None:
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            for name in names:
                well = {"status": {"conditions": node(name)["status"]["conditions"]}}
                with suppress(Refused, ProviderUnavailable):
                    await admin.call("PATCH", "Node", f"{name}/status", body=well, content=MERGE)

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()
        await asyncio.wait({beating})


async def bound_to(provider: PodsProvider, admin: Admin, name: str, node: str) -> str:
    """A runtime on this node, where nobody starts it; its pod's name."""
    silent = {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute"}
    new = {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoSchedule"}
    tolerations = ({"key": NODE, "operator": "Exists"}, new, {**silent, "tolerationSeconds": 1})
    await provider.acquire(
        Request(name, machine=Machine(name, node_selector={NODE: node}, tolerations=tolerations), limits=SMALL)
    )

    async def bound() -> str:
        pods, _version = await admin.pods(f"{labels.RUNTIME}={name}")
        return next((pod["metadata"]["name"] for pod in pods if pod["spec"].get("nodeName") == node), "")

    return str(await until(bound))


async def at_home(provider: PodsProvider, admin: Admin, name: str) -> None:
    """A runtime on the node of this name, ready as its kubelet would say."""
    pod = await bound_to(provider, admin, name, name)
    well = samples.running(startTime=samples.text(datetime.now(UTC)))
    await admin.call("PATCH", "Pod", f"{pod}/status", body={"status": well}, content=MERGE)
    assert (await settled(provider, name)).phase is Phase.READY


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def lost(place: tuple[Admin, ClusterConfig], shared_provider: PodsProvider) -> AsyncIterator[tuple[str, str]]:
    """Runtimes on a node that is silent from now on and on one that is deleted. The cluster takes a minute to notice,
    in which the other tests run."""
    admin, _config = place
    silent, deleted = (f"{what}-{secrets.token_hex(4)}" for what in ("silent", "deleted"))
    try:
        for name in (silent, deleted):
            await admin.call("POST", "Node", body=node(name))
        async with kept_alive(admin, silent, deleted):
            await asyncio.gather(
                *(at_home(shared_provider, admin, name) for name in (silent, deleted)),
                bound_to(shared_provider, admin, STARTING, silent),
            )
        await admin.call("DELETE", "Node", deleted)
        yield silent, deleted
    finally:
        for name in (silent, deleted):
            with suppress(Refused):
                await admin.call("DELETE", "Node", name)


@pytest_asyncio.fixture(loop_scope="module")
async def provider(shared_provider: PodsProvider, lost: tuple[str, str]) -> AsyncIterator[PodsProvider]:
    """As for the other files (conftest.py), and what is lost stays until the last test."""
    yield shared_provider
    await leave_nothing(shared_provider, kept=(STARTING, *lost))


# --- drains


async def test_a_drain_takes_warm_pods_at_once_and_waits_for_those_at_work(provider: PodsProvider, place: Any) -> None:
    admin, _config = place
    request = Request("any", kernels=1, limits=SMALL)
    await provider.keep_warm([(request, 1)])
    [pod] = await until(lambda: ready_ones(admin, 1))
    await evict(admin, pod["metadata"]["name"])
    [other] = await until(lambda: ready_ones(admin, 1))
    assert other["metadata"]["name"] != pod["metadata"]["name"]
    await provider.keep_warm([])
    await provider.acquire(replace(request, name="at-work"))
    assert (await settled(provider, "at-work")).phase is Phase.READY
    at_work = await admin.pod((await provider.endpoint("at-work")).identity)
    for each in (pod, at_work):
        # Nothing was added on the way in.
        assert {one["key"]: one["tolerationSeconds"] for one in each["spec"]["tolerations"]} == {
            "node.kubernetes.io/not-ready": 30,
            "node.kubernetes.io/unreachable": 30,
        }
    with pytest.raises(ProviderUnavailable, match="would violate the pod's disruption budget"):
        await evict(admin, (await provider.endpoint("at-work")).identity)
    await provider.release("at-work")


async def on_node(admin: Admin, node: str, state: str) -> list[str]:
    """Names of the pods there that are warm or claimed, and that nobody has deleted."""
    pods, _version = await admin.pods(f"{labels.STATE}={state}")
    kept = [pod for pod in pods if pod["spec"].get("nodeName") == node and "deletionTimestamp" not in pod["metadata"]]
    return [pod["metadata"]["name"] for pod in kept]


async def gone(admin: Admin, name: str) -> None:
    """Somebody deletes the pod, and then it is gone, as a kubelet would say."""

    async def deleted() -> bool:
        return "deletionTimestamp" in (await admin.pod(name))["metadata"]

    await until(deleted)
    await admin.delete_pod(name, 0)


def drains_of(node: str) -> list[list[str]]:
    """The commands that docs/operate.md gives for a node: for who can wait, and for who cannot."""
    lines = [line for line in GUIDE.read_text().splitlines() if line.startswith("kubectl drain NODE ")]
    return [shlex.split(line.replace("NODE", node)) for line in lines]


async def begun(command: list[str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=STDOUT)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="NO KUBECTL: the guide's own commands were not run")
async def test_kubectl_drains_a_node_as_the_guide_says(provider: PodsProvider, place: Any) -> None:
    """On a node of its own, where this test does a kubelet's part."""
    admin, _config = place
    name = f"drained-{secrets.token_hex(4)}"
    patiently, at_once = drains_of(name)
    running: list[asyncio.subprocess.Process] = []
    await admin.call("POST", "Node", body=node(name))
    try:
        async with kept_alive(admin, name):
            await at_home(provider, admin, name)
            at_work = (await provider.endpoint(name)).identity
            tolerated = ({"key": NODE, "operator": "Exists"},)
            warm = Request(
                "any", machine=Machine("any", node_selector={NODE: name}, tolerations=tolerated), limits=SMALL
            )
            await provider.keep_warm([(warm, 1)])
            [idle] = await until(lambda: on_node(admin, name, labels.WARM))
            running.append(await begun(patiently))
            assert running[0].stdout is not None
            await running[0].stdout.readuntil(REFUSED)
            await gone(admin, idle)
            await provider.keep_warm([])
            assert await on_node(admin, name, labels.CLAIMED) == [at_work]
            running.append(await begun(at_once))
            await gone(admin, at_work)
            for each in running:
                said, _none = await each.communicate()
                assert (each.returncode, f"node/{name} drained" in said.decode()) == (0, True), said.decode()
    finally:
        for each in running:
            if each.returncode is None:
                each.kill()
                await each.wait()
        await provider.keep_warm([])
        await admin.call("DELETE", "Node", name)
        await provider.release(name)


@on_rows
async def test_who_is_evicted_is_told_and_goes_on_elsewhere_with_all_that_a_cell_has_written(
    workspace: Workspace,
) -> None:
    async with own_namespace() as (admin, config):
        with RuntimesProcess(**site_settings(config)):
            runtime, kernel = await at_work(workspace)
            begun = asyncio.Event()
            cell = asyncio.create_task(run(runtime, kernel, BUSY, begun=begun))
            await asyncio.wait_for(begun.wait(), WAIT_SECONDS)
            # As by a cluster's own upgrade, once it waits for budgets no longer.
            await admin.call("DELETE", "PodDisruptionBudget", BUDGET)
            await evict(admin, runtime.endpoint["identity"])
            row = await waiting.until(state_is(runtime, State.LOST))
            cell.cancel()
            await asyncio.gather(cell, return_exceptions=True)
            assert row.reason == Reason.EVICTED
            assert (await sync_to_async(launch.sentence)(row)).startswith(
                "The machine needed the place. Your files are kept as they were at that moment"
            )
            again, kernel = await at_work(workspace)
            assert again.pk != runtime.pk
            assert await run(again, kernel, "print(open('kept.txt').read())") == "kept\n"
            # As `kubectl delete pod` and `kubectl drain --disable-eviction` do.
            await run(again, kernel, "open('more.txt', 'w').write('more')")
            await admin.call("DELETE", "Pod", again.endpoint["identity"])
            row = await waiting.until(state_is(again, State.LOST))
            assert (row.reason, row.message) == (Reason.DELETED, source_text(ALL_KEPT))
            assert await sync_to_async(_paths)(workspace) == {"kept.txt", "more.txt"}


@on_rows
@pytest.mark.timeout(420)
async def test_while_the_site_is_away_pods_end_at_their_limits_and_go_when_it_is_back(profile: Profile) -> None:
    # Enough for both to start, for a cell to begin in one, and for the site to be killed.
    limits = {"lifetime": timedelta(seconds=75)}, {"idle_timeout": timedelta(seconds=40)}
    spaces = []
    for number, limit in enumerate(limits):
        short = await Profile.objects.acreate(
            slug=f"short-{number}", memory_bytes=profile.memory_bytes, home_bytes=profile.home_bytes, **limit
        )
        spaces.append(await Workspace.objects.acreate(profile=short, account="x"))
    async with own_namespace() as (admin, config):
        process = RuntimesProcess(margin=timedelta(0), **site_settings(config))
        process.start()
        try:
            (busy, kernel), (idle, _kernel) = await asyncio.gather(*(at_work(space) for space in spaces))
            begun = asyncio.Event()
            cell = asyncio.create_task(
                run(busy, kernel, "print('on', flush=True)\nwhile True: pass", timeout=60, begun=begun)
            )
            await asyncio.wait_for(begun.wait(), WAIT_SECONDS)
            process.kill()
            cell.cancel()
            await asyncio.gather(cell, return_exceptions=True)
            reasons = {busy.name: Reason.LIFETIME, idle.name: Reason.IDLE}
            over = await until(lambda: ended(admin, 2), 2 * WAIT_SECONDS)
            assert {name: status.reason for name, status in over.items()} == reasons
            # What counts against no quota and runs nothing is still there, for whoever comes back to read.
            process.start()
            for runtime in (busy, idle):
                row = await waiting.until(state_is(runtime, State.STOPPED))
                assert row.reason == reasons[runtime.name]
                # However long nobody came back.
                used = await Usage.objects.aget(runtime=row)
                assert row.ready_at + timedelta(seconds=used.wall_seconds) == over[row.name].ended_at
            await until(lambda: nothing_left(admin))
        finally:
            process.__exit__()
            print(process.output)


def _paths(workspace: Workspace) -> set[str]:
    return set(WorkspaceFile.objects.filter(workspace=workspace).values_list("path", flat=True))


async def ended(admin: Admin, count: int) -> dict[str, Status] | None:
    """How each runtime's pod is that is over, once so many are; None before."""
    pods, _version = await admin.pods(labels.RUNTIME)
    over = [pod for pod in pods if conditions.is_over(pod)]
    told = {labels.label(pod, labels.RUNTIME): conditions.status(pod, datetime.now(UTC)) for pod in over}
    return told if len(told) == count and all(status.ended_at for status in told.values()) else None


async def nothing_left(admin: Admin) -> bool:
    return not [*await admin.names("Pod"), *await admin.names("Secret")]


# --- pre-emption, and warm pods without a site


async def test_who_works_takes_the_place_of_what_grades(provider: PodsProvider, place: Any) -> None:
    admin, _config = place
    machine = Machine("gpu", accelerator=Gpu())
    grading = Request("grading", purpose="grading", gpu=1, machine=machine, limits=SMALL)
    async with seats(admin, 1):
        try:
            await provider.acquire(grading)
            assert (await settled(provider, "grading")).phase is Phase.READY
            await provider.acquire(replace(grading, name="at-work", purpose="interactive"))
            status = await settled(provider, "grading", Phase.LOST)
            assert (status.phase, status.reason) == (Phase.LOST, Reason.PREEMPTED)
            assert status.sentence.startswith("A more urgent job took the place.")
            assert (await settled(provider, "at-work")).phase is Phase.READY
        finally:
            await provider.release("grading")
            await provider.release("at-work")


async def test_a_warm_pod_that_hears_no_more_of_its_site_ends_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm_pods, "GREET_SECONDS", 0.2)
    request = Request("any", kernels=1, limits=replace(SMALL, idle=timedelta(seconds=4)))
    async with own_namespace() as (admin, config), running(config) as provider:
        await provider.keep_warm([(request, 1)])
        [pod] = await until(lambda: ready_ones(admin, 1))
        name = pod["metadata"]["name"]
        await until(lambda: name in provider._warm._greeted)
        # As if it were killed: nothing is told to the pods.
        await provider.close()

        async def over() -> Any:
            found = await admin.pod(name)
            return found if conditions.is_over(found) else None

        status = conditions.status(await until(over), datetime.now(UTC))
        assert (status.phase, status.reason) == (Phase.STOPPED, Reason.IDLE)


# --- last: a minute has passed


async def test_a_lost_node_is_told_and_what_was_on_it_is_forgotten_without_its_kubelet(
    provider: PodsProvider, place: Any, lost: tuple[str, str]
) -> None:
    admin, _config = place
    silent, deleted = lost
    taken, collected = "DeletionByTaintManager", "DeletionByPodGC"
    for name, words in ((silent, taken), (STARTING, taken), (deleted, collected)):
        status = await settled(provider, name, Phase.LOST, patience=2 * WAIT_SECONDS)
        assert (status.phase, status.reason) == (Phase.LOST, Reason.NODE_LOST)
        assert words in status.message
        assert status.sentence.startswith("The machine was lost.")
    # This test, too, may run twice: until here it has changed nothing.
    for name in (silent, STARTING, deleted):
        await provider.release(name)
        assert (await admin.pods(f"{labels.RUNTIME}={name}"))[0] == []
