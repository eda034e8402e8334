"""The rows of `bench.storm`: a course before the storm, and what became of every click after it. Needs Django."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.contrib.auth.hashers import make_password
from django.db import connection

from bench._nbgrader_course import CELL_SECONDS, Course
from bench.grading import ANSWERS, answered
from classroom import courses, publish
from classroom.models import Enrollment, Work
from classroom.people.models import User
from grading import states
from grading.models import Autograding, CellScore, Release, Submission
from runtimes import storage

COURSE, ASSIGNMENT, PASSWORD = "storm", "ps1", "storm and thunder"
PATIENCE_SECONDS = 300


def prepare(course: Course, students: int) -> list[str]:
    """nbgrader's quickstart assignment, published and open; the user names of its students."""
    teacher = User.objects.create_user("teacher", "teacher@example.org", None)
    made = courses.create(slug=COURSE, title="Storm", term="now", time_zone="UTC", by=teacher)
    assignment = publish.create(made, slug=ASSIGNMENT, title="Problem set 1", graded=True, unit="")
    assignment.line_item.cell_timeout = timedelta(seconds=CELL_SECONDS)
    assignment.line_item.save()
    release = publish.upload(assignment, course.files("source"), teacher)
    _until_checked(release)
    publish.publish(assignment, release)
    password = make_password(PASSWORD)
    names = [f"s{number:03}" for number in range(students)]
    people = User.objects.bulk_create(
        User(username=name, email=f"{name}@example.org", password=password, display_name=name) for name in names
    )
    Enrollment.objects.bulk_create(
        Enrollment(course=made, user=person, role=Enrollment.Role.STUDENT) for person in people
    )
    return names


def _until_checked(release: Release) -> None:
    """The solution is run by the site's worker."""
    ends = time.monotonic() + PATIENCE_SECONDS
    while release.state in (Release.State.DRAFT, Release.State.CHECKING):
        if time.monotonic() > ends:
            raise RuntimeError("The solution was not run: is a worker there?")
        time.sleep(0.2)
        release.refresh_from_db()


def write_answers() -> None:
    """Everyone's notebooks as they will be handed in: right, wrong, blank, a warning on stderr, in turn."""
    for number, work in enumerate(Work.objects.select_related("workspace").order_by("pk")):
        files = storage.read_snapshot(storage.snapshot(work.workspace))
        for path, data in answered(files, ANSWERS[number % len(ANSWERS)]).items():
            if data != files[path]:
                storage.write(work.workspace, path, data)


def waiting() -> int:
    """Submissions that are not graded yet."""
    return Autograding.objects.filter(state__in=states.OPEN).count()


@dataclass(frozen=True)
class Outcome:
    """What the rows say of the clicks that got a receipt."""

    lost: int
    doubled: int
    ungraded: int
    wrong: int
    seconds_to_grade: Sequence[float]
    tries: int


def outcome(receipts: dict[str, str]) -> Outcome:
    """`receipts`: request key → code. Each must be one submission, graded once, with the scores of its answers."""
    rows = list(Submission.objects.values_list("request_key", "code"))
    by_key, codes = Counter(key for key, _code in rows), {code for _key, code in rows}
    fields = ("submission_id", "current", "state", "tries", "queued_at", "finished_at")
    runs = list(Autograding.objects.values_list(*fields))
    per_submission = Counter(run[0] for run in runs)
    done = [run for run in runs if run[1] and run[2] == Autograding.State.FINISHED]
    return Outcome(
        lost=sum(code not in codes for code in receipts.values()),
        doubled=sum(count > 1 for count in by_key.values()) + sum(count > 1 for count in per_submission.values()),
        ungraded=sum(by_key.values()) - len(done),
        wrong=_wrong(),
        seconds_to_grade=sorted((finished - queued).total_seconds() for *_rest, queued, finished in done),
        tries=max((run[3] for run in runs), default=0),
    )


def _wrong() -> int:
    """Submissions whose scores differ from the first one with the same files."""
    scores: dict[int, dict[tuple[int, str], object]] = {}
    found = CellScore.objects.filter(autograding__current=True).values_list(
        "autograding__submission_id", "autograding__submission__snapshot__digest", "cell_id", "auto_score"
    )
    digests: dict[int, str] = {}
    for submission, digest, cell, score in found:
        scores.setdefault(submission, {})[cell, digest] = score
        digests[submission] = digest
    first: dict[str, dict[tuple[int, str], object]] = {}
    return sum(first.setdefault(digests[one], rows) != rows for one, rows in scores.items())


def close() -> None:
    """Lets go of the database."""
    connection.close()
