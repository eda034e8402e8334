"""Reconciling a student's notebook with the release: whatever happened to it, all that was written is still there."""

from __future__ import annotations

import copy
import random
from collections import Counter
from itertools import combinations

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from grading.engine.increasing import heaviest_increasing
from grading.engine.layout import grade_id_of, layout_of
from grading.engine.reconcile import reconcile

_BASE = {"grade": False, "solution": False, "locked": False, "task": False, "schema_version": 3}


def _marked(make, source: str, grade_id: str, **flags: object) -> NotebookNode:
    about = {**_BASE, **flags, "grade_id": grade_id}
    locking = {"deletable": False, "editable": False} if flags.get("locked") else {}
    made = make(source, metadata={"nbgrader": about, **locking})
    made["id"] = f"id-{grade_id}"
    return made


def _plain(make, source: str, name: str) -> NotebookNode:
    made = make(source)
    made["id"] = name
    return made


def released() -> NotebookNode:
    tests = {"grade": True, "locked": True}
    return new_notebook(
        cells=[
            _marked(new_markdown_cell, "# Sums", "intro", locked=True),
            _plain(new_code_cell, "import math", "setup"),
            _marked(new_code_cell, "def one():\n    ...", "one", solution=True),
            _marked(new_code_cell, "assert one() == 1", "test_one", **tests, points=1),
            _marked(new_code_cell, "def two():\n    ...", "two", solution=True),
            _marked(new_code_cell, "assert two() == 2", "test_two_a", **tests, points=1),
            _marked(new_code_cell, "assert two() != 3", "test_two_b", **tests, points=2),
            _plain(new_markdown_cell, "And why?", "why-text"),
            _marked(new_markdown_cell, "YOUR ANSWER HERE", "why", grade=True, solution=True, points=3),
            _marked(new_markdown_cell, "Draw it.", "drawing", task=True, locked=True, points=2),
        ]
    )


LAYOUT = layout_of(released())


def at(notebook: NotebookNode, grade_id: str) -> int:
    return next(n for n, cell in enumerate(notebook.cells) if grade_id_of(cell) == grade_id)


def codes(notebook: NotebookNode) -> list[tuple[str, str]]:
    return [(one.code, one.grade_id) for one in reconcile(LAYOUT, notebook).findings]


def order(notebook) -> list[str]:
    return [grade_id_of(cell) or cell.get("id", "") for cell in notebook["cells"]]


# --- one thing at a time


def test_a_notebook_that_was_only_worked_in_is_left_alone() -> None:
    work = released()
    work.cells[2].source = "def one():\n    return 1"
    work.cells[8].source = "Because."
    work.cells.insert(3, _plain(new_code_cell, "one()", "mine"))
    work.cells[4]["outputs"] = [nbformat.v4.new_output("stream", text="x")]
    found = reconcile(LAYOUT, work)
    assert found.findings == ()
    assert found.notebook == work


def test_a_deleted_test_comes_back_below_what_was_added_for_it() -> None:
    work = released()
    del work.cells[at(work, "test_one")]
    work.cells.insert(3, _plain(new_code_cell, "def help(): ...", "mine"))
    assert codes(work) == [("missing_cell", "test_one")]
    healed = reconcile(LAYOUT, work).notebook
    assert order(healed) == [
        "intro", "setup", "one", "mine", "test_one", "two", "test_two_a", "test_two_b", "why-text", "why", "drawing",
    ]  # fmt: skip
    assert healed["cells"][4] == released().cells[3]


def test_everything_deleted_comes_back_in_order() -> None:
    work = new_notebook(cells=[_plain(new_code_cell, "mine = 1", "mine")])
    healed = reconcile(LAYOUT, work).notebook
    assert [name for name in order(healed) if name != "mine"] == [e["grade_id"] for e in LAYOUT if e["grade_id"]]
    assert "mine" in order(healed)


def test_of_two_copies_of_an_answer_the_one_that_was_written_in_is_the_answer() -> None:
    work = released()
    copied = copy.deepcopy(work.cells[2])
    copied["id"], copied.source = "copy", "def one():\n    return 1"
    work.cells.insert(3, copied)
    found = reconcile(LAYOUT, work)
    assert [(one.code, one.cell) for one in found.findings] == [("copied_cell", 3)]
    answer = next(cell for cell in found.notebook["cells"] if grade_id_of(cell) == "one")
    assert answer["source"] == "def one():\n    return 1"
    assert "def one():\n    ..." in [cell["source"] for cell in found.notebook["cells"]]


def test_a_copied_test_becomes_a_plain_cell_that_can_be_deleted() -> None:
    work = released()
    copied = copy.deepcopy(work.cells[3])
    copied["id"] = "copy"
    work.cells.append(copied)
    found = reconcile(LAYOUT, work)
    assert [(one.code, one.cell) for one in found.findings] == [("copied_cell", 11)]
    assert found.notebook["cells"][-1]["metadata"] == {}


def test_a_moved_test_goes_back_and_the_answers_stay_where_they_are() -> None:
    work = released()
    work.cells.insert(0, work.cells.pop(at(work, "test_two_a")))
    assert codes(work) == [("moved_cell", "test_two_a")]
    assert order(reconcile(LAYOUT, work).notebook) == order(released())


def test_a_changed_cell_type_is_put_right_and_the_text_kept() -> None:
    work = released()
    work.cells[2] = nbformat.from_dict(
        {"id": "id-one", "cell_type": "markdown", "source": "def one(): return 1", "metadata": work.cells[2].metadata}
    )
    found = reconcile(LAYOUT, work)
    assert [(one.code, one.cell) for one in found.findings] == [("retyped_cell", 3)]
    cell = found.notebook["cells"][2]
    assert (cell["cell_type"], cell["source"], cell["outputs"]) == ("code", "def one(): return 1", [])
    nbformat.validate(nbformat.from_dict(found.notebook))


def test_a_lost_or_changed_grade_id_is_found_by_the_cells_id() -> None:
    for change in (lambda meta: meta.pop("nbgrader"), lambda meta: meta["nbgrader"].update(grade_id="mine")):
        work = released()
        change(work.cells[3].metadata)
        assert codes(work) == [("renamed_cell", "test_one")]
        assert reconcile(LAYOUT, work).notebook["cells"] == released().cells


def test_a_notebook_without_any_metadata_is_recognised_by_its_texts() -> None:
    work = released()
    for number, cell in enumerate(work.cells):
        cell["id"], cell.metadata = f"other-{number}", nbformat.from_dict({})
    assert {code for code, _ in codes(work)} == {"renamed_cell"}
    healed = reconcile(LAYOUT, work).notebook
    assert [grade_id_of(cell) for cell in healed["cells"]] == [entry["grade_id"] for entry in LAYOUT]


@pytest.mark.parametrize(
    "change", [{"points": 100}, {"grade": False}, {"schema_version": 1}, {"locked": False}, {"solution": True}]
)
def test_changed_settings_are_the_releases_again(change: dict) -> None:
    work = released()
    work.cells[3].metadata["nbgrader"].update(change)
    assert codes(work) == [("settings_changed", "test_one")]
    assert reconcile(LAYOUT, work).notebook["cells"] == released().cells


def test_an_answer_written_over_a_test_stays_below_it() -> None:
    work = released()
    work.cells[3].source = "def one():\n    return 1"
    found = reconcile(LAYOUT, work)
    assert [(one.code, one.cell) for one in found.findings] == [("rewritten_cell", 4)]
    test, kept = found.notebook["cells"][3:5]
    assert (test["source"], kept["cell_type"], kept["source"]) == ("assert one() == 1", "raw", work.cells[3].source)


def test_blanks_at_the_ends_of_lines_are_no_change() -> None:
    work = released()
    work.cells[3].source += "  \n"
    assert codes(work) == []


def test_cells_of_another_assignment_are_plain_cells() -> None:
    work = released()
    work.cells.append(_marked(new_code_cell, "assert 1", "elsewhere", grade=True, locked=True, points=9))
    assert codes(work) == [("foreign_cell", "elsewhere")]
    assert reconcile(LAYOUT, work).notebook["cells"][-1]["metadata"] == {}


def test_metadata_that_is_nonsense_harms_nothing() -> None:
    work = released()
    work.cells[3].metadata["nbgrader"] = ["?"]
    work.cells[4]["id"] = 7
    assert ("renamed_cell", "test_one") in codes(work)


# --- whatever happens


def _delete(work: NotebookNode, dice: random.Random) -> None:
    if work.cells:
        del work.cells[dice.randrange(len(work.cells))]


def _copy(work: NotebookNode, dice: random.Random) -> None:
    if work.cells:
        made = copy.deepcopy(dice.choice(work.cells))
        made["id"] = f"copy-{dice.randrange(10**9)}"
        made.source += dice.choice(["", "\n# mine"])
        work.cells.insert(dice.randrange(len(work.cells) + 1), made)


def _move(work: NotebookNode, dice: random.Random) -> None:
    if work.cells:
        cell = work.cells.pop(dice.randrange(len(work.cells)))
        work.cells.insert(dice.randrange(len(work.cells) + 1), cell)


def _write(work: NotebookNode, dice: random.Random) -> None:
    if work.cells:
        dice.choice(work.cells).source = f"written {dice.random()}"


def _add(work: NotebookNode, dice: random.Random) -> None:
    made = _plain(
        dice.choice([new_code_cell, new_markdown_cell]), f"added {dice.random()}", f"add-{dice.randrange(10**9)}"
    )
    work.cells.insert(dice.randrange(len(work.cells) + 1), made)


def _retype(work: NotebookNode, dice: random.Random) -> None:
    if work.cells:
        number = dice.randrange(len(work.cells))
        old = work.cells[number]
        kind = dice.choice([new_code_cell, new_markdown_cell])
        work.cells[number] = kind(old.source, metadata=old.metadata, id=old["id"])


def _rename(work: NotebookNode, dice: random.Random) -> None:
    if work.cells:
        meta = dice.choice(work.cells).metadata
        if dice.random() < 0.5:
            meta.pop("nbgrader", None)
        elif "nbgrader" in meta:
            meta["nbgrader"]["grade_id"] = dice.choice(["mine", "test_one", "two"])


def _lose_ids(work: NotebookNode, dice: random.Random) -> None:
    for number, cell in enumerate(work.cells):
        cell["id"] = f"new-{number}-{dice.randrange(10**9)}"


EDITS = (_delete, _copy, _move, _write, _add, _retype, _rename, _lose_ids)


def edited(seed: int) -> NotebookNode:
    dice = random.Random(seed)
    work = released()
    for _ in range(dice.randrange(1, 12)):
        dice.choice(EDITS)(work, dice)
    return work


@pytest.mark.parametrize("seed", range(300))
def test_whatever_was_done_to_it(seed: int) -> None:
    work = edited(seed)
    before = copy.deepcopy(work)
    found = reconcile(LAYOUT, work)
    healed = nbformat.from_dict(found.notebook)
    assert work == before, "the student's notebook is an input"
    # Nothing that was written is dropped, however often it was there.
    theirs, kept = (Counter(cell.source for cell in one.cells if cell.source.strip()) for one in (work, healed))
    released_texts = {entry.get("source") for entry in LAYOUT}
    assert not {text: n for text, n in (theirs - kept).items() if text not in released_texts}
    # Every graded cell is there once, in the release's order, with the release's type, settings and fixed text.
    names = [grade_id_of(cell) for cell in healed.cells if grade_id_of(cell)]
    assert names == [entry["grade_id"] for entry in LAYOUT if entry["grade_id"]]
    for cell in healed.cells:
        entry = next((e for e in LAYOUT if e["grade_id"] == grade_id_of(cell)), None) if grade_id_of(cell) else None
        if entry:
            assert (cell.cell_type, cell.metadata["nbgrader"]) == (entry["cell_type"], entry["metadata"]["nbgrader"])
            assert not entry["metadata"]["nbgrader"]["locked"] or cell.source == entry["source"]
    # It is a valid notebook, and there is nothing left to find.
    nbformat.validate(healed)
    assert len({cell["id"] for cell in healed.cells}) == len(healed.cells)
    assert reconcile(LAYOUT, healed).findings == ()


def test_the_heaviest_increasing_subsequence_is_what_trying_all_of_them_finds() -> None:
    dice = random.Random(1)
    for _ in range(100):
        numbers = dice.sample(range(20), dice.randrange(1, 8))
        weights = [dice.randrange(1, 9) for _ in numbers]
        found = heaviest_increasing(numbers, weights)
        chosen = [n for n in numbers if n in found]
        assert chosen == sorted(chosen)
        best = max(
            sum(weights[i] for i in picked)
            for size in range(len(numbers) + 1)
            for picked in combinations(range(len(numbers)), size)
            if [numbers[i] for i in picked] == sorted(numbers[i] for i in picked)
        )
        assert sum(weights[numbers.index(n)] for n in found) == best
