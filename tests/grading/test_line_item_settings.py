"""What a teacher chose for an assignment is what its submissions are graded by."""

from __future__ import annotations

from datetime import timedelta
from itertools import product

import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_notebook

from classroom.people.models import User
from grading import autograde
from grading.engine import Limits
from grading.models import Autograding, LineItem
from grading.specify import settings_of
from runtimes import storage
from tests.grading.corpus import Files, answered, cell, dump, edited_path
from tests.grading.course_of_one import PYTHON, handed_in, lending, line_item, published
from tests.grading.plain_sandbox import PlainSandboxes
from tests.grading.test_healing import TESTS, _code
from tests.grading.test_stopped import ENDS, ENDS_ONCE, Fresh, Killed

SOURCE: Files = {
    "p.ipynb": dump(
        new_notebook(
            metadata=PYTHON,
            cells=[
                _code("assert True", "before", **TESTS, points=1),
                _code("### BEGIN SOLUTION\nmine = 1\n### END SOLUTION", "mine", solution=True),
                _code("assert mine == 1", "after", **TESTS, points=1),
            ],
        )
    )
}
LOUD = "import sys\nclass Loud(int):\n    def __eq__(self, other):\n        print('old', file=sys.stderr)\n"
LOUD += "        return int(self) == other\nmine = Loud(1)"


def _as_it_is(notebook: NotebookNode) -> None:
    pass


def _without_the_test(notebook: NotebookNode) -> None:
    notebook.cells.remove(cell(notebook, "after"))


#: What is handed in → its answer, and what is done to the notebook.
WORK = {
    "stops": (ENDS, _as_it_is),
    "killed once": ("mine = 1\n" + ENDS_ONCE, _as_it_is),
    "warns": (LOUD, _as_it_is),
    "lost a test": ("mine = 1", _without_the_test),
}
#: The line item's fields → work → the scores of the two tests.
CHOSEN: list[tuple[dict[str, bool], dict[str, tuple[int | None, int | None]]]] = [
    ({}, {"stops": (1, None), "killed once": (1, 1), "warns": (1, 1), "lost a test": (1, 1)}),
    (
        {"strict_nbgrader": True},
        {"stops": (None, None), "killed once": (None, None), "warns": (1, 0), "lost a test": (1, None)},
    ),
    ({"warnings_cost": True}, {"warns": (1, 0), "lost a test": (1, 1)}),
    ({"heal": False}, {"warns": (1, 1), "lost a test": (1, None)}),
]


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("work_dir")
@pytest.mark.parametrize(("fields", "expected"), CHOSEN, ids="-".join)
def test_submissions_are_graded_by_the_settings_of_their_assignment(
    fields: dict[str, bool], expected: dict[str, tuple[int | None, int | None]], plain: PlainSandboxes, ada: User
) -> None:
    made = published(plain, line_item(**fields), SOURCE)
    found = {}
    for name in expected:
        answer, edit = WORK[name]
        files = answered(storage.read_snapshot(made.student), {"mine": answer})
        submission = handed_in(made, ada, key=name, extra=edited_path(files, "p.ipynb", edit))
        sandboxes = Fresh(plain, Killed) if name == "killed once" else plain
        row = submission.autogradings.get()
        assert autograde.autograde(row.pk, lend=lending(sandboxes))
        scores = dict(row.scores.values_list("cell__grade_id", "auto_score"))
        found[name] = (scores["before"], scores["after"])
        again = "kernel_replaced" in {note["code"] for note in Autograding.objects.get(pk=row.pk).notes}
        assert again == (name == "killed once" and not fields)
    assert found == expected


@pytest.mark.parametrize(("strict", "heal", "cost"), list(product([False, True], repeat=3)))
def test_strict_mode_overrules_the_other_choices(strict: bool, heal: bool, cost: bool) -> None:
    item = LineItem(
        strict_nbgrader=strict, heal=heal, warnings_cost=cost, cell_timeout=timedelta(seconds=7),
        wall_timeout=timedelta(minutes=3), output_bytes=5,
    )  # fmt: skip
    made = settings_of(item, {}, {})
    assert made.limits == Limits(cell_seconds=7, wall_seconds=180, output_bytes=5)
    assert (made.salvage, made.heal, made.warnings_cost) == (not strict, heal and not strict, cost or strict)
