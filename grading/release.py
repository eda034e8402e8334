"""A teacher's files to a numbered release: draft, check in the sandbox (`check.py`), publish."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django.db import IntegrityError, transaction
from django.db.models import Max, Q
from django.utils import timezone

from grading import cells, engine, states
from grading.check import check, requeue_checks
from grading.engine import Generated, Problem
from grading.engine.gradebook_values import Place
from grading.engine.instantiate import known_tests
from grading.errors import NotPublishable
from grading.models import LineItem, Release, ReleaseCheck
from grading.specify import COURSE_FOLDER, assignment_files, settings_to_make, store_notebooks
from runtimes import storage
from runtimes.models import Snapshot

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractUser as Person

__all__ = ["check", "draft", "publish", "requeue_checks"]

_NUMBER_RACES = 20


def draft(
    line_item: LineItem,
    files: Mapping[str, bytes],
    author: Person | None,
    *,
    course_files: Mapping[str, bytes] | None = None,
    traits: Mapping[str, Mapping[str, Any]] | None = None,
    sources: Mapping[Place, str] | None = None,
) -> Release:
    """A new release of an assignment, parsed, with every problem that can be seen without running anything.

    `course_files` are nbgrader's files of the course (`header.ipynb`, `footer.ipynb`, `autotests.yml`), `traits` its
    settings by class and name, `sources` the cells of a gradebook (their AUTOTEST lines were tests already). Bad
    notebooks are problems of the release. Raises UnsafePath for a file's name.
    """
    source = {**files, **{COURSE_FOLDER + name: data for name, data in (course_files or {}).items()}}
    settings = {"traits": {name: dict(values) for name, values in (traits or {}).items()}}
    if line_item.graded:
        ours, about = assignment_files(source), settings_to_make(line_item, settings, source)
        made = engine.generate(ours, about, known_tests(ours, about, sources) if sources else None)
    else:
        made = _tutorial(assignment_files(source))
    broken = any(problem.severity == "error" for problem in made.problems)
    ready = not broken and not made.pending
    return _store(
        made,
        line_item=line_item,
        author=author,
        engine_settings=settings,
        source=storage.snapshot_of(source),
        student=storage.snapshot_of(made.student_files) if ready else None,
        state=states.after_draft(errors=broken),
        problems=[problem.as_json() for problem in made.problems],
        max_score=cells.summary(cell for notebook in made.notebooks for cell in notebook.graded).points,
    )


def _tutorial(files: Mapping[str, bytes]) -> Generated:
    """A tutorial is given out as it is; only what is no notebook at all is a problem."""
    found: list[Problem] = []
    for path in sorted(path for path in files if path.endswith(".ipynb")):
        found.extend(engine.readable(path, files[path]))
    if not any(path.endswith(".ipynb") for path in files):
        found.append(Problem("no_notebooks", ""))
    return Generated(dict(files), (), tuple(found))


def _store(made: Generated, *, line_item: LineItem, student: Snapshot | None, **fields: Any) -> Release:
    """The rows, under the next free number."""
    for race in range(_NUMBER_RACES):
        try:
            with transaction.atomic():
                last = line_item.releases.aggregate(last=Max("number"))["last"] or 0
                release = Release.objects.create(line_item=line_item, number=last + 1, student=student, **fields)
                store_notebooks(release, made.notebooks)
                if release.state == Release.State.DRAFT and line_item.graded:
                    ReleaseCheck.objects.create(release=release, total=len(made.notebooks))
                return release
        except IntegrityError:
            # Somebody took the number between the two statements (PostgreSQL; SQLite lets one in at a time).
            if race == _NUMBER_RACES - 1:
                raise
    raise AssertionError("unreachable")


def publish(release: Release, *, anyway: bool = False, unrun: bool = False) -> None:
    """Freezes a checked release. A tutorial needs no check. Publishing twice changes nothing.

    `unrun` is for what was taught and graded elsewhere before: its solution is run later, and the result is only told.
    Raises NotPublishable, also when the solution did not get full marks, unless `anyway`.
    """
    if Release.objects.filter(pk=release.pk, state=Release.State.PUBLISHED).exists():
        return
    ready = Q(state=Release.State.CHECKED) if release.line_item.graded else Q(state=Release.State.DRAFT)
    if unrun:
        ready |= Q(state=Release.State.DRAFT)
    elif release.line_item.graded and not anyway:
        ready &= Q(check_run__state=ReleaseCheck.State.PASSED)
    moved = Release.objects.filter(ready, pk=release.pk, student__isnull=False)
    # A condition on another table cannot be part of an UPDATE on every database: it goes in as a subquery.
    open_states = [Release.State.CHECKED, Release.State.DRAFT]
    published = Release.objects.filter(pk__in=moved.values("pk"), state__in=open_states).update(
        state=Release.State.PUBLISHED, published_at=timezone.now()
    )
    if not published:
        raise NotPublishable(f"release {release.pk}")
    release.refresh_from_db(fields=["state", "published_at"])
