"""In which order queued cells run: pure."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from runtimes.jupyter.run_queue import SETTLE_SECONDS, TOGETHER_SECONDS, Item, RunQueue
from runtimes.jupyter.stream_text import overwritten

_DOCUMENT = UUID(int=1)


def item(run_id: int, arrived: float, place: int, subject: str = "ada", together: int = 0) -> Item:
    outputs: Any = None
    return Item(run_id, _DOCUMENT, f"c{place}", subject, arrived, place, outputs, together=together)


def drain(queue: RunQueue, now: float) -> list[int]:
    """The places of all that runs from `now` on, when every cell takes no time."""
    places = []
    while True:
        taken, wait = queue.take(now)
        if taken:
            places.append(taken.place)
        elif wait is None:
            return places
        else:
            now += wait


def test_what_comes_at_once_runs_in_the_order_of_the_document():
    queue = RunQueue()
    for run_id, place in enumerate([3, 0, 2, 1]):
        queue.add(item(run_id, run_id / 1000, place))
    assert drain(queue, 0.004) == [0, 1, 2, 3]


def test_what_a_person_runs_one_after_the_other_runs_in_that_order():
    queue = RunQueue()
    queue.add(item(1, 0.0, 5))
    queue.add(item(2, 1.0, 2))
    assert drain(queue, 1.0) == [5, 2]


def test_what_the_page_asked_for_at_once_stays_together_however_slowly_it_comes():
    queue = RunQueue()
    for run_id, arrived in enumerate([0.0, 1.0, 2.0]):
        queue.add(item(run_id, arrived, run_id, together=7))
    taken, _ = queue.take(3.0)
    assert taken is not None
    assert [one.place for one in queue.fail(taken.batch)] == [1, 2]
    assert not queue.add(item(3, 9.0, 3, together=7))
    assert queue.add(item(4, 9.0, 4, together=8))


def test_what_the_page_asked_for_runs_in_the_order_of_its_requests():
    queue = RunQueue()
    for run_id, place in enumerate([4, 0, 2]):
        queue.add(item(run_id, run_id / 1000, place, together=7))
    assert drain(queue, 0.01) == [4, 0, 2]


def test_two_people_do_not_make_one_batch():
    queue = RunQueue()
    queue.add(item(1, 0.00, 5, "ada"))
    queue.add(item(2, 0.01, 2, "tess"))
    assert drain(queue, 1.0) == [5, 2]


def test_a_gap_is_waited_for_and_the_next_cell_is_not():
    queue = RunQueue()
    for run_id, place in ((1, 0), (2, 1), (3, 3)):
        queue.add(item(run_id, 0.0, place))
    taken, wait = queue.take(0.0)
    assert taken is None
    assert wait == pytest.approx(SETTLE_SECONDS)
    assert [queue.take(SETTLE_SECONDS)[0].place for _ in range(2)] == [0, 1]
    taken, wait = queue.take(SETTLE_SECONDS)
    assert taken is None
    assert wait == pytest.approx(TOGETHER_SECONDS - SETTLE_SECONDS)
    queue.add(item(4, SETTLE_SECONDS, 2))
    assert drain(queue, SETTLE_SECONDS) == [2, 3]


def test_what_arrives_late_of_a_failed_batch_is_not_queued():
    queue = RunQueue()
    queue.add(item(1, 0.0, 0))
    queue.add(item(2, 0.0, 1))
    first, _ = queue.take(1.0)
    assert [one.run_id for one in queue.fail(first.batch)] == [2]
    assert queue.add(item(3, 0.1, 2)) is False
    assert queue.add(item(4, 5.0, 2)) is True


def test_what_is_no_longer_queued_is_dropped():
    queue = RunQueue()
    queue.add(item(1, 0.0, 0))
    queue.add(item(2, 0.0, 1))
    assert [one.run_id for one in queue.drop({2})] == [1]
    assert 2 in queue
    assert len(queue) == 1


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\rb", "b"), ("abc\rX", "Xbc"), ("a\r\nb", "a\nb"), ("10%\r20%\r30%\n", "30%\n"), ("ab\bc", "ac"),
        ("50%\r", "50%\r"), ("a\nb\rc\nd", "a\nc\nd"), ("\b", ""),
    ],
)  # fmt: skip
def test_text_stands_as_a_terminal_would_show_it(text, shown):
    assert overwritten(text) == shown
