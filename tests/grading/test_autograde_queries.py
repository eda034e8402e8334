"""Grading asks the database for a submission, not for its cells."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from nbformat.v4 import new_notebook

from classroom.people.models import User
from grading import autograde
from grading.models import CellScore
from tests.grading.corpus import Files, dump
from tests.grading.course_of_one import PYTHON, handed_in, lending, line_item, published
from tests.grading.plain_sandbox import PlainSandboxes
from tests.grading.test_healing import TESTS, _code

# Claim, rows and files of the release and of what was handed in, the result's files, the scores, the states.
MOST_QUERIES = 24
#: The lease is renewed by the clock.
RENEWAL = 'UPDATE "grading_autograding" SET "lease_until"'


def source(cells: int) -> Files:
    tests = [_code(f"assert answer == {number} or True", f"t{number}", **TESTS, points=1) for number in range(cells)]
    answer = _code("### BEGIN SOLUTION\nanswer = 1\n### END SOLUTION", "answer", solution=True)
    return {"p.ipynb": dump(new_notebook(metadata=PYTHON, cells=[answer, *tests]))}


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("work_dir")
def test_a_submission_takes_as_many_queries_whatever_it_has_of_cells(plain: PlainSandboxes, ada: User) -> None:
    taken = {}
    for cells in (1, 24):
        made = published(plain, line_item(), source(cells))
        row = handed_in(made, ada, answers={"answer": "answer = 2"}).autogradings.get()
        with CaptureQueriesContext(connection) as captured:
            assert autograde.autograde(row.pk, lend=lending(plain))
        assert CellScore.objects.filter(autograding=row).count() == cells + 1
        taken[cells] = len([query for query in captured if not query["sql"].startswith(RENEWAL)])
    assert taken[1] == taken[24]
    assert taken[24] <= MOST_QUERIES, taken
