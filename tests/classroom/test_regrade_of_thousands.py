"""A regrade of 5,000 submissions: the pages take no more queries than for a few, and stay as light."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from classroom import publish, tasks, wake
from classroom.models import Enrollment
from classroom.people.models import User
from grading import regrade as steps
from grading.models import (
    Approval,
    Autograding,
    CellScore,
    GradeCell,
    LineItem,
    Regrade,
    RegradeChange,
    Release,
    Submission,
    SubmissionAuthor,
)
from tests.classroom.work import PS1, handed_in, source

MANY = 5000
SHOWS = ("moves", "counted")
REGRADES = "/c/data/a/ps1/teach/regrades/"
#: A page of a hundred rows, whoever they are; the bytes of a page of a photograph.
HEAVIEST_PAGE = 400_000


@pytest.fixture(autouse=True)
def nobody_is_woken(monkeypatch) -> None:
    monkeypatch.setattr(wake, "graders", lambda: None)
    monkeypatch.setattr(wake, "worker", lambda task, *keys: None)
    monkeypatch.setattr(wake, "send", lambda task, *keys: None)


def classmates(ps1, count: int) -> list[Submission]:
    """This many more students who have handed in the same, written straight into the tables."""
    known = User.objects.count()
    users = User.objects.bulk_create(
        User(username=f"s{n}", email=f"s{n}@example.org", display_name=f"Student {n:05}")
        for n in range(known, known + count)
    )
    Enrollment.objects.bulk_create(Enrollment(course=ps1.course, user=one, role="student") for one in users)
    pattern = Submission.objects.first()
    submissions = Submission.objects.bulk_create(
        Submission(
            line_item=ps1.line_item, release=pattern.release, snapshot=pattern.snapshot, attempt=1,
            authors_key=str(one.pk), request_key="click", state="graded",
        )
        for one in users
    )  # fmt: skip
    SubmissionAuthor.objects.bulk_create(
        SubmissionAuthor(submission=one, user=user) for one, user in zip(submissions, users, strict=True)
    )
    runs = Autograding.objects.bulk_create(
        Autograding(submission=one, release=one.release, state="finished", current=True) for one in submissions
    )
    scored(runs, Decimal(2))
    counted_by_the_database()
    return submissions


def counted_by_the_database() -> None:
    """What PostgreSQL does by itself some seconds after so many rows have come; here they come in one transaction."""
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def scored(runs: list[Autograding], points: Decimal) -> None:
    """Gives every run these points for its tests, and asks nobody to look."""
    cells = {row.notebook.release_id: row for row in GradeCell.objects.filter(kind="tests").select_related("notebook")}
    CellScore.objects.bulk_create(
        CellScore(autograding=run, cell=cells[run.release_id], auto_score=points) for run in runs
    )


def tried(found: Regrade, points: Decimal) -> None:
    waiting = list(found.candidates.filter(state="queued"))
    scored(waiting, points)
    found.candidates.filter(state="queued").update(state="finished")
    counted_by_the_database()


@pytest.fixture
def regrade(ps1, ada, grace) -> Regrade:
    """Of five submissions, by a version of which only the number is new."""
    Autograding.objects.filter(submission=handed_in(ps1, ada)).delete()
    made = publish.upload(ps1, {PS1: source()}, grace, keep_others=True)
    Release.objects.filter(pk=made.pk).update(state=Release.State.CHECKED)
    made.refresh_from_db()
    found = steps.start(ps1.line_item, made, classmates(ps1, 5), grace, reason="x")
    tried(found, Decimal(1))
    return found


def test_thousands_take_no_more_queries_than_a_few(ps1, regrade, grace, as_user):
    LineItem.objects.filter(pk=ps1.line_item_id).update(keep=LineItem.Keep.BEST)
    client = as_user(grace)
    address = f"{REGRADES}{regrade.pk}/"
    move = f"{address}move/"
    client.get(address)

    def taken(act) -> tuple[int, Any]:
        with CaptureQueriesContext(connection) as context:
            answer = act()
        assert answer.status_code in {200, 302}
        return len(context), answer

    few = [taken(lambda show=show: client.get(address, {"show": show, "page": "50"}))[0] for show in SHOWS]
    steps.include(regrade, classmates(ps1, MANY))
    tried(regrade, Decimal(1))
    assert regrade.candidates.count() == MANY + 5
    many = [taken(lambda show=show: client.get(address, {"show": show, "page": "50"})) for show in SHOWS]
    assert [count for count, _answer in many] == few
    answer = many[0][1]
    assert answer.content.count(b'name="chosen"') == len(answer.context["part"]) == 100
    assert len(answer.content) < HEAVIEST_PAGE

    # All but two, on two pages, in one short move.
    page = answer.context["page"]
    first, last = (line.difference.submission for line in (page.lines[0], page.lines[-1]))
    assert taken(lambda: client.post(move, {"on_page": str(first.pk), "page": "51"}))[0] < 20
    body = {"on_page": str(last.pk), "act": "approve_all", "digest": page.digest, "reason": "x"}
    lines_at_once = 500
    assert taken(lambda: client.post(move, body))[0] < 40 + MANY // lines_at_once
    [approval] = Approval.objects.all()
    assert approval.lines.count() == MANY + 3
    assert not approval.lines.filter(candidate__submission__in=[first, last]).exists()

    # A worker's turn takes some of them, and leaves the rest to the next. The page asks for the progress alone.
    tasks.take_over(approval.pk)
    assert RegradeChange.objects.count() == 200
    count, progress = taken(lambda: client.get(address, headers={"HX-Request": "true"}))
    assert count < 15
    assert (progress.context["page"].taking.done, progress.context["page"].taking.all) == (200, MANY + 3)
