"""A runtime that outlives its site ends by itself, and one that was killed knows which kernels it had."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from runtimes.agent.spawner import Before, Exited, ProgramSpawner
from runtimes.agent.switch import SITE_SECONDS, UNHEARD_SECONDS, Ends, Farewell, IdleSwitch
from runtimes.pods.warm import GREET_SECONDS


class Clock:
    """Stands for `time.monotonic`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr("runtimes.agent.switch.time.monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_it_ends_once_when_neither_site_nor_kernels_have_stirred_for_the_limit(clock: Clock) -> None:
    ended: list[float] = []
    switch = IdleSwitch(30, lambda: ended.append(clock.now), armed=True)
    clock.now += 20
    switch.look(20)
    switch.heard()
    clock.now += 29
    switch.look(49)
    assert not ended
    clock.now += 1
    switch.look(3)
    assert not ended
    switch.look(50)
    switch.look(51)
    assert ended == [150]


def test_a_busy_kernel_is_never_ended_however_long_the_site_is_silent(clock: Clock) -> None:
    switch = IdleSwitch(30, lambda: pytest.fail("ended"), armed=True)
    clock.now += 100_000
    switch.look(0.0)


def test_a_warm_runtime_waits_until_its_site_has_spoken(clock: Clock) -> None:
    ended: list[float] = []
    switch = IdleSwitch(30, lambda: ended.append(clock.now), armed=False)
    clock.now += UNHEARD_SECONDS - 1
    switch.look(UNHEARD_SECONDS - 1)
    assert not ended
    switch.heard()
    clock.now += 30
    switch.look(30)
    assert ended


@pytest.mark.parametrize(("limit", "after"), [(30, UNHEARD_SECONDS), (1800, 1800)])
def test_a_warm_runtime_whose_site_died_before_it_spoke_is_not_there_until_its_deadline(
    clock: Clock, limit: float, after: float
) -> None:
    ended: list[float] = []
    switch = IdleSwitch(limit, lambda: ended.append(clock.now), armed=False)
    clock.now += after - 1
    switch.look(after - 1)
    assert not ended
    clock.now += 1
    switch.look(after)
    assert ended
    # A site that lives has greeted it long before.
    assert GREET_SECONDS < UNHEARD_SECONDS


def test_without_a_limit_it_never_ends(clock: Clock) -> None:
    switch = IdleSwitch(None, lambda: pytest.fail("ended"), armed=True)
    clock.now += 100_000
    switch.look(100_000)


GRACE = 25.0


class Leaving:
    """A farewell that somebody has asked for, with what its site does."""

    def __init__(self, clock: Clock) -> None:
        self.ended: list[float] = []
        self.farewell = Farewell(GRACE, lambda: self.ended.append(clock.now))
        self.farewell.ask()


@pytest.fixture
def leaving(clock: Clock) -> Leaving:
    return Leaving(clock)


def test_what_nobody_ends_never_leaves_whatever_its_site_says(clock: Clock) -> None:
    farewell = Farewell(GRACE, lambda: pytest.fail("ended"))
    farewell.dismiss()
    clock.now += 100_000
    farewell.look(watched=False)
    assert not farewell.begun


def test_whom_nobody_follows_leaves_at_once(leaving: Leaving, clock: Clock) -> None:
    leaving.farewell.look(watched=False)
    leaving.farewell.look(watched=False)
    assert leaving.ended == [clock.now]


def test_it_stays_for_its_site_until_that_has_all(leaving: Leaving, clock: Clock) -> None:
    leaving.farewell.look(watched=True)
    leaving.farewell.heard()
    clock.now += GRACE - 1
    leaving.farewell.look(watched=True)
    assert not leaving.ended
    leaving.farewell.dismiss()
    leaving.farewell.look(watched=True)
    assert leaving.ended == [clock.now]


def test_it_leaves_before_the_end_of_its_grace_whatever_its_site_wants(leaving: Leaving, clock: Clock) -> None:
    leaving.farewell.heard()
    clock.now += GRACE
    leaving.farewell.heard()
    leaving.farewell.look(watched=True)
    assert leaving.ended


def test_a_site_that_says_nothing_when_told_of_the_end_is_not_waited_for(clock: Clock) -> None:
    ended: list[float] = []
    farewell = Farewell(GRACE, lambda: ended.append(clock.now))
    farewell.heard()
    farewell.ask()
    clock.now += SITE_SECONDS - 0.5
    farewell.look(watched=True)
    assert not ended
    clock.now += 0.5
    farewell.look(watched=True)
    assert ended


def test_that_its_end_has_begun_is_told_once(leaving: Leaving) -> None:
    ends = Ends(None, leaving.farewell)
    assert [ends.look(0.0, watched=True) for _look in range(3)] == [True, False, False]
    assert ends.begun


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Stands for the agent's entry point: a program that runs until it is killed, whatever its role."""
    path = tmp_path / "run.py"
    path.write_text("import time\ntime.sleep(600)\n")
    monkeypatch.setattr(sys, "argv", [str(path)])
    return path


def test_a_successor_is_told_which_kernels_ended_with_its_predecessor(program: Path, tmp_path: Path) -> None:
    record = tmp_path / "kernels"
    first = ProgramSpawner(record=record)
    assert first.before == Before()
    for index in (0, 3):
        first.start({"index": index, "kernelspec": ""}, os.open(os.devnull, os.O_WRONLY))
    pids = {item.index: item.pid for item in first.news() if not isinstance(item, Exited)}  # type: ignore[union-attr]
    assert ProgramSpawner(record=record).before == Before(ended={0: -9, 3: -9}, first=False)
    for pid in pids.values():
        first.signal(pid, signal.SIGKILL, group=True)
    ended: set[int] = set()
    while len(ended) < 2:
        ended |= {item.pid for item in first.news() if isinstance(item, Exited)}
    assert ProgramSpawner(record=record).before == Before(first=False)


@pytest.mark.parametrize("written", ["", "{}", "[1000, -1, 0]", '["x"]', "7"])
def test_what_student_code_wrote_there_does_no_harm(written: str, tmp_path: Path) -> None:
    record = tmp_path / "kernels"
    record.write_text(written)
    before = ProgramSpawner(record=record).before
    assert not before.first
    assert set(before.ended) <= {0}
