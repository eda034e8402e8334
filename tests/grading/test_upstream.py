"""nbgrader's own fixtures with the scores that its own tests assert (test_nbgrader_autograde.py), AUTOTEST included."""

from __future__ import annotations

import pytest

from grading import engine
from grading.engine import Graded, Limits, Settings, Spec
from tests.grading.corpus import upstream
from tests.grading.plain_sandbox import PlainSandboxes

STUB = {"ClearSolutions": {"code_stub": {"python": "# YOUR CODE HERE"}}}
# source, submission ("" is the released version), (score, max, needs_manual_grade or None), settings
CASES = [
    ("submitted-unchanged", "submitted-unchanged", (1, 7, False), {}),
    ("submitted-unchanged", "submitted-changed", (2, 7, True), {}),
    ("submitted-unchanged", "submitted-cheat-attempt", (1, 7, True), {}),
    ("submitted-unchanged", "submitted-cheat-attempt-alternative", (1, 7, True), {}),
    ("autotest-simple", "autotest-simple-unchanged", (0, 1, False), {}),
    ("autotest-simple", "autotest-simple-changed", (1, 1, False), {}),
    ("autotest-hashed", "autotest-hashed-unchanged", (0, 1, False), {}),
    ("autotest-hashed", "autotest-hashed-changed", (1, 1, False), {}),
    ("autotest-multi", "autotest-multi-unchanged", (0, 4, False), {}),
    ("autotest-multi", "autotest-multi-changed", (3, 4, False), {}),
    ("autotest-hidden", "autotest-hidden-unchanged", (0, 1, None), {}),
    ("autotest-hidden", "autotest-hidden-changed-wrong", (0, 1, None), {}),
    ("autotest-hidden", "autotest-hidden-changed-right", (1, 1, None), {}),
    ("test-hidden-tests", "", (1.5, 3, None), {"traits": STUB}),
    ("timeout", "timeout", (1, 1, None), {"limits": Limits(cell_seconds=30)}),
    ("timeout", "timeout", (0, 1, None), {"limits": Limits(cell_seconds=2)}),
    ("validating-environment-variable", "validating-environment-variable", (0, 1, None), {}),
    ("infinite-loop", "infinite-loop", (0, 0, None), {"limits": Limits(cell_seconds=1)}),
]


@pytest.mark.parametrize(("source", "submission", "expected", "settings"), CASES)
async def test_scores_equal_those_that_nbgraders_tests_assert(
    source: str, submission: str, expected: tuple, settings: dict, plain: PlainSandboxes
) -> None:
    made = Settings(autotests=upstream("autotests.yml"), **settings)
    files = {"p1.ipynb": upstream(f"{source}.ipynb")}
    written, problems = await engine.instantiate(files, made, plain)
    generated = engine.generate(files, made, written)
    assert not problems
    assert generated.publishable, generated.problems
    spec = Spec({"p1": generated.notebooks[0]}, {}, made)
    handed_in = upstream(f"{submission}.ipynb") if submission else generated.student_files["p1.ipynb"]
    graded = await engine.grade(spec, {"p1.ipynb": handed_in}, plain)
    assert not graded.failures
    most = sum(cell.max_score for cell in generated.notebooks[0].graded)
    score, manual = totals(graded)
    assert (score, most) == expected[:2]
    assert expected[2] in {None, manual}


def totals(graded: Graded) -> tuple[float, bool]:
    scored = [cell for cell in graded.cells if cell.graded]
    return sum(cell.auto_score or 0 for cell in scored), any(cell.needs_manual_grade for cell in scored)


@pytest.mark.parametrize("name", ["submitted-answer-cell-type-changed", "submitted-grade-cell-type-changed"])
async def test_a_changed_cell_type_in_an_old_notebook_fails_as_with_nbgrader(name: str, plain: PlainSandboxes) -> None:
    generated = engine.generate({"p1.ipynb": upstream("submitted-unchanged.ipynb")}, Settings())
    spec = Spec({"p1": generated.notebooks[0]}, {}, Settings())
    graded = await engine.grade(spec, {"p1.ipynb": upstream(f"{name}.ipynb")}, plain)
    assert [failure.notebook for failure in graded.failures] == ["p1"]
    assert plain.pushed == []


async def test_templates_of_a_course_cannot_reach_the_worker(plain: PlainSandboxes) -> None:
    evil = upstream("autotests.yml").replace(b"{{snippet}}", b"{{snippet.__class__.__mro__[1].__subclasses__()}}")
    made = Settings(autotests=evil)
    written, problems = await engine.instantiate({"p1.ipynb": upstream("autotest-simple.ipynb")}, made, plain)
    assert written == {}
    assert "unsafe" in str(problems[0].params["message"])


async def test_tests_that_cannot_be_written_are_a_problem(plain: PlainSandboxes) -> None:
    files = {"p1.ipynb": upstream("autotest-simple.ipynb")}
    written, problems = await engine.instantiate(files, Settings(), plain)
    assert written == {}
    assert [problem.code for problem in problems] == ["autotest_failed"]
