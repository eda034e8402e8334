"""Warm pods hear of their site for as long as there is one, and are made unless people wait for what they take."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from runtimes import keyring
from runtimes.agent_replies import AgentUnreachable
from runtimes.pods import labels
from runtimes.pods import warm as warm_pods
from runtimes.pods.cluster import Cluster
from runtimes.pods.existing import ExistingPods
from runtimes.pods.maker import Maker
from runtimes.pods.place import Place
from runtimes.pods.warm import GREETINGS, WarmPods
from runtimes.provider import Endpoint, Phase, Reason, Request, Status
from tests.runtimes.fakes import FakeAgent
from tests.runtimes.pods.samples import CLUSTER, NAME, REQUEST, running, seen, warm_pod

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
