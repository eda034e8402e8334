"""Warm pods hear of their site for as long as there is one, and are made unless people wait for what they take."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from types import SimpleNamespace
from typing import Any, override

import pytest

from runtimes import keyring
from runtimes.agent_replies import AgentUnreachable
from runtimes.pods import labels
from runtimes.pods import warm as warm_pods
from runtimes.pods.cluster import Cluster, Contended, Refused
from runtimes.pods.existing import ExistingPods
from runtimes.pods.maker import Maker
from runtimes.pods.place import Place
from runtimes.pods.setbacks import FIRST_PAUSE, STEADY
from runtimes.pods.warm import GREETINGS, WarmPods
from runtimes.provider import GIB, Endpoint, Limits, Phase, ProviderUnavailable, Reason, Request, Status
from tests.runtimes.fakes import FakeAgent
from tests.runtimes.pods.memory import MemoryCluster
from tests.runtimes.pods.samples import (
    CLUSTER,
    NAME,
    PROFILE,
    REQUEST,
    condition,
    container,
    running,
    seen,
    warm_pod,
)

#: Of this test's own, where the agent of a pod of this address would listen.
ADDRESS = {"podIP": "127.0.0.77", "podIPs": [{"ip": "127.0.0.77"}]}


def knowing(*pods: dict[str, Any], wished: int | None = 1) -> WarmPods:
    """Those of a site that wishes for one pod, or has not said yet (None), and knows of these."""
    cluster = Cluster(CLUSTER.namespace)
    existing = ExistingPods(cluster, labels.selector(CLUSTER), lambda _pod, _gone: None)
    for pod in pods:
        pod["metadata"]["resourceVersion"] = "1"
        existing.put(pod)
    warm = WarmPods(cluster, CLUSTER, existing, Maker(cluster, CLUSTER, keyring.masters()))
    if wished is not None:
        warm.wish([(REQUEST, wished)])
    return warm


async def test_a_warm_pod_hears_of_its_site_often_enough_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(warm_pods, "time", SimpleNamespace(monotonic=lambda: now))
    agent = FakeAgent(Endpoint("tcp", ADDRESS["podIP"], NAME, 1))
    warm = knowing(warm_pod(**ADDRESS))
    await warm._greet_due()
    await warm._greet_due()
    assert agent.asked == ["status"]
    now += REQUEST.limits.idle.total_seconds() / GREETINGS
    await warm._greet_due()
    assert agent.asked == ["status", "status"]
    await agent.close()


async def test_what_a_profile_imports_and_ends_its_kernels_by_is_told_to_operators_once_a_pod(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = 1000.0
    monkeypatch.setattr(warm_pods, "time", SimpleNamespace(monotonic=lambda: now))
    agent = FakeAgent(Endpoint("tcp", ADDRESS["podIP"], NAME, 1))
    agent.preload_failed = "crashed, status -11"
    warm = knowing(warm_pod(**ADDRESS))
    for _greeting in range(2):
        await warm._greet_due()
        now += REQUEST.limits.idle.total_seconds() / GREETINGS
    [told] = [record.getMessage() for record in caplog.records]
    assert told.startswith(f"profile {PROFILE.slug}: warm pod {NAME} ")
    assert told.endswith("crashed, status -11")
    await agent.close()


async def test_one_that_somebody_has_or_nobody_wishes_for_hears_nothing_from_here() -> None:
    agent = FakeAgent(Endpoint("tcp", ADDRESS["podIP"], NAME, 1))
    await knowing(seen(running(**ADDRESS)))._greet_due()
    unwanted = knowing(warm_pod(**ADDRESS))
    unwanted.wish([])
    await unwanted._greet_due()
    assert agent.asked == []
    await agent.close()


async def test_one_that_does_not_answer_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtimes.agent_client.AgentClient.status", unreachable)
    warm = knowing(warm_pod(**ADDRESS))
    await warm._greet_due()
    assert warm._greeted == {}


async def unreachable(_agent: Any) -> None:
    raise AgentUnreachable("no answer")


async def test_what_a_process_before_this_one_kept_ready_waits_until_this_one_knows_what_is_wished_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended: list[str] = []

    async def delete(_cluster: Cluster, name: str, _grace: int) -> None:
        ended.append(name)

    monkeypatch.setattr(Cluster, "delete_pod", delete)
    warm = knowing(warm_pod(**ADDRESS), wished=None)
    await warm.tend([])
    assert ended == []
    warm.wish([])
    await warm.tend([])
    assert ended == [NAME]


GPU_SHORT = "Unschedulable: 0/1 nodes are available: 1 Insufficient nvidia.com/gpu."
CPU_SHORT = "Unschedulable: 0/1 nodes are available: 1 Insufficient cpu."
BEHIND = ""


@pytest.mark.parametrize(
    ("words", "made"), [([], 1), ([GPU_SHORT], 1), ([GPU_SHORT, BEHIND], 1), ([CPU_SHORT], 0), ([BEHIND], 0)]
)
async def test_a_pool_is_kept_full_unless_it_takes_what_people_wait_for(
    monkeypatch: pytest.MonkeyPatch, words: list[str], made: int
) -> None:
    asked: list[str] = []

    async def make(_maker: Maker, request: Request, _name: str, *, warm: bool = False) -> dict[str, Any]:
        asked.append(request.machine.slug)
        return seen({}, warm=warm, resourceVersion="1")

    monkeypatch.setattr(Maker, "make", make)
    waiting = []
    for number, said in enumerate(words):
        waiting.append(Place(f"ben-{number}", None, lambda _name, _status: None))
        waiting[-1].set(Status(Phase.QUEUED, Reason.CAPACITY_WAIT, said))
    await knowing().tend(waiting)
    assert asked == [REQUEST.machine.slug] * made


class Clock(datetime):
    """What time it is for these tests."""

    at = datetime.now(UTC)

    @override
    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        return cls.at


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> MemoryCluster:
    """Of which all is heard at once."""
    made = MemoryCluster(CLUSTER.namespace)
    made.clock = lambda: Clock.at
    monkeypatch.setattr(Clock, "at", datetime.now(UTC).replace(microsecond=0))
    monkeypatch.setattr(warm_pods, "datetime", Clock)
    return made


async def tended(warm: WarmPods, seconds: float = 0) -> None:
    """So much later."""
    Clock.at += timedelta(seconds=seconds)
    await warm._pods.look()
    await warm.tend([])
    await warm._pods.look()


def pool(cluster: MemoryCluster, *wishes: tuple[Request, int]) -> WarmPods:
    """What is wished for there."""
    existing = ExistingPods(cluster, labels.selector(CLUSTER), lambda _pod, _gone: None)
    warm = WarmPods(cluster, CLUSTER, existing, Maker(cluster, CLUSTER, keyring.masters()))
    warm.wish(wishes)
    return warm


KILLED = {"reason": "OOMKilled", "exitCode": 137}
ILL = {
    "killed for memory": running(
        containerStatuses=[container({"running": {}}, restartCount=1, lastState={"terminated": KILLED})]
    ),
    "refused by its node": {
        "phase": "Failed",
        "reason": "UnexpectedAdmissionError",
        "message": "Allocate failed due to no healthy devices",
    },
}
WORDS = {"killed for memory": "its memory limit is", "refused by its node": "no healthy devices"}


@pytest.mark.parametrize("how", ILL)
async def test_a_pool_whose_pods_fail_is_tried_by_one_pod_less_and_less_often_and_says_why(
    cluster: MemoryCluster, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    warm = pool(cluster, (REQUEST, 8))
    cluster.ill = ILL[how]
    await tended(warm)
    assert len(cluster.created) == 8
    assert warm.lacks() == {}
    for _second in range(60):
        await tended(warm, 1)
    # After ten seconds, and twenty more: what was made was noticed a second later each time.
    assert len(cluster.created) == 10
    assert cluster.now == {}
    assert WORDS[how] in warm.lacks()[PROFILE.slug]
    assert sum(WORDS[how] in record.message for record in caplog.records) == 3


async def test_a_pool_that_failed_is_full_again_soon_after_one_of_its_pods_does_well(cluster: MemoryCluster) -> None:
    warm = pool(cluster, (REQUEST, 8))
    cluster.ill = ILL["killed for memory"]
    await tended(warm)
    await tended(warm, 1)
    cluster.ill = None
    await tended(warm, FIRST_PAUSE.total_seconds())
    assert len(cluster.now) == 1
    assert warm.lacks() != {}
    await tended(warm, STEADY.total_seconds())
    assert len(cluster.now) == 8
    assert warm.lacks() == {}


async def test_an_edited_profile_is_not_made_to_wait_for_what_was_wrong_before(cluster: MemoryCluster) -> None:
    warm = pool(cluster, (REQUEST, 2))
    cluster.ill = ILL["killed for memory"]
    await tended(warm)
    await tended(warm, 1)
    cluster.ill = None
    warm.wish([(replace(REQUEST, limits=Limits(memory_bytes=2 * GIB)), 2)])
    await tended(warm)
    assert len(cluster.names(state="warm")) == 2
    assert warm.lacks() == {}


async def test_other_modules_imported_beforehand_replace_a_profiles_warm_pods(cluster: MemoryCluster) -> None:
    warm = pool(cluster, (REQUEST, 1))
    await tended(warm)
    [before] = cluster.names(state="warm")
    edited = replace(REQUEST, preload=("numpy",))
    warm.wish([(edited, 1)])
    await tended(warm)
    [after] = cluster.names(state="warm")
    assert after != before
    # Who asked before the edit starts as where none is warm.
    assert await warm.claim(replace(REQUEST, name="ada-1")) is None
    claimed = await warm.claim(replace(edited, name="ben-1"))
    assert claimed is not None
    assert claimed["metadata"]["name"] == after


async def test_a_profile_that_the_cluster_will_not_have_is_no_reason_for_others_to_wait(
    cluster: MemoryCluster,
) -> None:
    other = replace(REQUEST, machine=replace(PROFILE, slug="other"))
    warm = pool(cluster, (REQUEST, 2), (other, 2))
    cluster.fail("Pod", *[Refused(422, "spec.priorityClassName: not found")] * 2)
    await tended(warm)
    assert len(cluster.names(profile="other")) == 2
    assert warm.lacks() == {PROFILE.slug: "spec.priorityClassName: not found"}


async def test_a_large_pool_without_quota_is_asked_for_by_a_few_and_keeps_no_other_one_empty(
    cluster: MemoryCluster,
) -> None:
    other = replace(REQUEST, machine=replace(PROFILE, slug="other"))
    warm = pool(cluster, (REQUEST, 24), (other, 30))
    quota = 'pods "rt-1" is forbidden: exceeded quota: kernels, requested: requests.nvidia.com/gpu=1'
    cluster.fail("Pod", *[Refused(403, quota)] * 8)
    for _second in range(25):
        await tended(warm, 1)
    assert warm.ready() == {PROFILE.slug: 0, "other": 30}
    assert len(cluster.created) == 30
    assert warm.lacks() == {PROFILE.slug: quota}


async def test_a_pool_of_which_the_cluster_answers_nothing_comes_after_the_others(
    cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where what admits GPUs there fails: the API says 500 to those alone."""
    now = 1000.0
    monkeypatch.setattr(warm_pods, "time", SimpleNamespace(monotonic=lambda: now))
    second, third = (replace(REQUEST, machine=replace(PROFILE, slug=slug)) for slug in ("second", "third"))
    warm = pool(cluster, (REQUEST, 1), (second, 1), (third, 2))
    create = cluster.create

    async def of_the_third_alone(manifest: dict[str, Any]) -> dict[str, Any]:
        if manifest["metadata"]["labels"]["pupitre/profile"] != "third":
            raise ProviderUnavailable("the cluster answers 500: failed calling webhook")
        return await create(manifest)

    monkeypatch.setattr(cluster, "create", of_the_third_alone)
    for _look in range(3):
        now += warm_pods.PAUSE_SECONDS
        await tended(warm, warm_pods.PAUSE_SECONDS)
    assert warm.ready() == {PROFILE.slug: 0, "second": 0, "third": 2}
    assert "failed calling webhook" in warm.lacks()[PROFILE.slug]


async def test_a_pool_that_two_servers_count_at_once_is_filled_without_a_pause(cluster: MemoryCluster) -> None:
    warm = pool(cluster, (REQUEST, 3))
    cluster.fail("Pod", Contended("please apply your changes to the latest version and try again"))
    cluster.fail("Secret", Contended("please apply your changes to the latest version and try again"))
    await tended(warm)
    assert len(cluster.now) == 1
    await tended(warm)
    assert len(cluster.now) == len(cluster.orders) == 3


async def test_what_waits_for_a_node_says_so_and_is_no_failure(cluster: MemoryCluster) -> None:
    warm = pool(cluster, (REQUEST, 2))
    cluster.ill = {"conditions": [condition("PodScheduled", "False", reason="Unschedulable", message=GPU_SHORT)]}
    await tended(warm)
    await tended(warm, 1)
    assert len(cluster.now) == 2
    assert GPU_SHORT in warm.lacks()[PROFILE.slug]


async def test_a_pool_that_is_wished_for_while_another_is_let_go_is_filled(
    cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    warm = pool(cluster, (REQUEST, 1))
    await tended(warm)
    other, delete = replace(REQUEST, machine=replace(PROFILE, slug="other")), cluster.delete_pod

    async def deleted(name: str, grace_seconds: int) -> None:
        warm.wish([(other, 1)])
        await delete(name, grace_seconds)

    monkeypatch.setattr(cluster, "delete_pod", deleted)
    warm.wish([])
    await tended(warm)
    assert len(cluster.names(profile="other")) == 1


async def test_one_that_could_not_be_deleted_is_deleted_later(cluster: MemoryCluster) -> None:
    warm = pool(cluster, (REQUEST, 1))
    await tended(warm)
    warm.wish([])
    cluster.fail("delete", ProviderUnavailable("no answer"))
    with pytest.raises(ProviderUnavailable):
        await tended(warm)
    await tended(warm)
    assert cluster.now == {}
