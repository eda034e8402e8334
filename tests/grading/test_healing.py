"""The default mode grades what nbgrader refuses or zeroes, and says where it differs; strict mode does as nbgrader."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from grading import engine
from grading.engine import Graded, Settings, Spec, doubles, likest
from grading.explain import NOTES, SUSPICIONS, explain
from tests.grading.corpus import Files, answered, cell, dump, edited_path
from tests.grading.course_of_one import PYTHON
from tests.grading.plain_sandbox import PlainSandboxes

_BASE = {"grade": False, "solution": False, "locked": False, "task": False, "schema_version": 3}
STRICT = Settings()
DEFAULT = Settings(heal=True, warnings_cost=False)


def _code(source: str, grade_id: str, **flags: object) -> NotebookNode:
    return new_code_cell(source, metadata={"nbgrader": {**_BASE, **flags, "grade_id": grade_id}})


TESTS = {"grade": True, "locked": True}
SOURCE = new_notebook(
    metadata=PYTHON,
    cells=[
        _code("### BEGIN SOLUTION\none = 1\n### END SOLUTION", "one", solution=True),
        _code("assert one == 1\n### BEGIN HIDDEN TESTS\nassert one != 7\n### END HIDDEN TESTS", "a", **TESTS, points=1),
        _code("### BEGIN SOLUTION\ntwo = 2\n### END SOLUTION", "two", solution=True),
        _code("assert two == 2", "b", **TESTS, points=2),
        new_markdown_cell(
            "Because.",
            metadata={"nbgrader": {**_BASE, "grade": True, "solution": True, "grade_id": "why", "points": 4}},
        ),
    ],
)
GENERATED = engine.generate({"p.ipynb": dump(SOURCE)}, STRICT)
RELEASE = dict(GENERATED.student_files)
RIGHT = {"one": "one = 1", "two": "two = 2", "why": "Since."}


def spec(settings: Settings) -> Spec:
    assert GENERATED.publishable, GENERATED.problems
    return Spec({"p": GENERATED.notebooks[0]}, {}, settings)


def work(edit: Callable[[NotebookNode], object] | None = None, **answers: str) -> Files:
    files = answered(RELEASE, {**RIGHT, **answers})
    return edited_path(files, "p.ipynb", edit) if edit else files


def scores(graded: Graded) -> dict[str, object]:
    return {one.grade_id: one.auto_score for one in graded.cells if one.graded}


def notes(graded: Graded) -> list[tuple[str, str]]:
    return [(note["code"], note.get("grade_id", "")) for book in graded.notebooks for note in book.notes]


def _delete(notebook: NotebookNode) -> None:
    notebook.cells.remove(cell(notebook, "a"))


def _copy(notebook: NotebookNode) -> None:
    made = copy.deepcopy(cell(notebook, "a"))
    made["id"] = "copied"
    notebook.cells.append(made)


def _move(notebook: NotebookNode) -> None:
    notebook.cells.insert(0, notebook.cells.pop(notebook.cells.index(cell(notebook, "a"))))


def _retype(notebook: NotebookNode) -> None:
    old = cell(notebook, "one")
    made = new_markdown_cell(old.source, metadata=old.metadata, id=old["id"])
    notebook.cells[notebook.cells.index(old)] = made


def _rename(notebook: NotebookNode) -> None:
    cell(notebook, "a").metadata["nbgrader"]["grade_id"] = "mine"


def _flag(notebook: NotebookNode) -> None:
    cell(notebook, "a").metadata["nbgrader"]["grade"] = False


def _schema(notebook: NotebookNode) -> None:
    cell(notebook, "a").metadata["nbgrader"]["schema_version"] = 1


def _rewrite(notebook: NotebookNode) -> None:
    cell(notebook, "a").source = "assert True"


def _foreign(notebook: NotebookNode) -> None:
    notebook.cells.append(_code("assert True", "elsewhere", **TESTS, points=9))


ACCIDENTS = {
    "deleted": (_delete, ("missing_cell", "a")),
    "copied": (_copy, ("copied_cell", "a")),
    "moved": (_move, ("moved_cell", "a")),
    "retyped": (_retype, ("retyped_cell", "one")),
    "renamed": (_rename, ("renamed_cell", "a")),
    "without its flag": (_flag, ("settings_changed", "a")),
    "of another schema": (_schema, ("settings_changed", "a")),
    "rewritten": (_rewrite, ("rewritten_cell", "a")),
    "from elsewhere": (_foreign, ("foreign_cell", "elsewhere")),
}


@pytest.mark.parametrize("accident", ACCIDENTS)
async def test_a_right_answer_keeps_its_points_and_the_report_says_what_was_put_right(
    accident: str, plain: PlainSandboxes
) -> None:
    edit, note = ACCIDENTS[accident]
    graded = await engine.grade(spec(DEFAULT), work(edit), plain)
    assert graded.failures == ()
    assert scores(graded) == {"a": 1, "b": 2, "why": None}
    assert notes(graded) == [note]
    assert explain(NOTES, graded.notebooks[0].notes[0]).count("%") == 0


#: What nbgrader makes of the accidents, and the words for it in the report.
NBGRADERS = {
    "deleted": ({"a": None, "b": 2, "why": None}, "would have left it without a score"),
    "copied": (None, "would have refused the notebook"),
    "moved": ({"a": 0, "b": 2, "why": None}, "would have run it there"),
    "retyped": ({"a": 1, "b": 2, "why": None}, "nbgrader does that too, but refuses the notebook where its format is"),
    "renamed": (None, "would have refused the notebook, or left the cell without a score"),
    "without its flag": (None, "refuses the notebook where a test's own flags or its version were changed"),
    "of another schema": (None, "refuses the notebook where a test's own flags or its version were changed"),
    "rewritten": ({"a": 1, "b": 2, "why": None}, "nbgrader puts it back, too, and keeps nothing"),
    "from elsewhere": (None, "would have refused the notebook"),
}


@pytest.mark.parametrize("accident", ACCIDENTS)
async def test_the_report_says_what_nbgrader_would_have_done(accident: str, plain: PlainSandboxes) -> None:
    nbgraders, words = NBGRADERS[accident]
    edit, (code, grade_id) = ACCIDENTS[accident]
    assert words in explain(NOTES, {"code": code, "grade_id": grade_id, "cell": 1, "kind": "tests"})
    strict = await engine.grade(spec(STRICT), work(edit), plain)
    assert bool(strict.failures) == (nbgraders is None)
    assert nbgraders is None or scores(strict) == nbgraders


@pytest.mark.parametrize("minor", [4, 5])
async def test_a_retyped_cell_is_refused_by_nbgrader_in_an_older_format_only(minor: int, plain: PlainSandboxes) -> None:
    def older(notebook: NotebookNode) -> None:
        _retype(notebook)
        notebook.nbformat_minor = minor
        for one in notebook.cells if minor < 5 else ():
            one.pop("id", None)

    strict = await engine.grade(spec(STRICT), work(older), plain)
    assert bool(strict.failures) == (minor < 5)
    assert scores(await engine.grade(spec(DEFAULT), work(older), plain)) == {"a": 1, "b": 2, "why": None}


def test_every_note_about_something_that_was_put_right_names_nbgrader() -> None:
    elsewhere = SUSPICIONS | {"imported"}
    assert [code for code, text in NOTES.items() if code not in elsewhere and "nbgrader" not in str(text)] == []


@pytest.mark.parametrize("accident", ["copied", "renamed", "without its flag", "of another schema"])
async def test_strict_mode_refuses_what_nbgrader_refuses(accident: str, plain: PlainSandboxes) -> None:
    graded = await engine.grade(spec(STRICT), work(ACCIDENTS[accident][0]), plain)
    assert graded.failures
    assert notes(graded) == []


async def test_strict_mode_leaves_a_deleted_test_to_a_person(plain: PlainSandboxes) -> None:
    graded = await engine.grade(spec(STRICT), work(_delete), plain)
    assert scores(graded)["a"] is None
    assert next(one for one in graded.cells if one.grade_id == "a").needs_manual_grade


async def test_a_test_that_was_put_back_is_the_whole_test(plain: PlainSandboxes) -> None:
    graded = await engine.grade(spec(DEFAULT), work(_delete, one="class N(int):\n    pass\none = N(7)"), plain)
    assert scores(graded)["a"] == 0


WARNS = "import sys\none = 1\nclass Loud(int):\n    def __eq__(self, other):\n        print('old', file=sys.stderr)\n"
WARNS += "        return int(self) == other\none = Loud(1)"


async def test_a_warning_costs_nothing_and_the_report_says_that_nbgrader_would_have_given_zero(
    plain: PlainSandboxes,
) -> None:
    strict = await engine.grade(spec(STRICT), work(one=WARNS), plain)
    default = await engine.grade(spec(DEFAULT), work(one=WARNS), plain)
    assert (scores(strict)["a"], scores(default)["a"]) == (0, 1)
    assert (notes(strict), notes(default)) == ([], [("warning_forgiven", "a")])
    assert "would have given 0" in explain(NOTES, default.notebooks[0].notes[0])
    assert next(one for one in default.cells if one.grade_id == "a").failed_tests == ""
    assert next(one for one in strict.cells if one.grade_id == "a").failed_tests


async def test_a_warning_does_not_save_a_wrong_answer(plain: PlainSandboxes) -> None:
    wrong = WARNS.replace("Loud(1)", "Loud(3)")
    graded = await engine.grade(spec(DEFAULT), work(one=wrong), plain)
    assert scores(graded)["a"] == 0
    assert "AssertionError" in next(one for one in graded.cells if one.grade_id == "a").failed_tests
    assert notes(graded) == []


async def test_each_choice_stands_alone(plain: PlainSandboxes) -> None:
    only_healed = replace(DEFAULT, warnings_cost=True)
    graded = await engine.grade(spec(only_healed), work(_delete, one=WARNS), plain)
    assert (scores(graded)["a"], notes(graded)) == (0, [("missing_cell", "a")])


async def test_a_renamed_notebook_is_recognised_by_its_cells(plain: PlainSandboxes) -> None:
    files = {"my answer.ipynb": work()["p.ipynb"], "notes.ipynb": dump(new_notebook())}
    default = await engine.grade(spec(DEFAULT), files, plain)
    assert scores(default) == {"a": 1, "b": 2, "why": None}
    assert default.notebooks[0].notes[0] == {"code": "renamed_notebook", "cell": 0, "path": "my answer.ipynb"}
    strict = await engine.grade(spec(STRICT), files, plain)
    assert [failure.code for failure in strict.failures] == ["no_notebook"]


async def test_a_notebook_in_a_folder_is_recognised_by_its_cells(plain: PlainSandboxes) -> None:
    files = {"sub/p.ipynb": work()["p.ipynb"], ".ipynb_checkpoints/p.ipynb": work(one="one = 0")["p.ipynb"]}
    default = await engine.grade(spec(DEFAULT), files, plain)
    assert scores(default) == {"a": 1, "b": 2, "why": None}
    assert default.notebooks[0].notes == ({"code": "moved_notebook", "cell": 0, "path": "sub/p.ipynb"},)
    assert "in a folder" in explain(NOTES, default.notebooks[0].notes[0])
    strict = await engine.grade(spec(STRICT), files, plain)
    assert [failure.code for failure in strict.failures] == ["no_notebook"]


COPY = "p-Copy1.ipynb"


@pytest.mark.parametrize("settings", [STRICT, DEFAULT], ids=["strict", "default"])
async def test_answers_in_a_copy_are_not_scored_and_whoever_marks_is_told(
    settings: Settings, plain: PlainSandboxes
) -> None:
    files = {"p.ipynb": RELEASE["p.ipynb"], COPY: work()["p.ipynb"]}
    graded = await engine.grade(spec(settings), files, plain)
    assert scores(graded) == {"a": 0, "b": 0, "why": 0}
    [note] = graded.notebooks[0].notes
    assert (note["code"], note["copy"], note["grade_ids"]) == ("answers_elsewhere", COPY, ["one", "two", "why"])
    assert note["code"] in SUSPICIONS
    assert "Look at the copy" in explain(NOTES, note)


async def test_a_copy_is_told_of_where_the_graded_file_cannot_be_read(plain: PlainSandboxes) -> None:
    graded = await engine.grade(spec(DEFAULT), {"p.ipynb": b"{", COPY: work()["p.ipynb"]}, plain)
    assert [failure.code for failure in graded.failures] == ["not_json"]
    assert [note["code"] for note in graded.notebooks[0].notes] == ["answers_elsewhere"]


async def test_a_copy_with_the_same_answers_is_nothing_to_tell_and_one_with_others_is(plain: PlainSandboxes) -> None:
    files = work() | {COPY: work()["p.ipynb"], "p-Copy2.ipynb": RELEASE["p.ipynb"], "own.ipynb": dump(new_notebook())}
    assert notes(await engine.grade(spec(DEFAULT), files, plain)) == []
    graded = await engine.grade(spec(DEFAULT), files | {COPY: work(two="two = 3")["p.ipynb"]}, plain)
    [note] = graded.notebooks[0].notes
    assert (note["code"], note["grade_ids"]) == ("other_answers", ["two"])
    assert note["code"] not in SUSPICIONS
    assert "the copy was not" in explain(NOTES, note)


def test_of_files_that_are_as_like_the_one_with_the_name_is_taken() -> None:
    def equal(path: str, other: str) -> float:
        return 1.0

    assert likest(["a.ipynb"], ["0.ipynb", "a-Copy1.ipynb", "old/a.ipynb"], equal) == {"a.ipynb": "old/a.ipynb"}
    assert doubles(["p.ipynb", "p1.ipynb"], ["p1-Copy1.ipynb", "mine.ipynb"], equal) == {"p1-Copy1.ipynb": "p1.ipynb"}


async def test_a_notebook_that_is_only_a_little_like_it_is_not_taken_for_it(plain: PlainSandboxes) -> None:
    one = new_notebook(cells=[_code("one = 1", "one", solution=True)])
    graded = await engine.grade(spec(DEFAULT), {"other.ipynb": dump(one)}, plain)
    assert [failure.code for failure in graded.failures] == ["no_notebook"]


async def test_honest_work_scores_the_same_in_both_modes_and_nothing_is_noted(plain: PlainSandboxes) -> None:
    for answers in ({}, {"one": "one = 2"}, {"two": "two = 1/0"}):
        both = [await engine.grade(spec(settings), work(**answers), plain) for settings in (STRICT, DEFAULT)]
        assert both[0].cells == both[1].cells
        assert notes(both[1]) == []


async def test_what_the_teacher_changed_since_is_no_change_of_the_students(plain: PlainSandboxes) -> None:
    newer = copy.deepcopy(SOURCE)
    cell(newer, "b").source = "assert two in (2, 3)"
    made = engine.generate({"p.ipynb": dump(newer)}, STRICT)
    given = {"p": GENERATED.notebooks[0].cells["layout"]}
    graded = await engine.grade(Spec({"p": made.notebooks[0]}, {}, DEFAULT, given), work(_delete, two="two = 3"), plain)
    assert scores(graded) == {"a": 1, "b": 2, "why": None}
    assert notes(graded) == [("missing_cell", "a")]
    assert b'"raw"' not in (graded.notebooks[0].content or b"")
