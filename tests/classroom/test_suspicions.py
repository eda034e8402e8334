"""What looks like an attempt on the tests waits for a person, who reads the evidence beside the marks."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from grading import autograde
from grading.engine import CellResult, Graded, NotebookResult
from grading.models import Autograding, Submission
from runtimes import storage
from tests.classroom.work import PS1, graded, handed_in


def words(response) -> str:
    return " ".join(response.content.decode().split())


NOTE = {"code": "kernel_changed", "cell": 3, "names": ["ip.run_code"], "notebook": "problem1"}


def test_the_marking_page_shows_the_evidence_and_the_record(ps1, ada, tim, as_user):
    submission = graded(handed_in(ps1, ada), tests=Decimal(2))
    record = [{"cell": 2, "grade_id": "squares", "sha256": "abcdef0123456789" * 4, "count": 1}]
    run = Autograding.objects.get(submission=submission, current=True)
    files = storage.read_snapshot(run.result) | {autograde.record_path("problem1"): json.dumps(record).encode()}
    Autograding.objects.filter(pk=run.pk).update(notes=[NOTE], result=storage.snapshot_of(files))
    page = words(as_user(tim).get(f"/review/{submission.code}/"))
    assert "worth a look before its scores count" in page
    assert "Before cell 3" in page
    assert "ip.run_code" in page
    assert "abcdef012345…" in page


@pytest.mark.parametrize(("notes", "state"), [((NOTE,), "to_review"), ((), "graded")])
def test_a_suspicion_waits_for_a_person_although_all_is_scored(notes, state, ps1, ada, monkeypatch):
    submission = handed_in(ps1, ada)
    row = submission.autogradings.get()
    cells = (CellResult("problem1", "tests", graded=True, auto_score=2.0),)
    book = NotebookResult("problem1", PS1, "graded", b"{}", notes=notes, record=({"cell": 1},))

    async def grade(*_given, **_more):
        return Graded(cells, (book,), ())

    monkeypatch.setattr(autograde.engine, "grade", grade)
    assert autograde.autograde(row.pk)
    submission.refresh_from_db()
    assert submission.state == Submission.State(state)
    row.refresh_from_db()
    assert autograde.record_path("problem1") in storage.read_snapshot(row.result)
