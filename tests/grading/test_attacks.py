"""Attacks that give full marks, or worse, with the stock command line: each has the opposite result here.

Those about scores are tried here, on the engine; `test_every_attack.py` names the test of each line of our survey of
nbgrader's security.
"""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from nbformat.v4 import new_code_cell, new_output

from grading import engine, explain
from grading.engine import Graded, Limits, Settings
from grading.engine.watch import odd_credit
from tests.grading.corpus import Files, cell
from tests.grading.plain_sandbox import PlainSandboxes
from tests.grading.test_healing import DEFAULT, STRICT, notes, scores, spec, work

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


@pytest.mark.parametrize("hook", ["excepthook", "displayhook"])
async def test_a_hook_of_python_is_ipythons_again_and_saves_no_wrong_answer(hook: str, plain: PlainSandboxes) -> None:
    answer = f"import sys\nsys.{hook} = lambda *args: None\n" + WRONG
    graded = await engine.grade(spec(DEFAULT), work(one=answer), plain)
    assert scores(graded)["a"] == 0


def test_a_number_of_points_below_zero_is_flagged() -> None:
    result = new_output("execute_result", data={"text/plain": "-1"}, execution_count=1)
    about = {"grade": True, "solution": False, "grade_id": "a", "points": 1}
    tests = new_code_cell("answer", outputs=[result], metadata={"nbgrader": about})
    assert odd_credit(tests)
    tests.outputs[0].data["text/plain"] = "0.5"
    assert not odd_credit(tests)


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
        assert b"of" not in json.dumps(_metadata(graded)).encode()


def _metadata(graded: Graded) -> list[object]:
    content = json.loads(graded.notebooks[0].content or b"{}")
    return [sorted(one["metadata"]) for one in content["cells"]]


async def test_the_graders_record_says_what_was_sent_in_which_order(plain: PlainSandboxes) -> None:
    def add(notebook) -> None:
        notebook.cells.insert(1, new_code_cell("get_ipython().kernel.do_execute = None\nmine = 1"))

    # Every later cell waits for an answer that does not come.
    soon = replace(DEFAULT, limits=Limits(cell_seconds=2))
    graded = await engine.grade(spec(soon), work(add), plain)
    record = graded.notebooks[0].record
    assert [row["grade_id"] for row in record][:2] == ["one", ""]
    assert all(len(row["sha256"]) == 64 for row in record)


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
