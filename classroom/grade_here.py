"""Grading in processes of this command: with the site's `runtimes` where one runs, else with one of its own.

The rows are claimed as by any worker, so a site that grades at the same time shares the work and nothing is done twice.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context

from django.conf import settings

from classroom import grading_process
from classroom.lifeline import dies_with_parent
from grading import autograde, states
from grading.models import Autograding
from runtimes import sole

type Tell = Callable[[int, int], object]

_TELL_SECONDS = 2.0
_AGAIN_SECONDS = 1.0
#: Without a single row graded for so long although sandboxes were asked for, something is wrong with the machine.
_PATIENCE_SECONDS = 120.0


class CannotGrade(Exception):
    """No sandbox can be had here. `str()` says what to do."""


@contextmanager
def runtimes_process() -> Iterator[bool]:
    """A `runtimes` process as long as the body runs; True if it is one of ours. Raises CannotGrade."""
    if sole.is_held():
        yield False
        return
    log = settings.DATA_DIR / "logs" / "runtimes.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as errors:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "runtimes"], cwd=settings.BASE_DIR, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=errors, text=True, preexec_fn=dies_with_parent(),  # noqa: PLW1509 - no threads
        )  # fmt: skip
        assert process.stdout is not None
        try:
            if not any("ready" in line for line in process.stdout) and not sole.is_held():
                raise CannotGrade(f"The runtimes process, which owns the sandboxes, does not start: see {log}.")
            yield True
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate()


def grade_here(rows: Sequence[int], *, processes: int, tell: Tell) -> None:
    """Grades these autogradings, here or, as far as they are faster, by the site's workers; returns when none waits.

    `tell` hears of (done, all) every other second. Raises CannotGrade.
    """
    progress = _Progress(len(rows), tell)
    left = list(rows)
    while left:
        done = len(rows) - len(left)
        try:
            with _pool(processes) as pool:
                refused = _grade(pool, left, progress, done)
        except BrokenProcessPool:
            # A process of ours was killed; its row goes back to the queue when its lease has run out.
            refused = ""
        autograde.sweep()
        left = [pk for pk in left if pk in _open(left)]
        progress.at(len(rows) - len(left))
        if refused and progress.idle_seconds > _PATIENCE_SECONDS:
            raise CannotGrade(f"No sandbox can be had ({refused}). What is graded stays; run the command again later.")
        if left:
            time.sleep(_AGAIN_SECONDS)


@contextmanager
def _pool(processes: int) -> Iterator[ProcessPoolExecutor]:
    pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=grading_process.prepare)
    try:
        yield pool
    finally:
        # Ctrl-C: what runs is left to its lease, what waits stays queued.
        pool.shutdown(wait=True, cancel_futures=True)


def _grade(pool: ProcessPoolExecutor, rows: Sequence[int], progress: _Progress, before: int) -> str:
    """One turn of every row; why the last of those that had to wait could not be graded."""
    refused = ""
    running: set[Future[str]] = {pool.submit(grading_process.grade, row) for row in rows}
    total, waiting = len(running), 0
    while running:
        ended, running = wait(running, timeout=_TELL_SECONDS, return_when=FIRST_COMPLETED)
        said = [future.result() for future in ended]
        refused = next(filter(None, said), refused)
        waiting += sum(map(bool, said))
        progress.at(before + total - len(running) - waiting)
    return refused


def _open(rows: Sequence[int]) -> set[int]:
    waiting = Autograding.objects.filter(state__in=states.OPEN).values_list("pk", flat=True)
    return set(waiting) & set(rows)


class _Progress:
    """Tells at most every other second, and knows for how long nothing has happened."""

    def __init__(self, total: int, tell: Tell) -> None:
        self._total, self._tell = total, tell
        self._done = 0
        self._moved = self._told = time.monotonic()

    @property
    def idle_seconds(self) -> float:
        """Since when nothing more was graded."""
        return time.monotonic() - self._moved

    def at(self, done: int) -> None:
        """So many are graded."""
        now = time.monotonic()
        if done > self._done:
            self._done, self._moved = done, now
        if now - self._told >= _TELL_SECONDS or done == self._total:
            self._told = now
            self._tell(self._done, self._total)


def all_cores() -> int:
    """How many processes can grade at once."""
    return len(os.sched_getaffinity(0))
