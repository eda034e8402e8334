"""A runtime that outlives its site ends by itself, and one that was killed knows which kernels it had."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from runtimes.agent.spawner import Before, Exited, ProgramSpawner
from runtimes.agent.switch import IdleSwitch


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
    clock.now += 1000
    switch.look(1000)
    assert not ended
    switch.heard()
    clock.now += 30
    switch.look(30)
    assert ended


def test_without_a_limit_it_never_ends(clock: Clock) -> None:
    switch = IdleSwitch(None, lambda: pytest.fail("ended"), armed=True)
    clock.now += 100_000
    switch.look(100_000)


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
