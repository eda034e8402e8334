"""A course in bash: nbgrader's command line and the whole site, with the same kernel, give the same scores."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import timedelta

import pytest
from django.test import override_settings
from nbformat.v4 import new_code_cell, new_notebook

from bench._nbgrader_course import CELL_SECONDS, Course, Rows
from grading import release
from grading.models import Autograding, Release, ReleaseCheck
from tests.grading.corpus import answered, dump
from tests.grading.live_steps import hand_in, line_item, published, rows_and_files, until_graded
from tests.grading.quick_nbgrader import QuickCourse
from tests.grading.test_live_grading import differences
from tests.live import LiveSite
from tests.runtimes.providers import environment_with_bash

pytestmark = [pytest.mark.live, pytest.mark.sandbox, pytest.mark.timeout(1800)]

BASH = {"kernelspec": {"name": "bash", "display_name": "Bash", "language": "bash"}}
ANSWER = {"grade": False, "solution": True, "locked": False, "task": False, "schema_version": 3}
TESTS = {"grade": True, "solution": False, "locked": True, "task": False, "schema_version": 3}
WRITTEN = {"grade": True, "solution": True, "locked": False, "task": False, "schema_version": 3}
#: grade_id → (source, metadata). A cell's end is its last command's.
CELLS = {
    "greet": ('### BEGIN SOLUTION\ngreet() { echo "Hello, $1"; }\n### END SOLUTION', ANSWER),
    "greets": ('test "$(greet Ada)" = "Hello, Ada"', {**TESTS, "points": 2}),
    "greets_all": (
        'name=Ada\n### BEGIN HIDDEN TESTS\nname=Ben\n### END HIDDEN TESTS\ntest "$(greet $name)" = "Hello, $name"',
        {**TESTS, "points": 1.5},
    ),
    "warns": ("echo careful >&2", {**TESTS, "points": 1}),
    "says": ('greet Ada; [ -n "$PWD" ]; (exit $(greet Ada | grep -c Hi))', {**TESTS, "points": 1}),
    "why": ("### BEGIN SOLUTION\n# because\n### END SOLUTION", {**WRITTEN, "points": 3}),
}
GREETS_ALL = ("greets_all", "grade")
#: student → their answers by grade_id.
STUDENTS: Mapping[str, Mapping[str, str]] = {
    "ada": {"greet": 'greet() { echo "Hello, $1"; }', "why": "# so"},
    "ben": {"greet": 'greet() { echo "Hello, Ada"; }'},
    "cleo": {},
    "dan": {"greet": 'greet() { echo "Hi, $1"; }; false'},
    "eve": {"greet": "exit 3"},
}
LOOPS = {"greet": "while true; do sleep 0.1; done"}


def source() -> dict[str, bytes]:
    cells = [
        new_code_cell(text, metadata={"nbgrader": {**meta, "grade_id": name}}, id=name)
        for name, (text, meta) in CELLS.items()
    ]
    return {"sh.ipynb": dump(new_notebook(cells=cells, metadata=BASH))}


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Course:
    """nbgrader's course folder, graded by its command line on the kernels' own environment."""
    python = environment_with_bash().folder / "bin" / environment_with_bash().python.name
    folder = tmp_path_factory.mktemp("nbgrader") / "course"
    made = QuickCourse(folder, str(python))
    kernel = folder.parent / f"{folder.name}.home" / "kernels" / "bash"
    kernel.mkdir()
    spec = json.loads((environment_with_bash().folder / "share/jupyter/kernels/bash/kernel.json").read_text())
    kernel.joinpath("kernel.json").write_text(json.dumps({**spec, "argv": [str(python), *spec["argv"][1:]]}))
    folder.joinpath("source", "sh").mkdir(parents=True)
    for name, data in source().items():
        folder.joinpath("source", "sh", name).write_bytes(data)
    folder.joinpath("nbgrader_config.py").write_text(
        f"c = get_config()\nc.CourseDirectory.course_id = 'sh'\nc.Execute.timeout = {CELL_SECONDS}\n"
        # nbgrader has none for bash, and refuses to go on without.
        "c.ClearSolutions.code_stub = {'bash': '### YOUR CODE HERE'}\n"
    )
    made.release("sh")
    for student, answers in STUDENTS.items():
        made.submit(student, answered(made.files("release", "sh"), dict(answers)), "sh")
    made.run("autograde", "sh")
    return made


@pytest.fixture(scope="module")
def bash_site(django_db_blocker) -> Iterator[LiveSite]:
    """The whole site on an environment with bash's kernel."""
    chosen = str(environment_with_bash().folder)
    with LiveSite(django_db_blocker, KERNEL_ENVIRONMENT=chosen) as site, override_settings(KERNEL_ENVIRONMENT=chosen):
        yield site


@pytest.fixture
def site(bash_site: LiveSite) -> Iterator[LiveSite]:
    with rows_and_files(bash_site):
        yield bash_site


def test_a_course_in_bash_is_scored_as_by_nbgrader(site: LiveSite, course: Course) -> None:
    theirs: dict[str, Rows] = course.rows("sh")
    item = line_item("bash", cell_timeout=timedelta(seconds=CELL_SECONDS), strict_nbgrader=True)
    made = published(site, item, source())
    assert ReleaseCheck.objects.get(release=made).state == ReleaseCheck.State.PASSED
    assert [problem["code"] for problem in made.problems] == ["other_kernel", "stub_written"]
    submissions = {
        student: hand_in(made, f"sh-{student}", course.files(f"submitted/{student}", "sh")) for student in STUDENTS
    }
    until_graded(site, list(submissions.values()))
    assert {student: differences(submissions[student], rows) for student, rows in theirs.items()} == {
        student: {} for student in STUDENTS
    }
    assert not [student for student in STUDENTS if course.failed(student, "sh")]
    assert not [student for student, one in submissions.items() if one.autogradings.get().failures]
    scores = {student: row[0] for student, rows in theirs.items() for key, row in rows.items() if key[1:] == GREETS_ALL}
    assert (scores["ada"], scores["ben"], scores["cleo"]) == (1.5, 0, 0)
    for submission in submissions.values():
        run = submission.autogradings.get()
        assert run.environment_digest == environment_with_bash().digest
        assert not [note for note in run.notes if note["code"] == "kernel_unanswered"]


def test_an_endless_loop_ends_alone(site: LiveSite, course: Course) -> None:
    """Whether bash's kernel finds its way back from an interrupt is chance, with nbgrader as here: an end there is."""
    made = published(site, line_item("loops", cell_timeout=timedelta(seconds=2)), source())
    submission = hand_in(made, "loops", answered(course.files("release", "sh"), LOOPS))
    until_graded(site, [submission], 120)
    assert submission.autogradings.get().state in {Autograding.State.FINISHED, Autograding.State.FAILED}


@pytest.mark.parametrize("kernel", ["gone", "julia-1.9"])
def test_a_kernel_that_does_not_start_or_went_from_the_environment_fails_one_notebook_with_its_name(
    site: LiveSite, course: Course, kernel: str
) -> None:
    made = published(site, line_item(kernel), source())
    for row in made.notebooks.all():
        row.cells = {**row.cells, "kernel": kernel}
        row.save(update_fields=["cells"])
    submission = hand_in(made, f"{kernel}-ada", course.files("submitted/ada", "sh"))
    until_graded(site, [submission])
    (failure,) = submission.autogradings.get().failures
    assert (failure["code"], failure["params"]) == ("no_kernel", {"kernel": kernel})


def test_a_notebook_for_a_kernel_that_is_not_there_cannot_be_published(site: LiveSite) -> None:
    julia = source()["sh.ipynb"].replace(b'"name": "bash"', b'"name": "julia-1.9"')
    made = release.draft(line_item("nowhere"), {"sh.ipynb": julia}, None)
    assert made.state == Release.State.BROKEN
    assert made.problems[0]["params"] == {"kernel": "julia-1.9", "kernels": ["python3", "bash", "gone"]}
