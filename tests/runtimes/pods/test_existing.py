"""What is known of pods when the cluster's answers come late, twice, in another order, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from runtimes.pods import existing
from runtimes.pods.cluster import TooOld
from runtimes.pods.existing import ExistingPods
from runtimes.provider import ProviderUnavailable


def pod(name: str, version: int, **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "resourceVersion": str(version), "labels": labels}}


class Stuttering:
    """A cluster whose lists and watches are written down beforehand; an exception is raised where its turn comes."""

    def __init__(self, lists: list[Any], watches: list[list[Any]]) -> None:
        self._lists = lists
        self._watches = watches
        self.over = asyncio.Event()

    async def pods(self, _selector: str) -> tuple[list[Any], str]:
        answer = self._lists.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def changes(self, _selector: str, _version: str) -> AsyncIterator[tuple[str, Any]]:
        if not self._watches:
            self.over.set()
            await asyncio.Event().wait()
        for change in self._watches.pop(0):
            if isinstance(change, Exception):
                raise change
            yield change


async def followed(lists: list[Any], watches: list[list[Any]]) -> tuple[ExistingPods, list[tuple[str, bool]]]:
    """All of it heard to the end: what is known then, and each change that was told."""
    cluster, told = Stuttering(lists, watches), []
    pods = ExistingPods(cluster, "", lambda one, gone: told.append((one["metadata"]["name"], gone)))  # type: ignore[arg-type]
    await pods.look()
    following = asyncio.create_task(pods.follow())
    async with asyncio.timeout(20):
        await cluster.over.wait()
    following.cancel()
    return pods, told


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(existing, "AFTER_ERROR_SECONDS", 0)


async def test_changes_are_told_and_what_is_gone_stays_gone() -> None:
    watch = [("ADDED", pod("b", 6)), ("MODIFIED", pod("a", 7)), ("BOOKMARK", pod("", 8)), ("DELETED", pod("b", 9))]
    pods, told = await followed([([pod("a", 4)], "5")], [watch])
    assert told == [("a", False), ("b", False), ("a", False), ("b", True)]
    # The answer of a patch that was on its way when the pod went.
    pods.put(pod("b", 8))
    assert [one["metadata"]["name"] for one in pods] == ["a"]
    assert await pods.gone("b", 0)


async def test_an_older_answer_changes_nothing() -> None:
    pods, _told = await followed([([pod("a", 4)], "5")], [[("MODIFIED", pod("a", 9, state="new"))]])
    pods.put(pod("a", 8, state="old"))
    known = pods.get("a")
    assert known is not None
    assert known["metadata"]["labels"] == {"state": "new"}


@pytest.mark.parametrize("broken", [TooOld(), ProviderUnavailable("reset"), ValueError("a bug of ours")])
async def test_a_watch_that_breaks_is_begun_again_with_a_list(broken: Exception) -> None:
    lists = [([pod("a", 4), pod("b", 5)], "5"), ProviderUnavailable("still away"), TooOld(), ([pod("b", 5)], "9")]
    pods, told = await followed(lists, [[broken]])
    assert [one["metadata"]["name"] for one in pods] == ["b"]
    assert told == [("a", False), ("b", False), ("a", True)]


async def test_a_list_that_is_older_than_a_pod_takes_it_for_what_it_is() -> None:
    pods, _told = await followed([([], "5"), ([], "6")], [])
    pods.put(pod("young", 8))
    await pods.look()
    assert pods.get("young") is not None
    assert not await pods.gone("young", 0)
