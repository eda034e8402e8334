"""The same submissions through everything: verbs, worker, sandboxes, rows. Then: what a kill leaves behind."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from bench._nbgrader_course import CELL_SECONDS, Rows
from grading import states
from grading.models import Autograding, CellScore, ReleaseCheck, Submission
from tests.grading import corpus
from tests.grading.conftest import Verdicts, course_files
from tests.grading.live_steps import LONG_AGO, hand_in, line_item, published, rows_and_files, sandboxes, until_graded
from tests.live import LiveSite

pytestmark = [pytest.mark.live, pytest.mark.sandbox, pytest.mark.timeout(1800)]


SECONDS = timedelta(seconds=CELL_SECONDS)


@pytest.fixture
def site(live: LiveSite) -> Iterator[LiveSite]:
    with rows_and_files(live):
        yield live


def stored(submission: Submission) -> Rows:
    rows: Rows = {}
    for row in CellScore.objects.filter(autograding__submission=submission, autograding__current=True).select_related(
        "cell__notebook"
    ):
        key = (row.cell.notebook.name, row.cell.grade_id)
        if row.cell.kind != "answer":
            rows[(*key, "grade")] = (row.auto_score, row.needs_manual_grade)
        rows[(*key, "comment")] = row.auto_comment
    return rows


def nbgraders(rows: Rows) -> Rows:
    """nbgrader's rows as we store them: decimals, and "" for no comment."""
    made: Rows = {}
    for key, row in rows.items():
        if key[2] == "grade":
            score, manual = row
            made[key] = (None if score is None else Decimal(str(score)), manual)
        else:
            made[key] = row or ""
    return made


def differences(submission: Submission, theirs: Rows) -> Rows:
    """Rows that differ: nbgrader's and ours."""
    ours, theirs = stored(submission), nbgraders(theirs)
    return {key: (row, ours.get(key)) for key, row in theirs.items() if ours.get(key, "") != row}


def test_rows_of_the_whole_site_equal_nbgraders_gradebook(site: LiveSite, verdicts: Verdicts) -> None:
    more = course_files(verdicts.course)
    releases = {
        name: published(
            site,
            line_item(name, cell_timeout=SECONDS, strict_nbgrader=True),
            verdicts.course.files("source", name),
            more,
        )
        for name in corpus.STUDENTS
    }
    assert ReleaseCheck.objects.get(release=releases["ps1"]).state == ReleaseCheck.State.PASSED
    submissions = {
        (assignment, student): hand_in(releases[assignment], f"{assignment}-{student}", dict(files))
        for (assignment, student), files in verdicts.submitted.items()
    }
    until_graded(site, list(submissions.values()))
    different = {
        key: found for key, submission in submissions.items() if (found := differences(submission, verdicts.rows[key]))
    }
    assert different == corpus.EXCEPTIONS
    failed = {key for key, submission in submissions.items() if submission.autogradings.get(current=True).failures}
    assert failed == verdicts.failed
    for submission in submissions.values():
        submission.refresh_from_db()
        assert submission.autogradings.count() == 1
        assert submission.state in states.REVIEWABLE


def test_a_killed_worker_grades_nothing_twice_and_loses_nothing(site: LiveSite, verdicts: Verdicts) -> None:
    files = verdicts.course.files("source", "ps1")
    made = published(site, line_item("kill", cell_timeout=SECONDS), files)
    waits = {"problem1.ipynb": corpus.slow(verdicts.course.files("release", "ps1")["problem1.ipynb"])}
    submission = hand_in(made, "killed", waits)
    running = Autograding.objects.filter(submission=submission, state=Autograding.State.RUNNING)
    site.until(running.exists, "grading has begun")
    site.until(lambda: sandboxes(site), "its sandbox runs")
    site.kill("worker")
    # Nobody renews the lease any more; waiting for it to run out would only take time.
    running.update(lease_until=timezone.now() - LONG_AGO)
    until_graded(site, [submission])
    done = submission.autogradings.get()
    assert (done.tries, done.current, done.failures) == (2, True, [])
    assert (
        CellScore.objects.filter(autograding=done).count()
        == done.release.notebooks.get(name="problem1").grade_cells.count()
        + done.release.notebooks.get(name="problem2").grade_cells.count()
    )
    site.until(lambda: not sandboxes(site), "no sandbox is left")
