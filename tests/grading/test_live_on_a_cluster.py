"""Autograding in pods: ps1 gets there, through everything, the scores that nbgrader gives it and sandboxes give it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from bench._nbgrader_course import CELL_SECONDS, Rows
from grading.models import ReleaseCheck
from runtimes.models import Runtime
from tests.grading.conftest import Verdicts, course_files
from tests.grading.live_steps import hand_in, line_item, published, rows_and_files, until_graded
from tests.grading.test_live_grading import nbgraders, stored
from tests.live import LiveSite
from tests.runtimes.pods.real import live_site, needs_cluster

pytestmark = [needs_cluster, pytest.mark.live, pytest.mark.timeout(1800)]
#: What test_live_grading holds for all of them in sandboxes, some of each kind here.
STUDENTS = (
    "s01_right", "s03_wrong", "s04_partly_wrong", "s05_blank", "s08_infinite_loop", "s09_stderr", "s14_bitdiddle",
    "s22_own_files",
)  # fmt: skip


@pytest.fixture
def site(django_db_blocker) -> Iterator[LiveSite]:
    """A site of this test's own whose kernels are pods."""
    with live_site(django_db_blocker) as live, rows_and_files(live):
        yield live


def scores(rows: Rows) -> Rows:
    """Without comments, which quote the traceback of whichever Python ran."""
    return {key: row for key, row in rows.items() if key[2] == "grade"}


def test_ps1_is_scored_in_pods_as_nbgrader_scores_it(site: LiveSite, verdicts: Verdicts) -> None:
    item = line_item("ps1", cell_timeout=timedelta(seconds=CELL_SECONDS), strict_nbgrader=True)
    made = published(site, item, verdicts.course.files("source"), course_files(verdicts.course))
    assert ReleaseCheck.objects.get(release=made).state == ReleaseCheck.State.PASSED
    submissions = {student: hand_in(made, student, verdicts.submitted["ps1", student]) for student in STUDENTS}
    until_graded(site, list(submissions.values()))
    ours = {student: scores(stored(submission)) for student, submission in submissions.items()}
    assert ours == {student: scores(nbgraders(verdicts.rows["ps1", student])) for student in STUDENTS}
    assert set(Runtime.objects.values_list("provider", flat=True)) == {"pods"}
