"""Check, by the site's own worker and in its sandboxes; and what looks like an attempt on the tests, in the same."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from nbformat.v4 import new_code_cell, new_notebook

from grading import explain, rehearse
from grading.models import Release, Submission, WorkCheck
from runtimes import storage
from runtimes.models import Runtime
from tests.grading.corpus import answered, dump
from tests.grading.course_of_one import CELLS, PYTHON
from tests.grading.live_steps import LONG_AGO, hand_in, line_item, published, rows_and_files, until_graded
from tests.live import LiveSite

pytestmark = [pytest.mark.live, pytest.mark.sandbox, pytest.mark.timeout(1200)]

LOOK = "answer = 41\nimport os\nprint('FOUND:', In, [open(n).read() for n in os.listdir('.') if n.endswith('.ipynb')])"
REPLACES = "answer = 42\nget_ipython().input_transformers_post.append(lambda lines: lines)"


@pytest.fixture(scope="module")
def site(live: LiveSite) -> Iterator[LiveSite]:
    with rows_and_files(live):
        yield live


@pytest.fixture(scope="module")
def made(site: LiveSite) -> Release:
    cells = [*CELLS, new_code_cell("import no_such_package")]
    return published(site, line_item("check"), {"p.ipynb": dump(new_notebook(cells=cells, metadata=PYTHON))})


def test_a_check_runs_the_visible_tests_and_leaves_nothing_behind(site: LiveSite, made: Release) -> None:
    files = answered(storage.read_snapshot(made.student), {"answer": LOOK})
    check = rehearse.ask(made, storage.snapshot_of(files), "work:1")
    WorkCheck.objects.filter(pk=check.pk).update(queued_at=check.queued_at - LONG_AGO)
    over = WorkCheck.objects.filter(pk=check.pk, state__in=["done", "failed"])
    site.until(over.exists, "the check is over", 300)
    check.refresh_from_db()
    assert (check.state, check.failures, check.lacking) == ("done", [], ["no_such_package"])
    assert [(row["grade_id"], row["passed"]) for row in check.results] == [("tests", True)], "41 fails the hidden test"
    assert not Submission.objects.filter(line_item=made.line_item).exists()
    site.until(lambda: not Runtime.objects.filter(state__in=Runtime.LIVE).exists(), "no sandbox is left")


def test_what_was_replaced_is_seen_in_a_forked_kernel_and_waits_for_a_person(site: LiveSite, made: Release) -> None:
    release = storage.read_snapshot(made.student)
    honest = hand_in(made, "check-honest", answered(release, {"answer": "answer = 42", "why": "Because it is."}))
    attack = hand_in(made, "check-attack", answered(release, {"answer": REPLACES}))
    until_graded(site, [honest, attack], 600)
    notes = attack.autogradings.get(current=True).notes
    assert [note["names"] for note in notes if note["code"] == "kernel_changed"] == [["ip.input_transformers_post"]]
    assert attack.state == Submission.State.TO_REVIEW
    suspicious = [note for note in honest.autogradings.get(current=True).notes if note["code"] in explain.SUSPICIONS]
    assert suspicious == []
