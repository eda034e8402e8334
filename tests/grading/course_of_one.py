"""One small assignment for tests of verbs: an answer, tests with a hidden one, a written answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from classroom.people.models import User
from grading import check, collect, release
from grading.errors import GraderUnavailable
from grading.lend import Lender
from grading.models import LineItem, Release, Submission
from runtimes import storage
from runtimes.models import Profile
from tests.grading.corpus import Files, answered, dump
from tests.grading.plain_sandbox import PlainSandbox, PlainSandboxes

_BASE = {"grade": False, "solution": False, "locked": False, "schema_version": 3}
TESTS = "assert answer\n### BEGIN HIDDEN TESTS\nassert answer == 42, 'the hidden reason'\n### END HIDDEN TESTS"
CELLS = [
    new_code_cell(
        "### BEGIN SOLUTION\nanswer = 42\n### END SOLUTION",
        metadata={"nbgrader": {**_BASE, "solution": True, "grade_id": "answer"}},
    ),
    new_code_cell(
        TESTS, metadata={"nbgrader": {**_BASE, "grade": True, "locked": True, "grade_id": "tests", "points": 3}}
    ),
    new_markdown_cell(
        "Because.", metadata={"nbgrader": {**_BASE, "grade": True, "solution": True, "grade_id": "why", "points": 2}}
    ),
]
PYTHON = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
SOURCE: Files = {"p.ipynb": dump(new_notebook(cells=CELLS, metadata=PYTHON)), "data.txt": b"given"}


def line_item(**fields: object) -> LineItem:
    profile = Profile.objects.get_or_create(slug="small", defaults={"name": "Small"})[0]
    return LineItem.objects.create(label="small", profile=profile, **fields)


def lending(sandboxes: Lender) -> Any:
    """A `Lend` that always lends the same."""

    def lend(*, profile: Profile, account: str, preload: Sequence[str]) -> Lender:
        return sandboxes

    return lend


class NoSandbox:
    """A provider that has no place."""

    environment_digest = ""

    def __call__(self, *, files: Mapping[str, bytes], kernel: str) -> AbstractAsyncContextManager[PlainSandbox]:
        raise GraderUnavailable("no place")


def published(sandboxes: PlainSandboxes, item: LineItem | None = None, files: Files | None = None) -> Release:
    made = release.draft(item or line_item(), files or SOURCE, None)
    assert check.check(made.pk, lend=lending(sandboxes))
    made.refresh_from_db()
    release.publish(made)
    return made


def handed_in(
    made: Release,
    *authors: User,
    answers: Mapping[str, str] | None = None,
    key: str = "click",
    at: datetime | None = None,
    late: timedelta | None = None,
    extra: Files | None = None,
) -> Submission:
    received = at or timezone.now()
    files = answered(storage.read_snapshot(made.student), dict(answers or {}))
    return collect.collect(
        line_item=made.line_item,
        release=made,
        snapshot=storage.snapshot_of({**files, **(extra or {})}),
        authors=authors,
        received_at=received,
        due_at=None if late is None else received - late,
        request_key=key,
    )
