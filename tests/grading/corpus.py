"""Submissions to nbgrader's quickstart assignment and to a second one of our own, made by code from the releases."""

from __future__ import annotations

import copy
from collections.abc import Callable
from importlib import resources

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

Files = dict[str, bytes]

SQUARES = """def squares(n):
    if n < 1:
        raise ValueError("n must be greater than or equal to 1")
    return [i ** 2 for i in range(1, n + 1)]
"""
SUM = "def sum_of_squares(n):\n    return sum(squares(n))\n"
RIGHT = {"squares": SQUARES, "sum_of_squares": SUM}
WRITTEN = {"sum_of_squares_equation": "$\\sum i^2$", "sum_of_squares_application": "def f(n):\n    return squares(n)"}


def parse(data: bytes) -> NotebookNode:
    return nbformat.reads(data.decode(), as_version=4)


def dump(notebook: NotebookNode) -> bytes:
    return nbformat.writes(notebook).encode()


def cell(notebook: NotebookNode, grade_id: str) -> NotebookNode:
    return next(c for c in notebook.cells if c.metadata.get("nbgrader", {}).get("grade_id") == grade_id)


def answered(release: Files, answers: dict[str, str]) -> Files:
    """The release with the sources of some cells replaced, in whichever notebook they are."""
    made = dict(release)
    for path in [p for p in release if p.endswith(".ipynb")]:
        notebook = parse(release[path])
        for c in notebook.cells:
            grade_id = c.metadata.get("nbgrader", {}).get("grade_id")
            if grade_id in answers:
                c.source = answers[grade_id]
        made[path] = dump(notebook)
    return made


def edited(release: Files, answers: dict[str, str], edit: Callable[[NotebookNode], object]) -> Files:
    return edited_path(answered(release, answers), "problem1.ipynb", edit)


def edited_path(files: Files, path: str, edit: Callable[[NotebookNode], object]) -> Files:
    notebook = parse(files[path])
    edit(notebook)
    return {**files, path: dump(nbformat.from_dict(notebook))}


def _tamper(notebook: NotebookNode) -> None:
    cell(notebook, "correct_squares").source = "assert True"
    cell(notebook, "squares_invalid_input").metadata["nbgrader"]["points"] = 100
    cell(notebook, "correct_sum_of_squares").metadata["nbgrader"]["locked"] = False


def _delete(notebook: NotebookNode) -> None:
    notebook.cells.remove(cell(notebook, "correct_squares"))


def _duplicate(notebook: NotebookNode) -> None:
    copied = copy.deepcopy(cell(notebook, "correct_squares"))
    copied.pop("id", None)
    notebook.cells.append(copied)


def _old_schema(notebook: NotebookNode) -> None:
    cell(notebook, "correct_squares").metadata["nbgrader"]["schema_version"] = 1


def _skip_tag(notebook: NotebookNode) -> None:
    cell(notebook, "correct_squares").metadata["tags"] = ["skip-execution"]


def _exit_at_the_end(notebook: NotebookNode) -> None:
    notebook.cells.append(new_code_cell("exit()"))
    notebook.cells[-1].pop("id", None)


def _extra_cells(notebook: NotebookNode) -> None:
    for source in ("import math\nmath.pi", "1/0", "print('a' * 10)"):
        notebook.cells.insert(3, new_code_cell(source))
        notebook.cells[3].pop("id", None)


def _grade_flag_removed(notebook: NotebookNode) -> None:
    cell(notebook, "correct_squares").metadata["nbgrader"]["grade"] = False


def _unknown_id(notebook: NotebookNode) -> None:
    cell(notebook, "correct_squares").metadata["nbgrader"]["grade_id"] = "my_own"


def ps1(release: Files) -> dict[str, Files]:
    """Student → what they handed in. None of these stops nbgrader's whole run."""
    right = answered(release, {**RIGHT, **WRITTEN})
    stderr = "import sys\n" + SQUARES.replace("    if n", "    print('warn', file=sys.stderr)\n    if n", 1)
    wrong = SQUARES.replace("** 2", "* 2")
    hack = "class Everything(list):\n    def __eq__(self, other):\n        return True\n    __hash__ = None\n"
    hack += "def squares(n):\n    return Everything()\n"
    return {
        "s01_right": right,
        "s02_right_otherwise": answered(
            release, {**RIGHT, "squares": SQUARES.replace("i ** 2", "i * i"), "part-a": "Fibonacci."}
        ),
        "s03_wrong": answered(release, {"squares": wrong, "sum_of_squares": "def sum_of_squares(n):\n    return 1"}),
        "s04_partly_wrong": answered(release, {"squares": SQUARES.replace("ValueError", "TypeError"), **WRITTEN}),
        "s05_blank": dict(release),
        "s06_late": {**right, "timestamp.txt": b"2037-01-01 00:00:00 UTC\n"},
        "s07_tampered": edited(release, {"squares": wrong}, _tamper),
        "s08_infinite_loop": answered(
            release, {**RIGHT, "squares": SQUARES.replace("    return", "    while n == 11: pass\n    return")}
        ),
        "s09_stderr": answered(release, {**RIGHT, "squares": stderr}),
        "s10_deleted_test": edited(release, RIGHT, _delete),
        "s12_only_renamed": {"my answer.ipynb": right["problem1.ipynb"], "jupyter.png": right["jupyter.png"]},
        "s13_one_missing": {k: v for k, v in right.items() if k != "problem2.ipynb"},
        "s14_bitdiddle": answered(release, {"squares": SQUARES.replace("n < 1", "n < 0"), "part-a": "A function."}),
        "s15_hacker": answered(release, {"squares": hack, "sum_of_squares": "def sum_of_squares(n):\n    return 385"}),
        "s16_exit": edited(release, RIGHT, _exit_at_the_end),
        "s17_extra_cells": edited(release, {**RIGHT, **WRITTEN}, _extra_cells),
        "s18_not_json": {**right, "problem2.ipynb": b"{ this is not JSON"},
        "s19_flag_removed": edited(release, RIGHT, _grade_flag_removed),
        "s20_unknown_id": edited(release, RIGHT, _unknown_id),
        "s21_dead_kernel": answered(release, {"squares": "import os\nos._exit(1)"}),
        "s22_own_files": {**right, "helper.py": b"x = 1\n", "sub/data.csv": b"1,2\n", "jupyter.png": b"mine"},
        "s23_syntax_warning": answered(release, {**RIGHT, "squares": SQUARES + "assert (1 is 1)\n"}),
        "s25_more_notebooks": {**right, "draft.ipynb": right["problem1.ipynb"], "old/problem1.ipynb": b"{ not JSON"},
        "s26_skip_tag": edited(release, {"squares": wrong}, _skip_tag),
    }


def stopping(release: Files) -> dict[str, Files]:
    """What makes `nbgrader autograde` give up on everybody."""
    return {
        "s11_duplicate": edited(release, RIGHT, _duplicate),
        "s24_old_schema": edited(release, RIGHT, _old_schema),
    }


def _grader(kind: dict[str, bool], grade_id: str, points: float | None = None) -> dict[str, object]:
    made: dict[str, object] = {"grade": False, "solution": False, "locked": False, "task": False, **kind}
    made |= {"grade_id": grade_id, "schema_version": 3}
    return made if points is None else {**made, "points": points}


def _code(source: str, **meta: object) -> NotebookNode:
    return new_code_cell(source, metadata=meta)


def ps2_source() -> Files:
    """Partial credit, hidden tests, a tenth of a point, a test without points, history, a file between notebooks."""
    solution, tests = {"solution": True}, {"grade": True, "locked": True}
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    first = [
        new_markdown_cell("Return your score.", metadata={"nbgrader": _grader({"locked": True}, "intro")}),
        _code("### BEGIN SOLUTION\nanswer = 2\n### END SOLUTION", nbgrader=_grader(solution, "answer")),
        _code("answer if answer else 0", nbgrader=_grader(tests, "partial", 3)),
        _code(
            "assert answer\n### BEGIN HIDDEN TESTS\nassert answer != 99, 'hidden'\n### END HIDDEN TESTS",
            nbgrader=_grader(tests, "hidden", 0.1),
        ),
        _code("assert 'answer' in In[-2]", nbgrader=_grader(tests, "history", 1)),
        _code("assert answer == 2", nbgrader=_grader(tests, "no_points", 0)),
        _code("", nbgrader=_grader(tests, "empty", 1)),
        _code("import os\nassert os.environ['NBGRADER_EXECUTION'] == 'autograde'", nbgrader=_grader(tests, "env", 1)),
        _code("open('between.txt', 'w').write(str(answer))\nNone"),
        _code("raise RuntimeError('not executed')", tags=["skip-execution"]),
    ]
    second = [
        _code("text = open('between.txt').read()", nbgrader=_grader({"locked": True}, "reads")),
        _code("assert text == '2' and open('given.txt').read() == 'given'", nbgrader=_grader(tests, "same_folder", 2)),
        new_markdown_cell(
            "Prove it.\n### BEGIN MARK SCHEME\nsecret\n### END MARK SCHEME",
            metadata={"nbgrader": _grader({"task": True, "locked": True}, "task", 4)},
        ),
    ]
    return {
        "a.ipynb": dump(new_notebook(cells=first, metadata=kernel)),
        "b.ipynb": dump(new_notebook(cells=second, metadata=kernel)),
        "given.txt": b"given",
    }


def ps2(release: Files) -> dict[str, Files]:
    def answer(value: str) -> Files:
        return answered(release, {"answer": value})

    return {
        "t01_right": answer("answer = 2"),
        "t02_partial": answer("answer = 1.25"),
        "t03_too_many_points": answer("answer = 4"),
        "t04_negative": answer("answer = -1"),
        "t05_hidden_test": answer("class N(int):\n    def __repr__(self):\n        return '1'\nanswer = N(99)"),
        "t06_text": answer("answer = 'two'"),
        "t07_blank": dict(release),
        "t08_own_file": {**answer("answer = 2"), "given.txt": b"mine", "between.txt": b"mine"},
        "t09_list": answer("answer = [1]"),
        "t10_no_first": {k: v for k, v in answer("answer = 2").items() if k != "a.ipynb"},
    }


def upstream(name: str) -> bytes:
    """One of nbgrader's own test notebooks, out of the installed package."""
    folder = resources.files("nbgrader.tests")
    for part in ("apps", "preprocessors"):
        path = folder.joinpath(part, "files", name)
        if path.is_file():
            return path.read_bytes()
    raise FileNotFoundError(name)


#: nbgrader's own notebooks for which its tests assert no score.
PS3 = (
    "test.ipynb",
    "test_taskcell.ipynb",
    "manually-graded-code-cell.ipynb",
    "open_relative_file.ipynb",
    "side-effects.ipynb",
    "validation-zero-points.ipynb",
)


def ps3_source() -> Files:
    return {name.replace("-", "_"): upstream(name) for name in PS3} | {"data.txt": upstream("data.txt")}


def ps3(release: Files) -> dict[str, Files]:
    source = ps3_source()
    with_output = {**source, "test.ipynb": upstream("test-with-output.ipynb")}
    return {"u01_release": dict(release), "u02_solution": source, "u03_with_output": with_output}


def ps4_source() -> Files:
    """nbgrader's notebooks whose tests it writes itself: plain, hashed, many in a cell, hidden."""
    return {f"{kind}.ipynb": upstream(f"autotest-{kind}.ipynb") for kind in ("simple", "hashed", "multi", "hidden")}


def ps4(release: Files) -> dict[str, Files]:
    def those(**kinds: str) -> Files:
        return {f"{kind}.ipynb": upstream(f"autotest-{kind}-{state}.ipynb") for kind, state in kinds.items()}

    return {
        "v01_release": dict(release),
        "v02_unchanged": those(simple="unchanged", hashed="unchanged", multi="unchanged", hidden="unchanged"),
        "v03_changed": those(simple="changed", hashed="changed", multi="changed", hidden="changed-right"),
        "v04_hidden_wrong": those(simple="changed", hidden="changed-wrong"),
        "v05_solution": ps4_source(),
    }


def ps5_source() -> Files:
    return {"p1.ipynb": upstream("submitted-unchanged.ipynb")}


def ps5(release: Files) -> dict[str, Files]:
    """What nbgrader's tests hand in for one notebook; in the last two a cell has another type, and nbgrader fails."""
    students = PS5_STUDENTS.split()
    return {student: {"p1.ipynb": upstream(f"submitted-{student[4:].replace('_', '-')}.ipynb")} for student in students}


#: More of nbgrader's own notebooks: hidden tests, its variable, endless loop and recursion, long output, a warning.
PS6 = (
    "test-hidden-tests.ipynb",
    "validating-environment-variable.ipynb",
    "infinite-loop-with-output.ipynb",
    "infinite-recursion.ipynb",
    "long-output.ipynb",
    "warning-pattern.ipynb",
)


def ps6_source() -> Files:
    files = {name.replace("-", "_"): upstream(name) for name in PS6}
    # The loop grows a list as fast as it can: whether the memory or the time of a machine ends first decides what
    # nbgrader's command line makes of it. At a pace, it is the time everywhere.
    name = "infinite_loop_with_output.ipynb"
    paced = files[name].replace(b"    x.append(1)", b"    x.append(__import__('time').sleep(0.001))")
    assert paced != files[name]
    return {**files, name: paced}


def ps6(release: Files) -> dict[str, Files]:
    return {"x01_release": dict(release), "x02_solution": ps6_source()}


PS1_STUDENTS = """
    s01_right s02_right_otherwise s03_wrong s04_partly_wrong s05_blank s06_late s07_tampered s08_infinite_loop
    s09_stderr s10_deleted_test s11_duplicate s12_only_renamed s13_one_missing s14_bitdiddle s15_hacker s16_exit
    s17_extra_cells s18_not_json s19_flag_removed s20_unknown_id s21_dead_kernel s22_own_files s23_syntax_warning
    s24_old_schema s25_more_notebooks s26_skip_tag
"""
PS2_STUDENTS = """
    t01_right t02_partial t03_too_many_points t04_negative t05_hidden_test t06_text t07_blank t08_own_file t09_list
    t10_no_first
"""
PS3_STUDENTS = "u01_release u02_solution u03_with_output"
PS4_STUDENTS = "v01_release v02_unchanged v03_changed v04_hidden_wrong v05_solution"
PS5_STUDENTS = """
    w01_unchanged w02_changed w03_cheat_attempt w04_cheat_attempt_alternative w05_grade_cell_changed
    w06_locked_cell_changed w07_answer_cell_type_changed w08_grade_cell_type_changed
"""
PS6_STUDENTS = "x01_release x02_solution"
STUDENTS = {
    "ps1": PS1_STUDENTS,
    "ps2": PS2_STUDENTS,
    "ps3": PS3_STUDENTS,
    "ps4": PS4_STUDENTS,
    "ps5": PS5_STUDENTS,
    "ps6": PS6_STUDENTS,
}
EVERYBODY = [(assignment, student) for assignment, students in STUDENTS.items() for student in students.split()]
#: Source files of the assignments beside quickstart's ps1.
SOURCES: dict[str, Callable[[], Files]] = {
    "ps2": ps2_source,
    "ps3": ps3_source,
    "ps4": ps4_source,
    "ps5": ps5_source,
    "ps6": ps6_source,
}
#: Who hands in what, made from the released files.
SUBMITTED: dict[str, Callable[[Files], dict[str, Files]]] = {
    "ps1": ps1,
    "ps2": ps2,
    "ps3": ps3,
    "ps4": ps4,
    "ps5": ps5,
    "ps6": ps6,
}
#: What is not nbgrader's score on purpose, in strict mode as well: (assignment, student) → its row → theirs and ours.
#: A tag keeps a test from running there, and gives all its points. There is no other exception.
EXCEPTIONS = {("ps1", "s26_skip_tag"): {("problem1", "correct_squares", "grade"): ((1.0, False), (0.0, False))}}
#: The course's footer, added to every notebook; its header comes with the quickstart course.
FOOTER = dump(new_notebook(cells=[_code("footer = True"), new_markdown_cell("The end.")]))


def slow(notebook: bytes) -> bytes:
    """A solution that takes as long as a cell may, but not longer: time to kill somebody."""
    made = parse(notebook)
    for grade_id, source in RIGHT.items():
        cell(made, grade_id).source = source
    made.cells.append(new_code_cell("import time\nfor _ in range(30):\n    time.sleep(0.1)"))
    made.cells[-1].pop("id", None)
    return dump(made)
