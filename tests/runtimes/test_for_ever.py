"""Work that never ends begins again, and says so once at length."""

from __future__ import annotations

import asyncio
import logging

import pytest
from django.db import OperationalError

from runtimes import reconcile
from runtimes.provider import ProviderUnavailable

AWAY, OTHER = ProviderUnavailable("the API is away"), ValueError("a fault")


async def logged(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, *ends: Exception | None
) -> list[tuple[str, bool]]:
    """Each line and whether it had a traceback, of work that ended so one time after the other."""
    monkeypatch.setattr(reconcile, "AFTER_ERROR_SECONDS", 0)
    left, over = list(ends), asyncio.Event()

    async def work() -> None:
        if not left:
            over.set()
            await asyncio.Event().wait()
        if error := left.pop(0):
            raise error

    with caplog.at_level(logging.WARNING, logger=reconcile.logger.name):
        task = asyncio.create_task(reconcile.for_ever(work))
        await over.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return [(line.getMessage(), bool(line.exc_info)) for line in caplog.records]


async def test_what_goes_on_failing_has_its_traceback_once_and_then_a_line(caplog, monkeypatch):
    lines = await logged(caplog, monkeypatch, AWAY, AWAY, AWAY)
    assert [traceback for _line, traceback in lines] == [True, False, False]
    assert all("work failed as before" in line and "the API is away" in line for line, _traceback in lines[1:])


async def test_another_failure_or_one_after_it_had_worked_has_its_own(caplog, monkeypatch):
    lines = await logged(caplog, monkeypatch, AWAY, OTHER, AWAY, None, AWAY, AWAY)
    assert [traceback for _line, traceback in lines] == [True, True, True, True, False]
    caplog.clear()
    monkeypatch.setattr(reconcile, "WORKS_SECONDS", 0)
    assert all(traceback for _line, traceback in await logged(caplog, monkeypatch, AWAY, AWAY))


async def test_a_database_that_is_away_is_a_line(caplog, monkeypatch):
    lines = await logged(caplog, monkeypatch, OperationalError("refused"), OperationalError("refused"))
    assert [traceback for _line, traceback in lines] == [False, False]
    assert all("the database is not there" in line for line, _traceback in lines)
