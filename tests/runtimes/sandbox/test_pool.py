"""The pool of warm sandboxes, with a starter that starts when the test says: nothing it made is ever forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_asyncio

from runtimes.provider import Machine, ProviderError, Request
from runtimes.sandboxes.environment import KernelEnvironment
from runtimes.sandboxes.pool import Pool
from runtimes.sandboxes.starting import Starter

ENVIRONMENT = KernelEnvironment("digest", Path("/nowhere"), "3.12")
ANY = Request("any", kernels=1)


class Thing:
    """As much of a sandbox as a pool sees."""

    def __init__(self) -> None:
        self.lives = True

    def alive(self) -> bool:
        return self.lives

    def close(self) -> None:
        self.lives = False


class Maker:
    """As much of a Starter as a pool sees. `free.release()` lets one start go on; `asked` counts those begun.
    Of those with `broken` kernels none starts."""

    def __init__(self) -> None:
        self.servers = self
        self.made: list[Thing] = []
        self.free = asyncio.Semaphore(0)
        self.asked = 0
        self.broken = 0

    async def get(self, _environment: object, _preload: object) -> None:
        """A fork server is there."""

    async def start(self, request: Request, _environment: object) -> Thing:
        if self.broken == request.kernels:
            raise ProviderError("no process could be made")
        self.asked += 1
        await self.free.acquire()
        self.made.append(Thing())
        return self.made[-1]

    async def run(self, work: Callable[[], None]) -> None:
        work()


async def soon(what: Callable[[], Any]) -> None:
    """Returns when `what` is true: everything here happens within a few turns of the loop."""
    async with asyncio.timeout(10):
        while not what():
            await asyncio.sleep(0)


@pytest.fixture
def maker() -> Maker:
    return Maker()


@pytest_asyncio.fixture
async def pool(maker: Maker) -> AsyncIterator[Pool]:
    made = Pool(cast("Starter", maker), lambda _digest: ENVIRONMENT, quiet=0)
    yield made
    await made.close()


def claim(pool: Pool) -> Thing | None:
    return cast("Thing | None", pool.claim(ANY, ENVIRONMENT))


async def test_wished_for_again_while_one_is_made_the_pool_forgets_none(pool: Pool, maker: Maker) -> None:
    await pool.keep([(ANY, 2)])
    maker.free.release()
    await soon(lambda: maker.asked == 2)
    await pool.keep([(ANY, 2)])
    maker.free.release()
    await soon(lambda: len(maker.made) == 2)
    await asyncio.sleep(0)
    await pool.close()
    assert [thing.lives for thing in maker.made] == [False, False]


async def test_a_smaller_wish_ends_what_is_too_many_also_if_it_is_made_just_now(pool: Pool, maker: Maker) -> None:
    await pool.keep([(ANY, 2)])
    maker.free.release()
    await soon(lambda: maker.asked == 2)
    await pool.keep([(ANY, 1)])
    maker.free.release()
    await soon(lambda: len(maker.made) == 2 and not maker.made[1].lives)
    assert claim(pool) is maker.made[0]


async def test_one_that_died_while_it_waited_is_replaced_before_anybody_asks(pool: Pool, maker: Maker) -> None:
    maker.free.release()
    await pool.keep([(ANY, 1)])
    await soon(lambda: maker.made)
    await asyncio.sleep(0)
    maker.made[0].lives = False
    maker.free.release()
    await pool.keep([(ANY, 1)])
    await soon(lambda: len(maker.made) == 2)
    await asyncio.sleep(0)
    assert claim(pool) is maker.made[1]


async def test_whoever_takes_the_last_one_has_another_made_in_its_place(pool: Pool, maker: Maker) -> None:
    maker.free.release()
    await pool.keep([(ANY, 1)])
    await soon(lambda: maker.made)
    await asyncio.sleep(0)
    assert claim(pool) is maker.made[0]
    assert claim(pool) is None
    maker.free.release()
    await soon(lambda: len(maker.made) == 2)


async def test_a_wish_of_which_none_starts_keeps_no_other_one_empty_and_says_why(
    pool: Pool, maker: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtimes.sandboxes.pool.RETRY_SECONDS", 0)
    bad, good = replace(ANY, kernels=2, machine=Machine("bad")), replace(ANY, machine=Machine("good"))
    maker.broken = bad.kernels
    maker.free.release()
    await pool.keep([(bad, 2), (good, 1)])
    await soon(lambda: maker.made)
    await asyncio.sleep(0)
    assert claim(pool) is maker.made[0]
    assert pool.faults() == {"bad": "no process could be made"}
    maker.broken = 0
    for _each in range(3):
        maker.free.release()
    await soon(lambda: len(maker.made) == 4 and not pool.faults())
