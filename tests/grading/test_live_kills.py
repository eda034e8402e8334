"""Whatever ends while submissions are graded, killed or told to go (a worker, its child, a kernel, the process that has
the sandboxes): nothing is lost or doubled."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.utils import timezone

from grading import states
from grading.models import Autograding, CellScore, Submission
from runtimes import storage
from tests.grading import corpus
from tests.grading.course_of_one import SOURCE
from tests.grading.live_clicks import score_of
from tests.grading.live_steps import (
    LONG_AGO,
    children_that,
    hand_in,
    lease_ends,
    line_item,
    published,
    rows_and_files,
    until_graded,
)
from tests.live import LiveSite

pytestmark = [pytest.mark.live, pytest.mark.sandbox, pytest.mark.timeout(1800)]

SLEEPS = "answer = 42\nimport time\nfor _ in range(100):\n    time.sleep(0.1)"
#: It takes as long on the second kernel, where nobody kills anything. No other test may wait for just this.
WAITED_FOR = "sleep 4.3219"
WAITS = f"import subprocess\nsubprocess.run({WAITED_FOR.split()!r})\nanswer = 42"


@pytest.fixture
def site(live: LiveSite) -> Iterator[LiveSite]:
    with rows_and_files(live):
        yield live


def kill_children(site: LiveSite) -> None:
    """`kill -9` of every process that the worker has forked to grade in."""
    # A pool forks from several threads.
    for children in Path(f"/proc/{site.pid('worker')}/task").glob("*/children"):
        for child in children.read_text().split():
            os.kill(int(child), signal.SIGKILL)


def test_a_submission_that_ends_its_worker_every_time_is_set_aside_and_keeps_nobody_waiting(site: LiveSite) -> None:
    made = published(site, line_item("poison"), SOURCE)
    released = {"p.ipynb": corpus.dump(corpus.parse(SOURCE["p.ipynb"]))}
    poison = hand_in(made, "poison", corpus.answered(released, {"answer": SLEEPS}))
    runs = Autograding.objects.filter(submission=poison)
    for attempt in range(1, states.MOST_TRIES + 1):
        running = runs.filter(state=Autograding.State.RUNNING, tries=attempt)
        site.until(running.exists, f"try {attempt} has begun")
        kill_children(site)
        lease_ends(running)
        # Put back by the sweep: what lost its message is found once it has waited for long.
        site.until(lambda held=running: not held.exists(), f"try {attempt} is over")
        runs.filter(state=Autograding.State.QUEUED).update(queued_at=timezone.now() - LONG_AGO)
    honest = hand_in(made, "honest", corpus.answered(released, {"answer": "answer = 42"}))
    until_graded(site, [poison, honest])
    parked = runs.get()
    assert (parked.state, parked.tries, poison.state) == ("parked", states.MOST_TRIES, Submission.State.FAILED)
    assert parked.log.count("the worker that graded it ended") == states.MOST_TRIES
    assert (honest.autogradings.get().state, honest.autogradings.get().tries) == ("finished", 1)


def test_what_a_killed_child_of_the_worker_held_is_graded_once(site: LiveSite) -> None:
    made = published(site, line_item("child"), SOURCE)
    released = {"p.ipynb": corpus.dump(corpus.parse(SOURCE["p.ipynb"]))}
    submission = hand_in(made, "child", corpus.answered(released, {"answer": SLEEPS}))
    running = Autograding.objects.filter(submission=submission, state=Autograding.State.RUNNING)
    site.until(running.exists, "grading has begun")
    kill_children(site)
    lease_ends(running)
    until_graded(site, [submission])
    done = submission.autogradings.get()
    assert (done.state, done.tries, done.current, done.failures) == ("finished", 2, True, [])
    assert CellScore.objects.filter(autograding=done).count() == 3


def test_a_kernel_that_is_killed_from_outside_is_replaced_once_and_everything_is_scored(site: LiveSite) -> None:
    made = published(site, line_item("kernel"), SOURCE)
    released = storage.read_snapshot(made.student)
    submission = hand_in(made, "kernel", corpus.answered(released, {"answer": WAITS}))
    site.until(lambda: list(children_that(WAITED_FOR)), "the kernel waits for its own child")
    for _child, kernel in children_that(WAITED_FOR):
        os.kill(kernel, signal.SIGKILL)
    until_graded(site, [submission])
    done = submission.autogradings.get()
    assert (done.state, done.tries, done.failures) == ("finished", 1, [])
    assert [note["code"] for note in done.notes] == ["kernel_replaced"]
    assert score_of(submission) == 3


def test_a_worker_that_is_told_to_go_ends_what_it_grades_and_the_next_one_takes_the_rest(site: LiveSite) -> None:
    made = published(site, line_item("rollout"), SOURCE)
    released = {"p.ipynb": corpus.dump(corpus.parse(SOURCE["p.ipynb"]))}
    submission = hand_in(made, "begun", corpus.answered(released, {"answer": SLEEPS}))
    running = Autograding.objects.filter(submission=submission, state=Autograding.State.RUNNING)
    site.until(running.exists, "grading has begun")
    begun = running.get()
    site.kill("worker", signal.SIGTERM)
    begun.refresh_from_db()
    # It was not cut off: what had begun was at its end before its worker was.
    assert (begun.state, begun.tries) == ("finished", 1)
    later = hand_in(made, "later", corpus.answered(released, {"answer": "answer = 42"}))
    until_graded(site, [submission, later])
    for one in (submission, later):
        done = one.autogradings.get()
        assert (done.state, done.tries, done.current, score_of(one)) == ("finished", 1, True, 3)


def test_a_submission_whose_sandboxes_went_with_their_owner_is_graded_once_by_itself(site: LiveSite) -> None:
    """An upgrade of a site with local sandboxes, in the middle of a grading, and then a crash. Pods stay: see
    test_live_on_a_cluster."""
    made = published(site, line_item("owner"), SOURCE)
    released = storage.read_snapshot(made.student)
    submission = hand_in(made, "owner", corpus.answered(released, {"answer": WAITS}))
    for how in (signal.SIGTERM, signal.SIGKILL):
        site.until(lambda: list(children_that(WAITED_FOR)), "the kernel waits for its own child")
        site.kill("runtimes", how)
    until_graded(site, [submission])
    done = submission.autogradings.get()
    # Nothing is held against the submission, whatever became of its sandboxes.
    assert (done.state, done.current, done.failures, done.notes) == ("finished", True, [], [])
    assert (CellScore.objects.filter(autograding=done).count(), score_of(submission)) == (3, 3)
