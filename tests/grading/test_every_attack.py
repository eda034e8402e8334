"""Every line of our survey of nbgrader's security, and the tests that expect the opposite of what stock nbgrader does.

Each named test would fail if what holds the attack off were taken away. Those that belong nowhere else are below.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator, Mapping
from datetime import timedelta
from decimal import Decimal

import pytest
from nbformat.v4 import new_notebook

from classroom.celery import app
from classroom.people.models import User
from classroom.places import CHECKOUT
from grading import autograde, engine
from grading.engine import Settings, Spec
from grading.models import Autograding, ReleaseCheck, Submission
from runtimes import storage
from tests.grading.corpus import answered, cell, dump
from tests.grading.course_of_one import PYTHON, handed_in, lending, published
from tests.grading.plain_sandbox import PlainSandboxes
from tests.grading.test_healing import DEFAULT, STRICT, TESTS, _code, notes, scores, spec, work

HERE, LIVE = "tests/grading/test_every_attack.py::", "tests/grading/test_live_attacks.py::"
ENGINE, SANDBOX = "tests/grading/test_attacks.py::", "tests/runtimes/sandbox/test_attacks.py::"
FLAGGED = ENGINE + "test_what_was_replaced_is_flagged_with_the_evidence"
ALONE = LIVE + "test_a_notebook_that_breaks_out_of_its_limits_fails_alone_with_a_reason"
NOTHING = LIVE + "test_nothing_of_others_and_no_hidden_test_is_found"
PAGES, FILE = "tests/grading/test_rendering.py::", "tests/classroom/test_feedback_file.py::"
SEALED = "tests/grading/test_sealed.py::"
UPLOADS, HEALING = "tests/classroom/test_uploads.py::", "tests/grading/test_healing.py::"

#: A line of the survey → its tests, each as pytest names it (of a parametrized one, the first parameter in brackets).
SURVEY: Mapping[str, tuple[str, ...]] = {
    "metadata.tags skip-execution on test cells": (
        ENGINE + "test_a_tag_keeps_no_test_from_running_in_either_mode",
        LIVE + "test_a_tag_does_not_keep_a_test_from_running",
    ),
    "input_transformers_post emptying later cells": (FLAGGED + "[input_transformers_post that empties later cells]",),
    "replacing ip.run_code and showtraceback": (FLAGGED + "[replacing ip.run_code and showtraceback]",),
    "an object equal to everything": (
        FLAGGED + "[an object that is equal to everything]",
        ENGINE + "test_whatever_is_equal_to_anything_is_named_with_what_it_is_equal_to",
    ),
    "an object that shows itself as nan, or as text": (
        ENGINE + "test_a_test_that_ends_with_no_number_of_points_is_flagged",
        HERE + "test_what_the_solution_ended_with_says_which_tests_give_points_by_a_number",
    ),
    "an object that shows itself as -1": (HERE + "test_points_below_zero_wait_for_a_person",),
    "an object that shows itself as 99": (HERE + "test_more_points_than_there_are_stop_one_notebook_and_give_none",),
    "reading the notebook in the run folder": (
        NOTHING + "[reads_files]",
        LIVE + "test_the_walk_finds_what_is_there",
    ),
    # Not in the survey: nbgrader's feedback shows hidden tests to everybody.
    "copying a hidden test while it is in the kernel": (
        LIVE + "test_a_student_who_copies_the_hidden_test_does_not_read_it_in_the_feedback[prints_tests]",
        LIVE + "test_files_of_a_kernel_that_was_killed_are_not_there_for_the_next_one",
        LIVE + "test_a_result_keeps_nothing_but_notebooks_and_records",
        SEALED + "test_a_hidden_test_that_was_copied_is_for_those_who_mark_only[a later cell prints its base64]",
    ),
    "the source folder": (NOTHING + "[reads_files]", HERE + "test_only_what_students_were_given_is_where_code_runs"),
    "reading another student's submission": (NOTHING + "[reads_others]",),
    "writing into the source or to other students, also later ones": (
        LIVE + "test_what_is_planted_everywhere_is_found_by_nobody",
    ),
    "the gradebook's database": (NOTHING + "[reads_database]",),
    "the worker's environment": (
        LIVE + "test_the_environment_holds_nothing_of_the_site",
        SANDBOX + "test_attack[the environment holds nothing of the host's]",
    ),
    "the worker's processes": (
        NOTHING + "[sees_processes]",
        SANDBOX + "test_attack[only my own sandbox's processes can be seen]",
    ),
    "links to the gradebook or to files of the host": (
        LIVE + "test_a_link_is_neither_kept_nor_carried_to_the_next_notebook",
        UPLOADS + "test_links_are_refused",
    ),
    "the source folder's other files, as rubric.txt": (
        "tests/classroom/test_publish.py::test_a_file_beside_the_notebooks_is_named_before_students_get_it",
        HERE + "test_only_what_students_were_given_is_where_code_runs",
        FILE + "test_feedback_is_the_notebooks_and_no_other_file",
    ),
    "ipykernel_launcher.py among what is handed in": (
        LIVE + "test_files_named_like_the_kernels_own_change_nothing",
    ),
    "a daemon in a session of its own": (LIVE + "test_nothing_outlives_its_grading",),
    "a line of 200 MB": (ALONE + "[long_line]", ALONE + "[longer_line_than_a_message]"),
    "printing for ever": (ALONE + "[print_for_ever]",),
    "os._exit": (ALONE + "[exit]",),
    "a segmentation fault": (ALONE + "[segfault]",),
    "ignoring SIGINT": (ALONE + "[ignores_interrupts]",),
    "3 GB of memory": (LIVE + "test_memory_is_limited_from_outside_and_ends_that_notebook_alone",),
    "scripts in outputs and Markdown": (
        PAGES + "test_markdown_can_neither_run_nor_frame_nor_restyle",
        PAGES + "test_code_is_text_and_outputs_are_documents_that_load_nothing",
        FILE + "test_nothing_in_it_runs_loads_or_sends",
        "tests/browser/test_review_is_safe.py::test_a_hostile_notebook_is_only_looked_at[tina]",
        "tests/browser/test_review_is_safe.py::test_a_hostile_notebook_is_only_looked_at[ada]",
    ),
    "a broken timestamp.txt": (HERE + "test_a_broken_timestamp_is_a_file_like_any_other",),
    "a forged timestamp.txt": (HERE + "test_a_forged_timestamp_makes_nothing_less_late",),
    "a duplicate id": (
        HEALING + "test_a_right_answer_keeps_its_points_and_the_report_says_what_was_put_right[copied]",
        HEALING + "test_strict_mode_refuses_what_nbgrader_refuses[copied]",
    ),
    "schema_version 4": (HERE + "test_a_newer_schema_is_put_right_or_refused_and_stops_nobody_else",),
    "the network": (
        NOTHING + "[network]",
        SANDBOX + "test_attack[no address outside has a route]",
        SANDBOX + "test_attack[a listener on the host's loopback is out of reach]",
    ),
    "pickles": (HERE + "test_nothing_of_ours_unpickles", HERE + "test_messages_between_processes_are_json"),
    "a zip that leads out of its folder": (UPLOADS + "test_paths_that_lead_out_are_refused",),
    "a student id that is a pattern": (
        "tests/migrate/test_hostile_folders.py::test_a_student_whose_name_is_a_pattern_is_one_student",
        "tests/migrate/test_export.py::test_a_name_that_is_a_pattern_is_no_folders",
    ),
}  # fmt: skip


@pytest.mark.parametrize("attack", SURVEY)
def test_each_line_of_the_survey_names_tests_that_exist(attack: str) -> None:
    for test in SURVEY[attack]:
        path, _colons, name = test.partition("::")
        name, _bracket, parameter = name.removesuffix("]").partition("[")
        function = getattr(importlib.import_module(path.removesuffix(".py").replace("/", ".")), name)
        assert inspect.isfunction(function), test
        assert name.startswith("test_"), test
        assert not parameter or parameter in set(_parameters(function)), test


def _parameters(function: object) -> Iterator[str]:
    """The first parameter of each case, in words."""
    for mark in getattr(function, "pytestmark", ()):
        if mark.name == "parametrize":
            for value in mark.args[1]:
                first = value[0] if isinstance(value, tuple) else value
                yield str(getattr(first, "sentence", first))


PARTIAL = new_notebook(
    metadata=PYTHON,
    cells=[
        _code("### BEGIN SOLUTION\none = 1\n### END SOLUTION", "one", solution=True),
        _code("one", "credit", **TESTS, points=1),
        _code("### BEGIN SOLUTION\ntwo = 2\n### END SOLUTION", "two", solution=True),
        _code("assert two == 2", "b", **TESTS, points=2),
    ],
)
SHOWN = "class Shown:\n    def __repr__(self):\n        return '{}'\none = Shown()"


async def partial(shown: str, plain: PlainSandboxes) -> engine.Graded:
    """Work whose answer shows itself as `shown` in a test that gives partial credit, and is right elsewhere."""
    generated = engine.generate({"p.ipynb": dump(PARTIAL)}, STRICT)
    files = answered(dict(generated.student_files), {"one": SHOWN.format(shown), "two": "two = 2"})
    settings = Settings(heal=True, salvage=True)
    return await engine.grade(Spec({"p": generated.notebooks[0]}, {}, settings), files, plain)


async def test_points_below_zero_wait_for_a_person(plain: PlainSandboxes) -> None:
    graded = await partial("-1", plain)
    assert "negative_credit" in {code for code, _grade_id in notes(graded)}


async def test_more_points_than_there_are_stop_one_notebook_and_give_none(plain: PlainSandboxes) -> None:
    graded = await partial("99", plain)
    assert [failure.code for failure in graded.failures] == ["points_exceeded"]
    assert scores(graded)["credit"] != 99
    assert sum(float(score or 0) for score in scores(graded).values()) <= 2  # type: ignore[arg-type]


def graded(plain: PlainSandboxes, submission: Submission) -> Autograding:
    """Its finished autograding."""
    row = submission.autogradings.get()
    assert autograde.autograde(row.pk, lend=lending(plain))
    row.refresh_from_db()
    return row


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("work_dir")
def test_what_the_solution_ended_with_says_which_tests_give_points_by_a_number(
    plain: PlainSandboxes, ada: User
) -> None:
    made = published(plain, files={"p.ipynb": dump(PARTIAL)})
    [stored] = ReleaseCheck.objects.get(release=made).results[:1]
    assert (stored["grade_id"], stored["number"]) == ("credit", True)
    for shown, noted in (("nan", True), ("all of them", True), ("0.5", False)):
        answers = {"one": SHOWN.format(shown), "two": "'text at the end'; two = 2"}
        row = graded(plain, handed_in(made, ada, answers=answers, key=shown))
        assert row.scores.get(cell__grade_id="credit").auto_score == (1 if noted else Decimal("0.5"))
        found = [(note["grade_id"], note["shown"]) for note in row.notes if note["code"] == "no_number"]
        assert found == ([("credit", shown)] if noted else [])
        expected = Submission.State.TO_REVIEW if noted else Submission.State.GRADED
        assert Submission.objects.get(pk=row.submission_id).state == expected


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("work_dir")
def test_only_what_students_were_given_is_where_code_runs(plain: PlainSandboxes, ada: User) -> None:
    """Not the source, and not the course's files that lie in it."""
    made = published(plain)
    with_more = {**storage.read_snapshot(made.source), ".course/rubric.txt": b"the rubric"}
    type(made).objects.filter(pk=made.pk).update(source=storage.snapshot_of(with_more))
    plain.pushed.clear()
    assert graded(plain, handed_in(made, ada, answers={"answer": "answer = 42"})).state == Autograding.State.FINISHED
    [pushed] = plain.pushed
    assert pushed.keys() == {"p.ipynb", "data.txt"}
    for secret in (b"the rubric", b"BEGIN SOLUTION", b"the hidden reason"):
        assert secret not in b"".join(pushed.values())


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("work_dir")
def test_a_broken_timestamp_is_a_file_like_any_other(plain: PlainSandboxes, ada: User) -> None:
    broken = {"timestamp.txt": b"yesterday, I think \xff"}
    row = graded(plain, handed_in(published(plain), ada, answers={"answer": "answer = 42"}, extra=broken))
    assert (row.state, row.failures) == (Autograding.State.FINISHED, [])
    assert row.scores.get(cell__grade_id="tests").auto_score == 3


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("work_dir")
def test_a_forged_timestamp_makes_nothing_less_late(plain: PlainSandboxes, ada: User) -> None:
    forged = {"timestamp.txt": b"2001-01-01 00:00:00 UTC"}
    submission = handed_in(published(plain), ada, late=timedelta(hours=2), extra=forged)
    graded(plain, submission)
    submission.refresh_from_db()
    assert submission.late_by == timedelta(hours=2)
    assert submission.received_at.year > 2001


async def test_a_newer_schema_is_put_right_or_refused_and_stops_nobody_else(plain: PlainSandboxes) -> None:
    def newer(notebook) -> None:
        cell(notebook, "a").metadata["nbgrader"]["schema_version"] = 4

    healed = await engine.grade(spec(DEFAULT), work(newer), plain)
    assert (healed.failures, scores(healed)["a"], notes(healed)) == ((), 1, [("settings_changed", "a")])
    refused = await engine.grade(spec(STRICT), work(newer), plain)
    assert [failure.code for failure in refused.failures] == ["metadata_version"]
    assert scores(await engine.grade(spec(STRICT), work(), plain))["a"] == 1


UNSAFE = {"pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal", "joblib"}


def test_nothing_of_ours_unpickles() -> None:
    """No module of the site, the grader or the runtimes imports what turns bytes into objects of any kind."""
    found = []
    for app_name in ("classroom", "grading", "runtimes"):
        for path in sorted((CHECKOUT / app_name).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                found += [f"{path}: {name}" for name in names if name.partition(".")[0] in UNSAFE]
    assert found == []


def test_messages_between_processes_are_json() -> None:
    assert set(app.conf.accept_content) == {"json"}
    assert app.conf.task_serializer == "json"
