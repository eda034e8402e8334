"""Attacks that give full marks, or worse, with the stock command line: each has the opposite result here.

Those about scores are tried here, on the engine; `test_every_attack.py` names the test of each line of our survey of
nbgrader's security.
"""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_output

from grading import engine, explain
from grading.engine import Graded, Limits, Settings, Spec
from grading.engine.watch import odd_credit
from tests.grading.corpus import Files, answered, cell, dump, edited_path
from tests.grading.plain_sandbox import PlainSandboxes
from tests.grading.test_healing import DEFAULT, SOURCE, STRICT, notes, scores, spec, work

WRONG = "one = 0"

REPLACED_RUN = """
ip = get_ipython()
async def run_code(self, code, result=None, *, async_=False):
    return False
ip.run_code = run_code.__get__(ip)
ip.showtraceback = lambda *args, **more: None
"""
TRANSFORM = "get_ipython().input_transformers_post.append(lambda lines: [])"
EQUAL = """
class Any:
    def __eq__(self, other):
        return True
    def __repr__(self):
        return '-1'
one = Any()
"""
#: attack → (the student's answer, what is flagged, a word of the evidence). None gets points unseen.
REPLACEMENTS = {
    "replacing ip.run_code and showtraceback": (REPLACED_RUN, "kernel_changed", "ip.run_code"),
    "input_transformers_post that empties later cells": (TRANSFORM, "kernel_changed", "ip.input_transformers_post"),
    "an object that is equal to everything": (EQUAL, "equal_to_anything", "Any"),
    "replacing builtins": ("import builtins\nbuiltins.sum = lambda x: 1\n" + WRONG, "kernel_changed", "builtins.sum"),
    "replacing an assertion helper": (
        "import unittest\nunittest.TestCase.assertEqual = lambda *a: None\n" + WRONG,
        "kernel_changed",
        "unittest.case.TestCase.assertEqual",
    ),
    "another code in a method of the shell": (
        "def quiet(self, *args, **more):\n    pass\ntype(get_ipython()).showtraceback.__code__ = quiet.__code__\n"
        + WRONG,
        "kernel_changed",
        "ip.showtraceback",
    ),
    "an AST transformer that removes asserts": (
        "import ast\nclass Drop(ast.NodeTransformer):\n    def visit_Assert(self, node):\n        return None\n"
        "get_ipython().ast_transformers.append(Drop())\n" + WRONG,
        "kernel_changed",
        "ip.ast_transformers",
    ),
    "a hook before every cell": (
        "def hook(*args):\n    pass\nget_ipython().events.register('pre_run_cell', hook)\n" + WRONG,
        "kernel_changed",
        "ip.events.pre_run_cell",
    ),
    "replacing the kernel's do_execute": (
        "kernel = get_ipython().kernel\nold = kernel.do_execute\nkernel.do_execute = lambda *a, **m: old(*a, **m)\n"
        + WRONG,
        "kernel_changed",
        "kernel.do_execute",
    ),
}


def evidence(graded: Graded) -> dict[str, list[str]]:
    return {note["code"]: note["names"] for book in graded.notebooks for note in book.notes if "names" in note}


@pytest.mark.parametrize("settings", [STRICT, DEFAULT], ids=["strict", "default"])
@pytest.mark.parametrize("attack", REPLACEMENTS)
async def test_what_was_replaced_is_flagged_with_the_evidence(
    attack: str, settings: Settings, plain: PlainSandboxes
) -> None:
    answer, code, word = REPLACEMENTS[attack]
    graded = await engine.grade(spec(settings), work(one=answer), plain)
    assert word in evidence(graded)[code]
    assert code in explain.SUSPICIONS
    shown = explain.explain(explain.NOTES, next(n for n in graded.notebooks[0].notes if n["code"] == code))
    assert word in shown


EQUALITIES = """
import unittest.mock
from unittest.mock import ANY
one = ANY
nested = [[ANY], 1]
def gives(): return unittest.mock.ANY
def keeps(_kept=ANY): return _kept
class Needs:
    def __new__(cls, needed): return object.__new__(cls)
    def __eq__(self, other): return True
class Whole:
    def __eq__(self, other): return isinstance(other, int)
class Text(str):
    def __eq__(self, other): return isinstance(other, str)
class Meta(type):
    def __eq__(cls, other): return True
    __hash__ = type.__hash__
class Made(metaclass=Meta): pass
class Says:
    def __eq__(self, other): return 1
"""
EQUAL_TO = ["ANY", "Made", "Needs", "Says", "Text (str)", "Whole (int)", "gives", "keeps", "nested", "one"]
HONEST_EQUALITIES = """
import numpy as np, pandas as pd
from unittest.mock import MagicMock
row, table = np.arange(3), pd.DataFrame({'a': [1]})
both = [row, table, table.a, table.index, pd.NA, pd.Timestamp(0), np.ma.masked, float('nan')]
class Table(pd.DataFrame): pass
own = Table({'a': [1]})
class Mod:
    def __init__(self, n): self.n = n % 3
    def __eq__(self, other): return (other - self.n) % 3 == 0
twos = [Mod(2), Mod(3)]
class Tree:
    def __init__(self, *leaves): self.leaves = leaves
    def __eq__(self, other): return isinstance(other, Tree) and self.leaves == other.leaves
trees = {'a': Tree(), 'b': Tree(Tree())}
class Unwritten:
    def __eq__(self, other): pass
class Symbol:
    # As sympy has it.
    def __eq__(self, other): return NotImplemented
class Column:
    # As sqlalchemy has it: == makes a condition.
    def __eq__(self, other): return np.array([True, True])
made, unwritten, x, column, one = MagicMock(), Unwritten(), Symbol(), Column(), 1
"""


async def test_whatever_is_equal_to_anything_is_named_with_what_it_is_equal_to(plain: PlainSandboxes) -> None:
    graded = await engine.grade(spec(DEFAULT), work(one=EQUALITIES), plain)
    assert evidence(graded) == {"equal_to_anything": EQUAL_TO}


async def test_no_honest_equality_is_suspected(plain: PlainSandboxes) -> None:
    graded = await engine.grade(spec(DEFAULT), work(one=HONEST_EQUALITIES), plain)
    assert scores(graded)["a"] == 1
    assert evidence(graded) == {}


async def test_what_tests_themselves_make_equal_to_anything_is_nobodys_answer(plain: PlainSandboxes) -> None:
    def tests(notebook) -> None:
        cell(notebook, "a").source = "from unittest.mock import ANY\nassert one == 1 and ANY == one"

    made = engine.generate(edited_path({"p.ipynb": dump(SOURCE)}, "p.ipynb", tests), STRICT)
    for answer, named in (("one = 1", {}), ("import unittest.mock as m\none = m.ANY", {"equal_to_anything": ["one"]})):
        files = answered(dict(made.student_files), {"one": answer, "two": "two = 2"})
        graded = await engine.grade(Spec({"p": made.notebooks[0]}, {}, DEFAULT), files, plain)
        assert scores(graded)["a"] == 1
        assert evidence(graded) == named


@pytest.mark.parametrize("hook", ["excepthook", "displayhook"])
async def test_a_hook_of_python_is_ipythons_again_and_saves_no_wrong_answer(hook: str, plain: PlainSandboxes) -> None:
    answer = f"import sys\nsys.{hook} = lambda *args: None\n" + WRONG
    graded = await engine.grade(spec(DEFAULT), work(one=answer), plain)
    assert scores(graded)["a"] == 0


def ending_with(shown: str, *more: object) -> NotebookNode:
    result = new_output("execute_result", data={"text/plain": shown}, execution_count=1)
    about = {"grade": True, "solution": False, "grade_id": "a", "points": 1}
    return new_code_cell("answer", outputs=[*([result] if shown else []), *more], metadata={"nbgrader": about})


ENDS: list[tuple[str, bool | None, str]] = [
    # what is shown · whether the solution gave a number there (None: unknown) · the note
    ("-1", True, "negative_credit"),
    ("-1", None, "negative_credit"),
    ("-0.5", False, "negative_credit"),
    ("0.5", True, ""),
    ("0.5", None, ""),
    ("0.5", False, "number_from_elsewhere"),
    ("nan", True, "no_number"),
    ("nan", None, "no_number"),
    ("nan", False, ""),
    ("'all right'", True, "no_number"),
    ("", True, "no_number"),
    ("'all right'", False, ""),
    ("'all right'", None, ""),
    ("", None, ""),
]


@pytest.mark.parametrize(("shown", "by_number", "code"), ENDS)
def test_a_test_that_ends_with_no_number_of_points_is_flagged(shown: str, by_number: bool | None, code: str) -> None:
    note = odd_credit(ending_with(shown), by_number=by_number)
    assert (note["code"] if note else "") == code
    assert not code or code in explain.SUSPICIONS
    if note and code in ("no_number", "number_from_elsewhere"):
        assert f"“{shown}”" in explain.explain(explain.NOTES, note)


def test_a_test_that_failed_gives_nothing_and_is_not_flagged() -> None:
    failed = new_output("error", ename="AssertionError", evalue="", traceback=[])
    assert odd_credit(ending_with("", failed), by_number=True) is None


async def test_a_number_that_code_shows_while_it_is_tested_is_flagged(plain: PlainSandboxes) -> None:
    """nbgrader takes it for the points: a way to choose them, and to say something with each score."""
    shows = (
        "import sys\nclass Shows(int):\n    def __eq__(self, other):\n        sys.displayhook(0.1234)\n"
        "        return True\n    __hash__ = None\none = Shows(1)"
    )
    graded = await engine.grade(replace(spec(DEFAULT), numbers={"p": ()}), work(one=shows), plain)
    assert scores(graded)["a"] == 0.1234
    assert ("number_from_elsewhere", "a") in notes(graded)
    assert ("number_from_elsewhere", "") not in notes(await engine.grade(spec(DEFAULT), work(), plain))
    twice = ending_with("0.5", new_output("execute_result", data={"text/plain": "1"}, execution_count=1))
    note = odd_credit(twice, by_number=True)
    assert note
    assert note["code"] == "number_from_elsewhere"


HONEST = {
    "plain": "one = 1",
    "its own class with a right ==": (
        "class N:\n    def __init__(self, n):\n        self.n = n\n    def __eq__(self, other):\n"
        "        return self.n == getattr(other, 'n', other)\none = N(1)"
    ),
    "a dataclass": "from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int = 1\none = P().x",
    "warnings and unittest": "import unittest, warnings\nwarnings.simplefilter('ignore')\none = 1",
    "magics": "%timeit -n1 -r1 1\none = 1",
    "an error before it": "try:\n    1/0\nexcept ZeroDivisionError:\n    one = 1",
    "a shadowed builtin of its own": "sum = 1\nlist = [1]\none = 1",
    "libraries": "import numpy, pandas\nimport matplotlib.pyplot as plt\nplt.plot([1])\none = int(numpy.ones(1)[0])",
}


@pytest.mark.parametrize("kind", HONEST)
async def test_honest_work_is_not_suspected(kind: str, plain: PlainSandboxes) -> None:
    graded = await engine.grade(spec(DEFAULT), work(one=HONEST[kind]), plain)
    assert scores(graded)["a"] == 1
    assert not {code for code, _ in notes(graded)} & explain.SUSPICIONS


async def test_a_tag_keeps_no_test_from_running_in_either_mode(plain: PlainSandboxes) -> None:
    def skip(notebook) -> None:
        cell(notebook, "a").metadata["tags"] = ["skip-execution"]
        cell(notebook, "a").metadata["anything"] = {"of": "mine"}

    for settings in (STRICT, DEFAULT):
        graded = await engine.grade(spec(settings), work(skip, one=WRONG), plain)
        assert scores(graded)["a"] == 0
        assert notes(graded) == [("skip_tag_removed", "")]


def executed(graded: Graded) -> Any:
    return json.loads(graded.notebooks[0].content or b"{}")


@pytest.mark.parametrize("settings", [STRICT, DEFAULT], ids=["strict", "default"])
async def test_of_metadata_only_what_is_known_comes_into_the_run(settings: Settings, plain: PlainSandboxes) -> None:
    def add(notebook) -> None:
        cell(notebook, "a").metadata["anything"] = {"of": "planted"}
        notebook.metadata["anything"] = {"of": "planted"}
        notebook.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": {"state": {"of": "planted"}}}

    graded = await engine.grade(spec(settings), work(add), plain)
    assert scores(graded)["a"] == 1
    assert b"planted" not in (graded.notebooks[0].content or b"")
    assert set(executed(graded)["metadata"]) == {"kernelspec", "language_info"}
    allowed = {"nbgrader", "execution", "deletable", "editable"}
    assert {key for one in executed(graded)["cells"] for key in one["metadata"]} <= allowed


async def test_the_graders_record_says_what_was_sent_in_which_order(plain: PlainSandboxes) -> None:
    mine = "get_ipython().kernel.do_execute = None\nmine = 1"

    def add(notebook) -> None:
        notebook.cells.insert(1, new_code_cell(mine))

    # Every later cell waits for an answer that does not come.
    soon = replace(DEFAULT, limits=Limits(cell_seconds=2))
    graded = await engine.grade(spec(soon), work(add), plain)
    record = graded.notebooks[0].record
    assert [(row["cell"], row["grade_id"]) for row in record][:2] == [(1, "one"), (2, "")]
    assert [row["sha256"] for row in record][:2] == [sha256(text.encode()).hexdigest() for text in ("one = 1", mine)]


async def test_the_record_has_the_cell_that_ended_the_run(plain: PlainSandboxes) -> None:
    ends = "import os\nos._exit(1)"
    graded = await engine.grade(spec(DEFAULT), work(two=ends), plain)
    assert [failure.code for failure in graded.failures] == ["kernel_exited"]
    record = graded.notebooks[0].record
    assert [row["grade_id"] for row in record] == ["one", "a", "two"]
    assert [row["count"] for row in record] == [1, 2, None]
    assert record[-1]["sha256"] == sha256(ends.encode()).hexdigest()


async def test_questions_to_the_kernel_leave_no_trace_in_history_or_counts(plain: PlainSandboxes) -> None:
    answer = "one = 1\nassert len(In) == 2 and In[-1].startswith('one'), In\nassert 'probe' not in dir()"
    graded = await engine.grade(spec(DEFAULT), work(one=answer), plain)
    content = json.loads(graded.notebooks[0].content or b"{}")
    counts = [one["execution_count"] for one in content["cells"] if one["cell_type"] == "code"]
    assert counts == [1, 2, 3, 4]
    assert scores(graded)["a"] == 1


async def test_a_kernel_that_no_longer_answers_is_flagged(plain: PlainSandboxes) -> None:
    answer = "get_ipython().user_expressions = lambda expressions: {}\none = 1"
    graded = await engine.grade(spec(DEFAULT), work(one=answer), plain)
    assert {code for code, _ in notes(graded)} & {"kernel_unanswered", "kernel_changed"}


async def test_names_that_lead_out_of_the_run_folder_are_never_pushed(plain: PlainSandboxes) -> None:
    bad: Files = {"../up": b"", "/etc/passwd": b"", "a/../../b": b"", "nul\0": b""}
    await engine.grade(spec(DEFAULT), work() | bad, plain)
    assert [sorted(pushed) for pushed in plain.pushed] == [["p.ipynb"]]
