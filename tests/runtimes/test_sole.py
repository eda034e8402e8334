"""One `runtimes` process, whatever happens to the one before."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from django.db import OperationalError, connection
from django.utils import timezone

from runtimes import sole
from runtimes.models import Lease

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def many_machines(monkeypatch):
    """As if several machines shared the database."""
    monkeypatch.setattr(sole, "_one_machine", lambda: False)
    monkeypatch.setattr(sole, "WAIT_SECONDS", 0.01)


@pytest.mark.skipif(connection.vendor != "sqlite", reason="a lease elsewhere")
async def test_on_one_machine_the_second_is_told_at_once_and_may_try_again():
    async with sole.sole(lost=_never):
        with pytest.raises(sole.AlreadyRunning, match="stop it first"):
            async with sole.sole(lost=_never):
                pass
    async with sole.sole(lost=_never):
        pass


async def test_elsewhere_the_second_waits_until_the_first_has_ended(many_machines):
    order = []

    async def second() -> None:
        async with sole.sole(lost=_never):
            order.append("second")

    async with sole.sole(lost=_never):
        waiting = asyncio.create_task(second())
        while not waiting.done() and len(order) < 5:
            await asyncio.sleep(0.02)
            order.append("first")
    await waiting
    assert order == ["first"] * 5 + ["second"]


async def test_the_lease_of_a_killed_process_is_free_once_it_has_run_out(many_machines):
    await Lease.objects.acreate(name=sole.NAME, holder="killed", until=timezone.now() - timedelta(seconds=1))
    async with sole.sole(lost=_never):
        assert (await Lease.objects.aget()).holder != "killed"
    assert not await Lease.objects.aexists()


async def test_a_process_whose_lease_was_taken_ends_at_once(many_machines, monkeypatch):
    monkeypatch.setattr(sole, "RENEW_SECONDS", 0.01)
    lost = asyncio.Event()
    async with sole.sole(lost=lost.set):
        await Lease.objects.aupdate(holder="another", until=timezone.now() + timedelta(hours=1))
        await asyncio.wait_for(lost.wait(), 20)
    assert (await Lease.objects.aget()).holder == "another"


@pytest.fixture
def away(monkeypatch):
    """How often the database is still not there when the lease is asked for; -1 once it was asked."""
    claim, left = sole._claim, [0]

    async def patchy(holder: str) -> bool:
        left[0] -= 1
        if left[0] >= 0:
            raise OperationalError("connection refused")
        return await claim(holder)

    monkeypatch.setattr(sole, "_claim", patchy)
    monkeypatch.setattr(sole, "RENEW_SECONDS", 0.01)
    return left


async def test_a_process_that_starts_while_the_database_is_away_waits_for_it(many_machines, away):
    away[0] = 3
    async with sole.sole(lost=_never):
        assert away[0] < 0
        assert await Lease.objects.aexists()


async def test_while_the_database_is_away_nobody_can_have_taken_it(many_machines, away, monkeypatch):
    monkeypatch.setattr(sole, "TERM", timedelta(0))
    async with sole.sole(lost=_never):
        away[0] = 5
        while away[0] >= 0:
            await asyncio.sleep(0.01)
    assert not await Lease.objects.aexists()


async def test_who_has_taken_it_when_the_database_is_back_keeps_it(many_machines, away):
    lost = asyncio.Event()
    async with sole.sole(lost=lost.set):
        await Lease.objects.aupdate(holder="another", until=timezone.now() + timedelta(hours=1))
        away[0] = 3
        await asyncio.wait_for(lost.wait(), 20)
    assert away[0] < 0


def _never() -> None:
    raise AssertionError("nobody took it")
