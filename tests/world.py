"""A course in the middle of its life, made with the product's verbs: what tables of pages and roles are walked in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

import nbformat
from django.contrib.auth.models import Permission
from django.utils import timezone
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from classroom import launch, publish, roster
from classroom.demo.people import CAST
from classroom.models import Assignment, Course, Enrollment, Section, Work
from classroom.people.models import User
from grading import feedback, regrade, review
from grading.collect import collect
from grading.models import Autograding, CellScore, GradeCell, Regrade, Release, Submission
from runtimes import storage

NOTEBOOK = "squares.ipynb"


def graded_notebook() -> bytes:
    """Two points for code with tests, three for words that a person marks."""
    solution = "def square(n):\n    ### BEGIN SOLUTION\n    return n * n\n    ### END SOLUTION"
    return _notebook(
        new_markdown_cell("# Squares", id="title"),
        new_code_cell(solution, id="answer", metadata=_cell("square", solution=True)),
        new_code_cell("assert square(3) == 9", id="tests", metadata=_cell("test_square", grade=True, points=2)),
        new_markdown_cell("Because.", id="why", metadata=_cell("why", grade=True, solution=True, points=3)),
    )


def plain_notebook() -> bytes:
    """A tutorial of one cell."""
    return _notebook(new_code_cell("1 + 1", id="sum"))


def _notebook(*cells: nbformat.NotebookNode) -> bytes:
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    text: str = nbformat.writes(new_notebook(cells=list(cells), metadata=kernel))
    return text.encode()


def _cell(grade_id: str, *, grade: bool = False, solution: bool = False, points: int = 0) -> dict[str, object]:
    more = {"points": points} if grade else {}
    locked = grade and not solution
    about = {"grade_id": grade_id, "grade": grade, "solution": solution, "locked": locked, "schema_version": 3}
    return {"nbgrader": about | {"task": False} | more}


def published(course: Course, slug: str, by: User, *, graded: bool = True) -> Assignment:
    """An open assignment of one notebook; its solution counts as having been run."""
    assignment = publish.create(course, slug=slug, title=slug.capitalize(), graded=graded, unit="Week 1")
    files = {NOTEBOOK: graded_notebook() if graded else plain_notebook(), "data.csv": b"a,b\n1,2\n"}
    release = publish.upload(assignment, files, by)
    if graded:
        Release.objects.filter(pk=release.pk).update(state=Release.State.CHECKED)
        release.refresh_from_db()
    publish.publish(assignment, release, anyway=True)
    Assignment.objects.filter(pk=assignment.pk).update(due_at=timezone.now() + timedelta(days=7))
    assignment.refresh_from_db()
    return assignment


def handed_in(work: Work, user: User, *, request: str = "1") -> Submission:
    """What the workspace holds now, handed in."""
    assert work.release is not None
    return collect(
        line_item=work.assignment.line_item, release=work.release, snapshot=storage.snapshot(work.workspace),
        authors=[user], received_at=timezone.now(), due_at=work.assignment.due_at, request_key=request,
    )  # fmt: skip


def autograded(submission: Submission, points: Decimal = Decimal(2)) -> Submission:
    """Scored as the engine would have: the tests by `points`, the words left to a person."""
    grading = Autograding.objects.get(submission=submission, regrade=None)
    for cell in GradeCell.objects.filter(notebook__release=submission.release):
        manual = cell.kind in {GradeCell.Kind.MANUAL, GradeCell.Kind.TASK}
        CellScore.objects.create(
            autograding=grading, cell=cell, auto_score=None if manual else points, needs_manual_grade=manual
        )
    Autograding.objects.filter(pk=grading.pk).update(
        state=Autograding.State.FINISHED, current=True, finished_at=timezone.now(), result=submission.snapshot
    )
    Submission.objects.filter(pk=submission.pk).update(state=Submission.State.TO_REVIEW)
    submission.refresh_from_db()
    return submission


PASSWORD = "correct horse battery staple"


def make_user(username: str, **fields: Any) -> User:
    """Someone who signs in with PASSWORD."""
    more = {"display_name": username.capitalize(), **fields}
    return User.objects.create_user(username, f"{username}@example.org", PASSWORD, **more)


def make_teacher(username: str) -> User:
    """Someone who may make courses."""
    user = make_user(username)
    user.user_permissions.add(Permission.objects.get(content_type__app_label="classroom", codename="add_course"))
    return user


def make_course(users: Mapping[str, User]) -> Course:
    """The course `data`, with everyone of the cast in their role and section."""
    course = Course.objects.create(slug="data", title="Data", time_zone="Europe/Paris", created_by=users["grace"])
    sections = {name: Section.objects.create(course=course, name=name) for name in ("A", "B")}
    for person in CAST:
        Enrollment.objects.create(
            course=course, user=users[person.username], role=person.role, section=sections.get(person.section)
        )
    return course


@dataclass(frozen=True)
class World:
    """Course `data`: Ada's work is marked and given back, Ben's is handed in, Eve was dropped after opening hers."""

    course: Course
    assignment: Assignment
    tutorial: Assignment
    draft: Assignment
    ada_work: Work
    ada_submission: Submission
    ben_work: Work
    ben_submission: Submission
    eve_work: Work
    preview: Work
    regrade: Regrade


def build(course: Course) -> World:
    """The world around a course that has the whole cast."""
    people = {enrollment.user.username: enrollment.user for enrollment in course.enrollments.select_related("user")}
    grace, tim, ada, ben, eve = (people[name] for name in ("grace", "tim", "ada", "ben", "eve"))
    assignment = published(course, "ps1", grace)
    tutorial = published(course, "tutorial", grace, graded=False)
    draft = publish.create(course, slug="ps2", title="Ps2", unit="Week 2")
    publish.upload(draft, {NOTEBOOK: graded_notebook()}, grace)
    works = {user.username: launch.open_work(assignment, user) for user in (ada, ben, eve)}
    submissions = {user.username: autograded(handed_in(works[user.username], user)) for user in (ada, ben)}
    _mark(submissions["ada"], tim)
    feedback.release([submissions["ada"]], tim)
    roster.drop(Enrollment.objects.get(course=course, user=eve))
    return World(
        course=course, assignment=assignment, tutorial=tutorial, draft=draft, ada_work=works["ada"],
        ada_submission=submissions["ada"], ben_work=works["ben"], ben_submission=submissions["ben"],
        eve_work=works["eve"], preview=launch.preview(assignment, grace),
        regrade=_regraded(assignment, list(submissions.values()), grace),
    )  # fmt: skip


def _regraded(assignment: Assignment, submissions: list[Submission], by: User) -> Regrade:
    """Graded again with the published version, with a point less for everyone; not decided."""
    made = regrade.start(assignment.line_item, assignment.release, submissions, by, reason="A test was too kind.")
    return tried(made)


def tried(made: Regrade) -> Regrade:
    """Its candidates scored as the engine would have, with one point for each cell of tests."""
    for run in made.candidates.filter(state=Autograding.State.QUEUED):
        for cell in GradeCell.objects.filter(notebook__release=run.release_id):
            tests = cell.kind == GradeCell.Kind.TESTS
            needs_manual_grade = cell.kind in {GradeCell.Kind.MANUAL, GradeCell.Kind.TASK}
            CellScore.objects.create(
                autograding=run, cell=cell, auto_score=1 if tests else None, needs_manual_grade=needs_manual_grade
            )
    made.candidates.update(state=Autograding.State.FINISHED, started_at=timezone.now(), finished_at=timezone.now())
    return made


def _mark(submission: Submission, by: User) -> None:
    words = GradeCell.objects.get(notebook__release=submission.release, grade_id="why")
    review.give(submission, words, by, manual_score=Decimal(2), extra_credit=Decimal("0.5"))
    review.comment(submission, words, by, "Say **why** it holds for zero, too.")
    review.finish(submission, by)
    submission.refresh_from_db()
