"""Processes without a port touch a file each time that their loop goes round, and not when it hangs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from celery import Celery

from classroom.alive import SILENCE_SECONDS, Pulse, Scheduler
from classroom.celery import app
from runtimes import alive, reconcile, sole
from runtimes.jupyter import execution


@pytest.fixture(autouse=True)
def _own_folder(settings: Any, tmp_path: Path) -> None:
    settings.RUN_DIR = tmp_path


class Worker:
    """What a worker's thread looks at: the time, and whether its loop has a broker."""

    def __init__(self) -> None:
        self.now, self.connected = 0.0, True
        self.pulse = Pulse(lambda: self.connected, lambda: self.now)

    def after(self, seconds: float) -> bool:
        self.now += seconds
        return self.pulse.is_there()


def test_a_worker_whose_loop_goes_round_is_there() -> None:
    worker = Worker()
    for _round in range(10):
        worker.pulse.beat()
        assert worker.after(SILENCE_SECONDS / 2)


def test_one_whose_loop_hangs_is_not() -> None:
    worker = Worker()
    worker.pulse.beat()
    assert not worker.after(SILENCE_SECONDS)


def test_one_that_waits_for_its_broker_is_there_and_has_its_time_when_it_is_back() -> None:
    worker = Worker()
    worker.connected = False
    for _round in range(10):
        assert worker.after(SILENCE_SECONDS)
    worker.connected = True
    assert worker.after(SILENCE_SECONDS / 2)
    assert not worker.after(SILENCE_SECONDS / 2)


def test_the_scheduler_says_so_at_each_look(tmp_path: Path) -> None:
    assert app.conf.beat_scheduler == f"{Scheduler.__module__}:{Scheduler.__name__}"
    idle = Celery("idle", set_as_current=False)
    scheduler = Scheduler(app=idle, schedule_filename=str(tmp_path / "schedule"))
    assert not alive.path("beat").exists()
    scheduler.tick()
    scheduler.close()
    assert alive.path("beat").exists()


def test_a_folder_that_cannot_be_written_ends_nothing(settings: Any, tmp_path: Path) -> None:
    settings.RUN_DIR = tmp_path / "made when it is needed"
    alive.moved("worker")
    assert alive.path("worker").exists()
    (tmp_path / "a file").touch()
    settings.RUN_DIR = tmp_path / "a file"
    alive.moved("worker")
    assert not alive.path("worker").exists()


async def test_runtimes_says_so_before_each_look_and_not_while_one_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    reconciler = reconcile.Reconciler(cast("Any", None))
    hangs, goes_on, looked = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def look() -> None:
        if hangs.is_set():
            looked.set()
        else:
            hangs.set()
            await goes_on.wait()

    monkeypatch.setattr(reconciler, "_look", look)
    monkeypatch.setattr(reconcile, "LOOK_SECONDS", 0)
    looking = asyncio.create_task(reconciler._look_until_leaving())
    await hangs.wait()
    alive.path("runtimes").unlink()
    for _turn in range(100):
        await asyncio.sleep(0)
    assert not alive.path("runtimes").exists()
    goes_on.set()
    await looked.wait()
    assert alive.path("runtimes").exists()
    reconciler.leave()
    await looking


async def test_runtimes_says_nothing_while_its_cells_stand_still(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    cells = alive.Loop("cells", clock=lambda: now[0])
    reconciler = reconcile.Reconciler(cast("Any", None), beside=cells)
    said: list[bool] = []

    async def look() -> None:
        said.append(alive.path("runtimes").exists())
        alive.path("runtimes").unlink(missing_ok=True)
        now[0] += alive.SILENCE_SECONDS
        if len(said) == 2:
            # Only now does it begin.
            cells.moved()
        if len(said) == 5:
            cells.moved()
        if len(said) == 6:
            reconciler.leave()

    monkeypatch.setattr(reconciler, "_look", look)
    monkeypatch.setattr(reconcile, "LOOK_SECONDS", 0)
    await reconciler._look_until_leaving()
    # As long as it may be silent, and no longer.
    assert said == [True, True, True, True, False, True]


async def test_cells_stand_still_where_their_rows_cannot_be_read_and_not_where_documents_are_slow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, answers = [0.0], asyncio.Event()
    cells = alive.Loop("cells", clock=lambda: now[0])
    executor = execution.Executor(cells)

    async def rows(*_asked: Any) -> Any:
        await answers.wait()
        return [SimpleNamespace(pk=1), SimpleNamespace(pk=2)]

    async def offer(_run: Any) -> None:
        now[0] += alive.SILENCE_SECONDS

    monkeypatch.setattr(execution, "off_loop", rows)
    monkeypatch.setattr(executor, "_offer", offer)
    looking = asyncio.create_task(executor._look())
    await asyncio.sleep(0)
    now[0] = alive.SILENCE_SECONDS + 1
    assert cells.hangs()
    executor._renewed_at = float("inf")
    answers.set()
    await looking
    assert not cells.hangs()


async def test_the_next_runtimes_says_so_while_it_waits_for_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([sole.TAKEN, ""])
    seen = []

    async def refused(_holder: str) -> str:
        seen.append(alive.path("runtimes").exists())
        alive.path("runtimes").unlink()
        return next(answers)

    monkeypatch.setattr(sole, "_refused", refused)
    monkeypatch.setattr(sole, "WAIT_SECONDS", 0)
    await sole._take("me")
    assert seen == [True, True]
