"""`manage.py import_nbgrader`: an nbgrader course comes in with every score, mark and comment, once."""

from __future__ import annotations

import re
from decimal import Decimal
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from bench._nbgrader_course import Course as Nbgrader
from classroom.models import Assignment, Course, Enrollment, Extension, Work
from classroom.people.models import User
from grading import review
from grading.engine.gradebook_values import BookComment, BookGrade
from grading.models import Autograding, Comment, Mark, Submission
from tests.migrate.conftest import Comments, Grades, book_of

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(600)]


def imported(folder: Path, *more: str, course: str = "course101") -> str:
    said = StringIO()
    call_command("import_nbgrader", str(folder), f"--course={course}", *more, stdout=said)
    return said.getvalue()


def rows_here() -> tuple[Grades, Comments]:
    """What the site says of each cell, in the gradebook's words."""
    grades: Grades = {}
    comments: Comments = {}
    ids = dict(Enrollment.objects.values_list("user_id", "student_id"))
    for submission in Submission.objects.prefetch_related("authors").select_related("line_item"):
        student, name = ids[submission.authors.get().pk], submission.line_item.label.split("/")[1]
        for row in review.marked_cells(submission):
            place = (name, student, row.cell.notebook.name, row.cell.grade_id)
            if row.graded:
                given = (row.points.auto_score, row.points.manual_score, row.points.extra_credit)
                numbers = (None if value is None else float(value) for value in given)
                grades[place] = BookGrade(*numbers, needs_manual_grade=row.points.needs_manual_grade)
            comments[place] = BookComment(row.auto_comment, row.comment.text if row.comment else "")
    return grades, comments


def counts() -> list[int]:
    return [
        model.objects.count()
        for model in (User, Enrollment, Assignment, Submission, Autograding, Mark, Comment, Work, Extension)
    ]


def test_every_score_mark_and_comment_of_the_gradebook_is_here(taught: Nbgrader, folder: Path, grace: User) -> None:
    imported(folder, "--teacher=grace")
    grades, comments, totals = book_of(taught.folder)
    ours, said = rows_here()
    # nbgrader could not grade finn's to its end: it left half of the rows and no autograded copy. The site grades it.
    grades = {place: grade for place, grade in grades.items() if place[1] != "finn"}
    assert {place: ours[place] for place in grades} == grades
    assert {place: said[place] for place in comments} == comments
    assert len(grades) > 30
    for (_, student), (score, most, _flag, seconds_late, *_rest) in totals.items():
        if student == "finn":
            continue
        submission = Submission.objects.get(authors__enrollments__student_id=student)
        total = review.total_of(submission)
        assert (float(total.raw), float(total.max_score)) == (score, most), student
        assert submission.late_by.total_seconds() == seconds_late, student


def test_people_come_in_as_invited_students_with_their_ids_and_names(folder: Path, grace: User, ada: User) -> None:
    said = imported(folder, "--teacher=grace")
    course = Course.objects.get(slug="course101")
    states = set(course.enrollments.filter(role="student").values_list("state", flat=True))
    assert states == {"invited"}
    mine = course.enrollments.get(student_id="ada")
    assert mine.user == ada, "the same email is the same person"
    ben = course.enrollments.select_related("user").get(student_id="ben")
    assert (ben.lms_user_id, ben.user.get_full_name(), ben.user.first_name) == ("lms-42", "Ben Baker", "Ben")
    assert not ben.user.has_usable_password()
    assert "students enrolled" in said


def test_dates_late_policy_and_extensions_come_in(folder: Path, grace: User) -> None:
    imported(folder, "--teacher=grace")
    assignment = Assignment.objects.select_related("line_item").get()
    assert assignment.due_at is not None
    assert assignment.due_at.isoformat() == "2024-03-01T17:00:00+00:00"
    assert assignment.line_item.late_policy == "zero"
    assert assignment.line_item.cell_timeout.total_seconds() == 5
    ben = Submission.objects.get(authors__enrollments__student_id="ben")
    assert ben.received_at.isoformat() == "2024-03-03T09:30:00.250000+00:00"
    assert review.total_of(ben).score == 0
    dan = Submission.objects.get(authors__enrollments__student_id="dan")
    assert dan.late_by.total_seconds() == 0
    assert Extension.objects.get().user == dan.authors.get()


def test_what_nbgrader_did_not_grade_waits_for_the_site(folder: Path, grace: User) -> None:
    said = imported(folder, "--teacher=grace")
    waiting = Submission.objects.filter(autogradings__state=Autograding.State.QUEUED)
    assert {one.authors.get().enrollments.get().student_id for one in waiting} == {"finn"}
    assert "manage.py autograde --course course101 --wait" in said


def test_imported_twice_is_imported_once(folder: Path, grace: User) -> None:
    imported(folder, "--teacher=grace")
    before = counts()
    said = imported(folder)
    assert counts() == before
    assert re.search(r"submissions new +0\n", said)


def test_a_changed_folder_adds_what_is_new_and_replaces_nothing(folder: Path, grace: User, tim: User) -> None:
    imported(folder, "--teacher=grace")
    ada = Submission.objects.get(authors__enrollments__student_id="ada")
    cell = next(row.cell for row in review.marked_cells(ada) if row.cell.grade_id == "sum_of_squares_equation")
    review.give(ada, cell, tim, manual_score=Decimal(1))
    source = folder / "submitted" / "cleo" / "ps1"
    again = folder / "submitted" / "gus" / "ps1"
    again.mkdir(parents=True)
    for path in source.iterdir():
        again.joinpath(path.name).write_bytes(path.read_bytes())
    source.joinpath("notes.txt").write_text("I looked again.")
    said = imported(folder)
    assert Submission.objects.filter(authors__enrollments__student_id="gus").count() == 1
    assert list(
        Submission.objects.filter(authors__enrollments__student_id="cleo")
        .values_list("attempt", flat=True)
        .order_by("attempt")
    ) == [1, 2]
    newest = ada.marks.filter(cell=cell).order_by("-pk")[0]
    assert (newest.author, newest.manual_score) == (tim, 1)
    assert "ps1, ada: has other marks or comments here" in said


def test_the_configuration_is_read_and_never_run(folder: Path, grace: User, monkeypatch, tmp_path: Path) -> None:
    with folder.joinpath("nbgrader_config.py").open("a") as config:
        config.write("\nimport os\nc.Exchange.root = os.path.join('a', 'b')\nos.mkdir('i-was-run')\n")
    monkeypatch.chdir(tmp_path)
    said = imported(folder, "--teacher=grace")
    assert not list(tmp_path.rglob("i-was-run"))
    assert "c.Exchange.root is not a plain value" in said
    assert "only lines like c.Class.name = value are understood" in said


def test_a_course_without_a_gradebook_comes_in_and_waits(folder: Path, grace: User) -> None:
    folder.joinpath("gradebook.db").unlink()
    said = imported(folder, "--teacher=grace")
    assert "gradebook.db: is not there" in said
    assert Submission.objects.count() == 6
    assert Autograding.objects.filter(state=Autograding.State.QUEUED).count() == 6


def test_a_course_needs_somebody_who_teaches_it(folder: Path, db: None) -> None:
    with pytest.raises(CommandError, match="Say who teaches it: --teacher"):
        imported(folder)
    with pytest.raises(CommandError, match="Nobody here is called 'nobody'"):
        imported(folder, "--teacher=nobody")
    with pytest.raises(CommandError, match="is not a folder"):
        imported(folder / "missing")
    assert not Course.objects.exists()
