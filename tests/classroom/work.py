"""A small problem set, published by the product's own verbs, and grades as the engine would leave them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import nbformat
from django.utils import timezone
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from classroom import launch, publish, submit
from classroom.models import Assignment, Course, Work
from classroom.people.models import User
from grading import states
from grading.models import Autograding, CellScore, GradeCell, Release, Submission
from runtimes import storage
from runtimes.models import Snapshot

PS1, DATA = "problem1.ipynb", "numbers.csv"
TESTS = "assert squares(3) == [0, 1, 4]\n### BEGIN HIDDEN TESTS\nassert squares(4)[3] == 9\n### END HIDDEN TESTS"


def _grader(grade_id: str, *, points: float | None, solution: bool, cell_type: str = "code") -> dict[str, Any]:
    about = {
        "grade_id": grade_id, "grade": points is not None, "solution": solution, "locked": not solution,
        "schema_version": 3, "cell_type": cell_type, "task": False,
    }  # fmt: skip
    return {"nbgrader": about | ({"points": points} if points is not None else {})}


def source() -> bytes:
    """A teacher's notebook: an answer (squares), its tests (2 points), an essay marked by hand (3 points)."""
    answer = "def squares(n):\n    ### BEGIN SOLUTION\n    return [i * i for i in range(n)]\n    ### END SOLUTION"
    notebook = new_notebook(
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        cells=[
            new_markdown_cell("# Problem 1\n\nWrite *squares*.", id="title"),
            new_code_cell(answer, id="squares", metadata=_grader("squares", points=None, solution=True)),
            new_code_cell(TESTS, id="tests", metadata=_grader("tests", points=2, solution=False)),
            new_markdown_cell(
                "Because.", id="essay", metadata=_grader("essay", points=3, solution=True, cell_type="markdown")
            ),
        ],
    )
    return nbformat.writes(notebook).encode()


def published(
    course: Course,
    teacher: User,
    *,
    slug: str = "ps1",
    graded: bool = True,
    more: Mapping[str, bytes] | None = None,
    **fields: Any,
) -> Assignment:
    """An open assignment, due in three days unless `due_at` says otherwise; `more` are files beside its notebook."""
    assignment = publish.create(course, slug=slug, title=f"Problem set {slug}", graded=graded, unit="Week 1")
    release = publish.upload(assignment, {PS1: source(), DATA: b"1,2,3\n", **(more or {})}, teacher)
    if graded:
        Release.objects.filter(pk=release.pk).update(state=Release.State.CHECKED)
        release.refresh_from_db()
    publish.publish(assignment, release, anyway=True)
    item = {name: fields.pop(name) for name in list(fields) if hasattr(assignment.line_item, name)}
    for name, value in item.items():
        setattr(assignment.line_item, name, value)
    assignment.line_item.save()
    for name, value in {"due_at": timezone.now() + timedelta(days=3), **fields}.items():
        setattr(assignment, name, value)
    assignment.save()
    return assignment


def work_of(assignment: Assignment, user: User) -> Work:
    """The person's opened work."""
    return launch.open_work(assignment, user)


def handed_in(assignment: Assignment, user: User, *, key: str = "click") -> Submission:
    """The person's submission of their work as it is."""
    return submit.submit(work_of(assignment, user), user, request_key=key).submission


def graded(
    submission: Submission, *, tests: Decimal | None = Decimal(2), failed_tests: str = "", said: Sequence[str] = ()
) -> Submission:
    """The submission as the engine leaves it: the tests scored, the essay for a person. The tests say what is said."""
    Autograding.objects.filter(submission=submission).delete()
    run = Autograding.objects.create(
        submission=submission, release=submission.release, state=Autograding.State.FINISHED, current=True,
        finished_at=timezone.now(), log="ran",
        result=_executed(submission, failed_tests, said), engine_version="nbgrader",
    )  # fmt: skip
    flags = []
    for cell in GradeCell.objects.filter(notebook__release=submission.release).exclude(kind=GradeCell.Kind.ANSWER):
        score = tests if cell.kind == GradeCell.Kind.TESTS else None
        flags.append(score is None)
        CellScore.objects.create(
            autograding=run, cell=cell, auto_score=score, needs_manual_grade=score is None,
            failed_tests=failed_tests if cell.kind == GradeCell.Kind.TESTS else "",
        )  # fmt: skip
    submission.state = states.after_grading(failed=False, flags=flags)
    submission.save(update_fields=["state"])
    return submission


def _executed(submission: Submission, failed_tests: str, said: Sequence[str]) -> Snapshot:
    """What was handed in as the engine runs it: with the hidden tests, and the error that a failed one leaves."""
    files = storage.read_snapshot(submission.snapshot)
    content = json.loads(files[PS1])
    tests = next(cell for cell in content["cells"] if cell["id"] == "tests")
    tests["source"] = TESTS
    if failed_tests:
        name, _colon, value = failed_tests.partition(": ")
        error = {
            "output_type": "error",
            "ename": name,
            "evalue": value,
            "traceback": ["Cell In[2], line 1", failed_tests],
        }
        tests["outputs"] = [error]
    if said:
        tests["source"] += "".join(f"\nprint('FEEDBACK: {line}')" for line in said)
        text = "".join(f"FEEDBACK: {line}\n" for line in said)
        tests["outputs"] = [{"output_type": "stream", "name": "stdout", "text": text}, *tests.get("outputs", [])]
    files[PS1] = json.dumps(content).encode()
    return storage.snapshot_of(files)


def cell_of(submission: Submission, grade_id: str) -> GradeCell:
    """The cell of the release with this id."""
    return GradeCell.objects.select_related("notebook").get(notebook__release=submission.release, grade_id=grade_id)
