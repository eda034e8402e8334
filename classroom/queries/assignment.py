"""One assignment as its teachers see it: the newest version's report, its check, and how far the students are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext, ngettext

from classroom import publish
from classroom.enter import Member
from classroom.models import Assignment
from classroom.queries.teach import Flow, flow_of
from classroom.templatetags.say import points
from grading import cells as counting
from grading.explain import FAILURES, PROBLEMS, explain
from grading.models import GradeCell, Release, ReleaseCheck, ReleaseNotebook
from runtimes.models import SnapshotFile

Check = ReleaseCheck.State
RUNNING = (Check.QUEUED, Check.RUNNING)


@dataclass(frozen=True)
class Trouble:
    """A problem in words, with its place. `cell` counts from 1; 0 means the file as a whole."""

    text: str
    path: str = ""
    cell: int = 0
    grade_id: str = ""
    error: bool = True


@dataclass(frozen=True)
class ReportCell:
    """A cell that carries points or an answer. `passed` is None where the solution's run says nothing about it."""

    cell: GradeCell
    troubles: Sequence[Trouble] = ()
    passed: bool | None = None
    score: float | None = None
    output: str = ""


@dataclass(frozen=True)
class ReportNotebook:
    """One notebook of the report."""

    notebook: ReleaseNotebook
    cells: Sequence[ReportCell]


@dataclass
class Report:
    """A version as far as it is known: what is in it, what is wrong with it, how its solution did."""

    release: Release
    check: ReleaseCheck | None
    files: Sequence[str]
    notebooks: Sequence[ReportNotebook] = ()
    others: Sequence[Trouble] = ()
    summary: counting.Summary | None = None
    failures: Sequence[str] = field(default=())

    @property
    def running(self) -> bool:
        """Whether the solution's run is still to come or to end."""
        return self.check is not None and self.check.state in RUNNING and self.release.state != Release.State.BROKEN

    @property
    def notebook_paths(self) -> list[str]:
        """The notebooks among the files."""
        return [path for path in self.files if path.endswith(".ipynb")]

    @property
    def data_paths(self) -> list[str]:
        """The other files."""
        return [path for path in self.files if not path.endswith(".ipynb")]

    @property
    def points(self) -> str:
        """What can be had and for what: "5 points: 1 autograded test, 1 written answer"."""
        if self.summary is None:
            return ""
        tests, manual, task = self.summary.tests.count, self.summary.manual.count, self.summary.task.count
        kinds = [
            ngettext("%(n)d autograded test", "%(n)d autograded tests", tests) % {"n": tests} if tests else "",
            ngettext("%(n)d written answer", "%(n)d written answers", manual) % {"n": manual} if manual else "",
            ngettext("%(n)d task", "%(n)d tasks", task) % {"n": task} if task else "",
        ]
        amount = self.summary.points
        total = ngettext("%(points)s point", "%(points)s points", int(amount)) % {"points": points(amount)}
        named = gettext(", ").join(kind for kind in kinds if kind)
        return gettext("%(total)s: %(kinds)s") % {"total": total, "kinds": named} if named else total

    @property
    def full_marks(self) -> bool:
        """Whether the solution passed all its tests."""
        return self.check is not None and self.check.state == Check.PASSED

    @property
    def publishable(self) -> bool:
        """Whether it may be published, with or without full marks."""
        state = self.release.state
        if self.release.student_id is None:
            return False
        return state in {Release.State.CHECKED, Release.State.PUBLISHED} or (
            state == Release.State.DRAFT and self.check is None
        )

    @property
    def stalled(self) -> bool:
        """Whether the check has waited so long that the page says what may be wrong."""
        return (
            self.check is not None
            and self.check.state == Check.QUEUED
            and (timezone.now() - self.check.queued_at).total_seconds() > 120
        )


@dataclass(frozen=True)
class Page:
    """Everything on an assignment's page."""

    assignment: Assignment
    report: Report | None
    flow: Flow
    audience: publish.Audience
    is_new: bool

    @property
    def published(self) -> bool:
        """Whether students have a version."""
        return self.assignment.release_id is not None

    @property
    def steps(self) -> dict[str, str]:
        """The path's steps: done, now, bad, or "" for what is still to come."""
        return _steps(self)


def page(me: Member, assignment: Assignment) -> Page:
    """The page's content. A dozen queries at most, however many cells and students."""
    found = report(assignment)
    return Page(
        assignment=assignment,
        report=found,
        flow=flow_of([assignment], me.students())[assignment.pk],
        audience=audience(me, assignment),
        is_new=found is not None and found.release.pk not in {assignment.release_id, assignment.next_release_id},
    )


def audience(me: Member, assignment: Assignment) -> publish.Audience:
    """Whom publishing reaches."""
    return publish.audience(assignment, set(me.students().values_list("user_id", flat=True)))


def report(assignment: Assignment) -> Report | None:
    """The newest version's report, or None before the first upload."""
    release = (
        Release.objects.all()
        .fetch_mode(models.FETCH_RAISE)
        .select_related("author", "check_run", "line_item")
        .filter(line_item=assignment.line_item_id)
        .order_by("-number")
        .first()
    )
    if release is None:
        return None
    check = getattr(release, "check_run", None)
    paths = SnapshotFile.objects.filter(snapshot=release.source_id).order_by("path").values_list("path", flat=True)
    found = Report(release=release, check=check, files=[path for path in paths if not path.startswith(".course/")])
    _fill(found)
    return found


def _fill(found: Report) -> None:
    troubles = [_trouble(row) for row in found.release.problems]
    results, failures = _results(found.check)
    notebooks = list(
        ReleaseNotebook.objects.all()
        .fetch_mode(models.FETCH_RAISE)
        .filter(release=found.release)
        .prefetch_related("grade_cells")
        .order_by("position", "name")
    )
    placed: set[int] = set()
    found.notebooks = [_notebook(notebook, troubles, results, placed) for notebook in notebooks]
    found.others = [trouble for index, trouble in enumerate(troubles) if index not in placed]
    found.summary = counting.summary(cell for notebook in notebooks for cell in notebook.grade_cells.all())
    found.failures = failures


def _trouble(row: Mapping[str, Any]) -> Trouble:
    return Trouble(
        text=explain(PROBLEMS, row),
        path=str(row.get("path", "")),
        cell=int(row.get("cell") or 0),
        grade_id=str(row.get("grade_id", "")),
        error=row.get("severity") != "warning",
    )


def problems_of(release: Release, path: str) -> dict[int, list[Trouble]]:
    """A notebook's problems by cell; 0 is the file as a whole."""
    found: dict[int, list[Trouble]] = {}
    for row in release.problems:
        trouble = _trouble(row)
        if trouble.path == path:
            found.setdefault(trouble.cell, []).append(trouble)
    return found


type Results = dict[tuple[str, str], Mapping[str, Any]]


def _results(check: ReleaseCheck | None) -> tuple[Results, list[str]]:
    """The solution's result by notebook and grade_id, and why notebooks could not be run to their end."""
    rows = check.results if check is not None else []
    failures = [_failure(row["failure"]) for row in rows if "failure" in row]
    return {(row["notebook"], row["grade_id"]): row for row in rows if "grade_id" in row}, failures


def _failure(row: Mapping[str, Any]) -> str:
    name, text = str(row.get("notebook", "")), explain(FAILURES, row)
    return f"{name}: {text}" if name else text


def _notebook(
    notebook: ReleaseNotebook, troubles: Sequence[Trouble], results: Results, placed: set[int]
) -> ReportNotebook:
    rows = []
    for cell in notebook.grade_cells.all():
        mine = []
        for index, trouble in enumerate(troubles):
            if trouble.path == notebook.path and trouble.grade_id == cell.grade_id and trouble.grade_id:
                mine.append(trouble)
                placed.add(index)
        result = results.get((notebook.name, cell.grade_id))
        rows.append(
            ReportCell(
                cell=cell,
                troubles=mine,
                passed=bool(result["passed"]) if result else None,
                score=result["score"] if result else None,
                output=str(result["output"]) if result else "",
            )
        )
    return ReportNotebook(notebook, rows)


def _steps(page: Page) -> dict[str, str]:
    found, flow = page.report, page.flow
    steps = dict.fromkeys(["notebooks", "checked", "published", "submissions", "marked", "returned"], "")
    steps["notebooks"] = "now" if found is None else "done"
    if found is not None:
        steps["checked"] = _checked(found)
        if page.is_new or not page.published:
            steps["published"] = "now" if steps["checked"] in {"done", "warn"} else ""
        else:
            steps["published"] = "done"
    if page.published and flow.submitted:
        steps["submissions"] = "done" if flow.people and flow.submitted >= flow.people else "now"
        steps["marked"] = "bad" if flow.failed else "done" if flow.marked else "now"
        steps["returned"] = "done" if flow.returned == flow.submitted else "now" if flow.returned else ""
    elif page.published and not page.is_new:
        steps["submissions"] = "now"
    return steps


def _checked(found: Report) -> str:
    if found.release.state == Release.State.BROKEN:
        return "bad"
    if found.check is None or found.full_marks:
        return "done"
    if found.check.state in RUNNING:
        return "now"
    return "warn" if found.publishable else "bad"
