"""Autograding in pods: ps1 gets there, through everything, what nbgrader's command line gives it, cell by cell."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from bench._nbgrader_course import CELL_SECONDS, Rows
from grading.models import ReleaseCheck
from runtimes.models import Runtime
from tests.grading import corpus
from tests.grading.conftest import Verdicts, course_files
from tests.grading.live_steps import hand_in, line_item, published, rows_and_files, until_graded
from tests.grading.test_live_grading import differences
from tests.live import LiveSite
from tests.runtimes.pods.real import live_site, needs_cluster

# nbgrader's command line takes minutes where nobody kept its verdicts (NBGRADER_VERDICTS).
pytestmark = [needs_cluster, pytest.mark.live, pytest.mark.timeout(1800)]


@pytest.fixture
def site(django_db_blocker) -> Iterator[LiveSite]:
    """A site of this test's own whose kernels are pods."""
    with live_site(django_db_blocker) as live, rows_and_files(live):
        yield live


def test_ps1_in_pods_has_nbgraders_rows(site: LiveSite, verdicts: Verdicts) -> None:
    """As test_live_grading holds for sandboxes and for every assignment."""
    item = line_item("ps1", cell_timeout=timedelta(seconds=CELL_SECONDS), strict_nbgrader=True)
    made = published(site, item, verdicts.course.files("source", "ps1"), course_files(verdicts.course))
    assert ReleaseCheck.objects.get(release=made).state == ReleaseCheck.State.PASSED
    submissions = {
        key: hand_in(made, key[1], dict(files)) for key, files in verdicts.submitted.items() if key[0] == "ps1"
    }
    assert len(submissions) == len(corpus.STUDENTS["ps1"].split())
    until_graded(site, list(submissions.values()))
    different: dict[tuple[str, str], Rows] = {}
    for key, submission in submissions.items():
        if found := differences(submission, verdicts.rows[key]):
            different[key] = found
    assert different == {key: rows for key, rows in corpus.EXCEPTIONS.items() if key[0] == "ps1"}
    failed = {key for key, submission in submissions.items() if submission.autogradings.get(current=True).failures}
    assert failed == {key for key in verdicts.failed if key[0] == "ps1"}
    assert set(Runtime.objects.values_list("provider", flat=True)) == {"pods"}
