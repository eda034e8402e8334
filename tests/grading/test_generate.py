"""What a teacher is told about bad files, and what students never get. Nothing here raises."""

from __future__ import annotations

import json

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from grading import engine
from grading.engine import Generated, Settings
from grading.engine.load import ClearSolutions
from grading.explain import PROBLEMS, explain
from tests.grading.corpus import dump, parse, upstream

TESTS = {"grade": True, "solution": False, "locked": True, "schema_version": 3, "grade_id": "t", "points": 1}
ANSWER = {"grade": False, "solution": True, "locked": False, "schema_version": 3, "grade_id": "a"}
JULIA = {"kernelspec": {"name": "julia-1.9", "display_name": "Julia", "language": "julia"}}
PYTHON = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}


def code(source: str, **about: object):
    return new_code_cell(source, metadata={"nbgrader": about} if about else {})


def made_of(*cells, metadata: object = PYTHON, **settings: object) -> Generated:
    files = {"p.ipynb": dump(new_notebook(cells=list(cells), metadata=metadata))}
    return engine.generate(files, Settings(**settings))


def only(generated: Generated) -> tuple[str, int, str]:
    (problem,) = generated.problems
    assert "%(" not in explain(PROBLEMS, problem.as_json())
    return problem.code, problem.cell, problem.grade_id


def test_a_good_notebook_has_no_problem_and_can_be_published() -> None:
    generated = made_of(code("x = 1", **ANSWER), code("assert x == 1", **TESTS))
    assert generated.publishable
    assert generated.problems == ()
    assert [(c.grade_id, c.kind, c.max_score) for c in generated.notebooks[0].graded] == [
        ("a", "answer", 0),
        ("t", "tests", 1),
    ]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ([code("1", **TESTS), code("2", **TESTS)], ("duplicate_grade_id", 2, "t")),
        ([code("1", **{k: v for k, v in TESTS.items() if k != "points"})], ("no_points", 1, "t")),
        ([code("1", **{**TESTS, "points": ""})], ("no_points", 1, "t")),
        ([code("1", **{k: v for k, v in TESTS.items() if k != "grade_id"})], ("no_grade_id", 1, "")),
        ([code("1", **{**TESTS, "grade_id": ""})], ("no_grade_id", 1, "")),
        ([code("1", **{**TESTS, "schema_version": 1})], ("schema_old", 1, "t")),
        ([code("1", **{**TESTS, "schema_version": 4})], ("schema_new", 1, "t")),
        ([code("1", **{**TESTS, "schema_version": "three"})], ("schema_old", 1, "t")),
        ([code("1", **{**TESTS, "points": -1})], ("bad_metadata", 1, "t")),
        ([code("1", **{**TESTS, "grade_id": "with space"})], ("bad_metadata", 1, "with space")),
        ([code("### BEGIN SOLUTION\nx = 1", **ANSWER)], ("bad_region", 1, "a")),
        ([code("### BEGIN SOLUTION\nx = 1\n### END SOLUTION")], ("bad_region", 1, "")),
        ([code("### BEGIN HIDDEN TESTS\n1\n### END HIDDEN TESTS")], ("bad_region", 1, "")),
    ],
)
def test_a_bad_cell_is_named(cells: list, expected: tuple[str, int, str]) -> None:
    generated = made_of(*cells)
    assert only(generated) == expected
    assert not generated.publishable
    assert "p.ipynb" not in generated.student_files


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "empty"),
        (b"  \n", "empty"),
        (b"\xff\xfe\x00", "not_utf8"),
        (b"{", "not_json"),
        (b"[" * 100_000, "not_json"),
        (b"[]", "not_a_notebook"),
        (b'"text"', "not_a_notebook"),
        (b"{}", "not_a_notebook"),
        (b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}}', "not_a_notebook"),
        (b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [1]}', "not_a_notebook"),
        (b'{"nbformat": 4, "nbformat_minor": 5, "metadata": [], "cells": []}', "not_a_notebook"),
        (
            b'{"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": [{"cell_type": "code", "outputs": [3]}]}',
            "not_a_notebook",
        ),
        (b'{"nbformat": 2, "worksheets": []}', "nbformat_old"),
        (b'{"nbformat": 9, "cells": []}', "nbformat_new"),
    ],
)
def test_a_file_that_is_no_notebook_is_a_problem(data: bytes, expected: str) -> None:
    generated = engine.generate({"p.ipynb": data}, Settings())
    assert only(generated) == (expected, 0, "")
    assert not generated.publishable


def test_nbgraders_own_bad_notebooks_are_problems() -> None:
    found = {
        name: {p.code for p in engine.generate({"p.ipynb": upstream(name)}, Settings()).problems}
        for name in ("too-new.ipynb", "test-v0.ipynb", "test-v1.ipynb", "test-v2.ipynb", "duplicate-grade-ids.ipynb",
                     "blank-grade-id.ipynb", "blank-points.ipynb", "bad-markdown-cell-1.ipynb")
    }  # fmt: skip
    assert found["too-new.ipynb"] == {"schema_new"}
    for version in ("0", "1", "2"):
        assert "schema_old" in found[f"test-v{version}.ipynb"]
    assert all(found.values()), found


def test_no_notebook_at_all_is_a_problem() -> None:
    assert only(engine.generate({"data.csv": b"1"}, Settings())) == ("no_notebooks", 0, "")


def test_a_kernel_that_the_environment_lacks_is_an_error_that_names_those_it_has_and_no_kernel_a_warning() -> None:
    made = made_of(code("1", **TESTS), metadata=JULIA, kernels=("bash", "ir"))
    assert only(made)[0] == "unknown_kernel"
    said = explain(PROBLEMS, made.problems[0].as_json())
    assert "“julia-1.9”" in said
    assert "python3, bash, ir" in said
    without = made_of(code("assert 1", **TESTS), metadata={})
    assert only(without)[0] == "no_kernelspec"
    assert without.publishable


def test_a_kernel_of_the_environment_is_kept_with_the_notebook_and_the_teacher_told_what_is_not_looked_at() -> None:
    made = made_of(code("1", **TESTS), metadata=JULIA, kernels=("julia-1.9",))
    assert [problem.code for problem in made.problems] == ["other_kernel", "stub_written"]
    assert made.publishable
    assert made.notebooks[0].kernel == "julia-1.9"
    assert made_of(code("1", **TESTS)).notebooks[0].kernel == ""


def test_a_python_of_another_name_is_ours() -> None:
    conda = {"kernelspec": {"name": "conda-env-x-py", "display_name": "x", "language": "python"}}
    made = made_of(code("1", **TESTS), metadata=conda)
    assert made.publishable
    assert made.notebooks[0].kernel == ""


@pytest.mark.parametrize(
    ("solution", "given"),
    [
        ("x = 1\n    // BEGIN SOLUTION\ny\n    // END SOLUTION", "x = 1\n    // YOUR CODE HERE"),
        ("/* BEGIN SOLUTION */\ny\n/* END SOLUTION */", "/* YOUR CODE HERE */"),
        ("y", "# YOUR CODE HERE"),
    ],
)
def test_a_language_without_a_stub_of_nbgraders_gets_the_teachers_own_comment(solution: str, given: str) -> None:
    made = made_of(code(solution, **ANSWER), code("1", **TESTS), metadata=JULIA, kernels=("julia-1.9",))
    assert parse(made.student_files["p.ipynb"]).cells[0].source == given
    # nbgrader refuses the notebook, and the report says so.
    [told] = [problem for problem in made.problems if problem.code == "stub_written"]
    assert (told.severity, told.params) == ("warning", {"language": "julia", "stub": given.splitlines()[-1].strip()})
    assert "would refuse the notebook" in explain(PROBLEMS, told.as_json())
    with pytest.raises(ValueError, match="has not been specified in ClearSolutions"):
        ClearSolutions().preprocess(parse(dump(new_notebook(metadata=JULIA))), {})


def test_a_stub_of_the_course_comes_first() -> None:
    stubs = {"ClearSolutions": {"code_stub": {"julia": "error()"}}}
    made = made_of(code("y", **ANSWER), code("1", **TESTS), metadata=JULIA, kernels=("julia-1.9",), traits=stubs)
    assert parse(made.student_files["p.ipynb"]).cells[0].source == "error()"
    assert "stub_written" not in {problem.code for problem in made.problems}


def test_students_get_neither_solutions_nor_hidden_tests_nor_mark_schemes_nor_outputs() -> None:
    task = {"grade": False, "solution": False, "locked": True, "task": True, "schema_version": 3, "grade_id": "k"}
    cell = code("### BEGIN SOLUTION\nsecret1 = 1\n### END SOLUTION", **ANSWER)
    cell.outputs = [new_output("stream", text="secret4")]
    generated = made_of(
        cell,
        code("assert 1\n### BEGIN HIDDEN TESTS\nsecret2\n### END HIDDEN TESTS", **TESTS),
        new_markdown_cell(
            "Do.\n### BEGIN MARK SCHEME\nsecret3\n### END MARK SCHEME", metadata={"nbgrader": {**task, "points": 1}}
        ),
    )
    assert generated.publishable, generated.problems
    assert b"secret" not in generated.student_files["p.ipynb"]
    assert "secret2" in json.dumps(generated.notebooks[0].cells)


def test_a_notebook_in_a_folder_is_left_out_with_a_warning() -> None:
    good = dump(new_notebook(cells=[code("assert 1", **TESTS)], metadata=PYTHON))
    generated = engine.generate({"p.ipynb": good, "extra/q.ipynb": good, "data/x.csv": b"1"}, Settings())
    assert only(generated)[0] == "notebook_in_folder"
    assert sorted(generated.student_files) == ["data/x.csv", "p.ipynb"]


def test_header_and_footer_frame_the_notebook_and_bad_ones_are_problems() -> None:
    header = dump(new_notebook(cells=[new_markdown_cell("top")]))
    generated = made_of(code("assert 1", **TESTS), header=header, footer=header)
    sources = ["".join(c["source"]) for c in json.loads(generated.student_files["p.ipynb"])["cells"]]
    assert sources == ["top", "assert 1", "top"]
    assert only(made_of(code("assert 1", **TESTS), header=b"{"))[0] == "bad_header"


def test_settings_reach_nbgrader_but_paths_and_code_do_not(tmp_path) -> None:
    stub = {"ClearSolutions": {"code_stub": {"python": "# yours"}}}
    generated = made_of(code("x = 1", **ANSWER), code("assert x", **TESTS), traits=stub)
    assert b"# yours" in generated.student_files["p.ipynb"]
    secret = tmp_path / "secret.ipynb"
    secret.write_bytes(dump(new_notebook(cells=[new_markdown_cell("secret")])))
    reaching = {"IncludeHeaderFooter": {"header": str(secret)}, "Execute": {"kernel_manager_class": "os.system"}}
    generated = made_of(code("assert 1", **TESTS), traits=reaching)
    assert generated.publishable
    assert b"secret" not in generated.student_files["p.ipynb"]


def test_autotests_wait_for_a_sandbox() -> None:
    generated = engine.generate({"p.ipynb": upstream("autotest-simple.ipynb")}, Settings())
    assert generated.pending == ("p.ipynb",)
    assert not generated.publishable
