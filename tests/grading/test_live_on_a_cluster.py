"""Autograding in pods: ps1 gets there, through everything, what nbgrader's command line gives it, cell by cell."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator
from datetime import timedelta

import pytest

from bench._nbgrader_course import CELL_SECONDS, Rows
from grading.models import Autograding, ReleaseCheck, Submission
from runtimes.models import Runtime
from tests.grading import corpus
from tests.grading.conftest import Verdicts, course_files
from tests.grading.live_steps import hand_in, line_item, published, rows_and_files, until_graded
from tests.grading.test_live_grading import differences
from tests.grading.test_parity import KINDER
from tests.live import LiveSite
from tests.runtimes.pods.real import live_site, needs_cluster

# nbgrader's command line takes minutes where nobody kept its verdicts (NBGRADER_VERDICTS).
pytestmark = [needs_cluster, pytest.mark.live, pytest.mark.timeout(1800)]


@pytest.fixture
def site(django_db_blocker) -> Iterator[LiveSite]:
    """A site of this test's own whose kernels are pods."""
    with live_site(django_db_blocker) as live, rows_and_files(live):
        yield live


def graded(
    site: LiveSite, verdicts: Verdicts, students: Iterable[str], *, strict: bool, upgraded: bool = False
) -> dict[str, Submission]:
    """What these handed in for ps1, each graded once, in a pod; where the site is upgraded meanwhile, too."""
    item = line_item(f"ps1-{strict}", cell_timeout=timedelta(seconds=CELL_SECONDS), strict_nbgrader=strict)
    made = published(site, item, verdicts.course.files("source", "ps1"), course_files(verdicts.course))
    assert ReleaseCheck.objects.get(release=made).state == ReleaseCheck.State.PASSED
    handed_in = {student: hand_in(made, student, dict(verdicts.submitted["ps1", student])) for student in students}
    runs = Autograding.objects.filter(submission__in=handed_in.values())
    if upgraded:
        site.until(runs.filter(state=Autograding.State.RUNNING).exists, "grading has begun")
        # As Kubernetes does when it replaces their pods.
        for process in ("runtimes", "worker"):
            site.kill(process, signal.SIGTERM)
    until_graded(site, list(handed_in.values()))
    assert sorted(runs.values_list("submission_id", "tries")) == sorted((one.pk, 1) for one in handed_in.values())
    assert set(Runtime.objects.values_list("provider", flat=True)) == {"pods"}
    return handed_in


def test_ps1_in_pods_has_nbgraders_rows(site: LiveSite, verdicts: Verdicts) -> None:
    """As test_live_grading holds for sandboxes and for every assignment; then, as test_parity holds of the engine, what
    the default mode forgives and nothing else, whatever is replaced of the site meanwhile."""
    submissions = graded(site, verdicts, corpus.STUDENTS["ps1"].split(), strict=True)
    different: dict[tuple[str, str], Rows] = {}
    for student, submission in submissions.items():
        if found := differences(submission, verdicts.rows["ps1", student]):
            different["ps1", student] = found
    assert different == {key: rows for key, rows in corpus.EXCEPTIONS.items() if key[0] == "ps1"}
    failed = {key for key, submission in submissions.items() if submission.autogradings.get(current=True).failures}
    assert failed == {student for assignment, student in verdicts.failed if assignment == "ps1"}
    kinder = graded(site, verdicts, ["s01_right", *KINDER], strict=False, upgraded=True)
    for student, submission in kinder.items():
        rows = differences(submission, verdicts.rows["ps1", student])
        expected, _note = KINDER.get(student, (set(), ""))
        assert {grade_id for _notebook, grade_id, kind in rows if kind == "grade"} == expected, student
