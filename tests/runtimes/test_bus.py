"""Messages between processes."""

from __future__ import annotations

import asyncio
import sys

import pytest

from runtimes import bus
from runtimes.buses import datagram


async def _get(subscription: bus.Subscription, count: int = 1) -> list[tuple[str, bytes]]:
    async with asyncio.timeout(10):
        return [await anext(subscription) for _ in range(count)]


async def test_a_message_reaches_every_subscriber_of_its_topic_and_nobody_else():
    async with bus.subscribe("a", "b") as first, bus.subscribe("a") as second:
        await bus.publish("b", b"1")
        await bus.publish("a", b"2")
        assert await _get(first, 2) == [("b", b"1"), ("a", b"2")]
        assert await _get(second) == [("a", b"2")]


async def test_topics_are_added_and_discarded_while_listening():
    async with bus.subscribe("a") as subscription:
        subscription.add("b")
        await subscription.ready()
        await bus.publish("b", b"1")
        assert await _get(subscription) == [("b", b"1")]
        subscription.discard("b")
        await bus.publish("b", b"2")
        await bus.publish("a", b"3")
        assert await _get(subscription) == [("a", b"3")]


async def test_a_beginning_with_a_star_stands_for_all_topics_that_begin_so():
    async with bus.subscribe("doc:*") as subscription:
        await bus.publish("document", b"no")
        await bus.publish("doc:1", b"yes")
        assert await _get(subscription) == [("doc:1", b"yes")]


async def test_a_message_far_larger_than_a_datagram_arrives_whole():
    large = bytes(range(256)) * 8000
    async with bus.subscribe("a") as subscription:
        await bus.publish("a", large)
        assert await _get(subscription) == [("a", large)]


async def test_a_burst_longer_than_the_kernels_queue_arrives_whole_and_in_order():
    async with bus.subscribe("a") as subscription:
        for number in range(500):
            await bus.publish("a", str(number).encode())
        assert [int(payload) for _topic, payload in await _get(subscription, 500)] == list(range(500))


async def test_code_without_an_event_loop_wakes_another_process():
    async with bus.subscribe("a") as subscription:
        await asyncio.to_thread(bus.publish_sync, "a", b"1")
        assert await _get(subscription) == [("a", b"1")]


async def test_a_quiet_wait_ends_with_nothing():
    async with bus.subscribe("a") as subscription:
        assert await subscription.next(0.01) is None


async def test_the_socket_of_a_killed_process_is_swept(settings, run_dir):
    if settings.REDIS_URL:
        pytest.skip("Redis notices by itself")
    code = (
        "import os, socket, sys\n"
        "listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
        "listener.bind(sys.argv[1])\n"
        "os.kill(os.getpid(), 9)"
    )
    killed = await asyncio.create_subprocess_exec(sys.executable, "-c", code, str(datagram.folder() / "1-dead.sock"))
    await killed.wait()
    assert len(list(datagram.folder().iterdir())) == 1
    await bus.publish("a")
    assert list(datagram.folder().iterdir()) == []


async def test_nothing_is_left_when_the_last_subscriber_goes(settings):
    async with bus.subscribe("a"):
        pass
    assert settings.REDIS_URL or list(datagram.folder().iterdir()) == []


async def test_a_slow_reader_loses_the_oldest_and_nobody_waits_for_it():
    async with bus.subscribe("a") as slow:
        for number in range(bus.QUEUE_LENGTH + 10):
            slow.deliver("a", str(number).encode())
        assert await _get(slow) == [("a", b"10")]
