"""From a teacher's files to what students see: made, uploaded, published now or at a time, closed, opened again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import structlog
from django.db import IntegrityError, transaction
from django.db.models import Max, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from classroom import machines, wake
from classroom.errors import ClassroomError
from classroom.models import Assignment, Course, Work, WorkMember
from classroom.people.models import User
from grading import release as releases
from grading.errors import NotPublishable
from grading.models import LineItem, Release, Submission
from runtimes import storage
from runtimes.bus import publish_on_commit

State = Assignment.State
_log = structlog.get_logger(__name__)


class CannotPublish(ClassroomError):
    """The assignment is not in a state in which this can be done."""

    user_message = _("This was changed meanwhile by someone else, so nothing was done. Look at the page again.")


class NameTaken(ClassroomError):
    """The course has an assignment of that short name."""

    user_message = _("The course has an assignment of that name already. Choose another short name.")


class CourseArchived(ClassroomError):
    """Nothing changes in an archived course."""

    user_message = _("The course is archived, so nothing was changed. Open it again in its settings.")


@dataclass(frozen=True)
class Audience:
    """Whom a publication reaches. `opened` have their own copy of an earlier version and keep it."""

    students: int
    opened: int
    submitted: int

    @property
    def fresh(self) -> int:
        """How many will get the new version when they open it."""
        return max(0, self.students - self.opened)


def create(
    course: Course, *, slug: str, title: str, graded: bool = True, unit: str = "", hide_scores: bool = False
) -> Assignment:
    """A draft at the end of the course page, without files. Raises NameTaken, CourseArchived."""
    check_runs(course)
    last = course.assignments.aggregate(last=Max("position"))["last"] or 0
    try:
        with transaction.atomic():
            item = LineItem.objects.create(
                label=f"{course.slug}/{slug}", graded=graded, profile=machines.grading(), time_zone=course.time_zone
            )
            return Assignment.objects.create(
                course=course,
                slug=slug,
                title=title,
                unit=unit,
                position=last + 1,
                line_item=item,
                profile=machines.interactive(),
                hide_scores=hide_scores,
            )
    except IntegrityError as error:
        raise NameTaken(slug) from error


def upload(assignment: Assignment, files: Mapping[str, bytes], by: User, *, keep_others: bool = False) -> Release:
    """A new version with these files; its solution's run is queued. `keep_others` takes over what is not among them.

    Students see nothing of it. Raises UnsafePath, CourseArchived.
    """
    check_runs(assignment.course)
    latest = newest(assignment)
    kept = storage.read_snapshot(latest.source) if keep_others and latest is not None else {}
    release = releases.draft(assignment.line_item, {**kept, **files}, by)
    wake_check(release)
    return release


def wake_check(release: Release) -> None:
    """Queues the run of the solution, where there is one to run."""
    if release.state == Release.State.DRAFT and release.line_item.graded:
        wake.worker("check_release", release.pk)


def newest(assignment: Assignment) -> Release | None:
    """The latest version, published or not."""
    return (
        Release.objects.select_related("source", "student", "line_item")
        .filter(line_item=assignment.line_item_id)
        .order_by("-number")
        .first()
    )


def audience(assignment: Assignment, students: Mapping[int, object] | set[int]) -> Audience:
    """Whom publishing reaches; `students` are the user ids of the course's present students."""
    mine = set(students)
    opened = WorkMember.objects.filter(assignment=assignment, preview=False).values_list("user_id", flat=True)
    submitted = Submission.objects.filter(line_item=assignment.line_item_id).values_list("authorships__user", flat=True)
    return Audience(len(mine), len(mine & set(opened)), len(mine & set(submitted)))


def publish(assignment: Assignment, release: Release, *, anyway: bool = False, unrun: bool = False) -> None:
    """Students who open it from now on get `release`; work that is open keeps its own version.

    Publishing the same release twice changes nothing. `anyway` publishes although the solution did not get full marks,
    `unrun` before it was run. Raises NotPublishable, CannotPublish, CourseArchived.
    """
    check_runs(assignment.course)
    _check_belongs(assignment, release)
    with transaction.atomic():
        releases.publish(release, anyway=anyway, unrun=unrun)
        mine = Assignment.objects.filter(Q(release=None) | Q(release__number__lte=release.number), pk=assignment.pk)
        # A condition on another table cannot be part of an UPDATE: it goes in as a subquery.
        moved = Assignment.objects.filter(pk__in=mine.values("pk"))
        if not moved.update(release=release, next_release=None, publish_at=None):
            raise CannotPublish(f"assignment {assignment.pk} has a newer release")
        Assignment.objects.filter(pk=assignment.pk, state__in=[State.DRAFT, State.SCHEDULED]).update(state=State.OPEN)
        Assignment.objects.filter(pk=assignment.pk, opened_at=None).update(opened_at=timezone.now())
    assignment.refresh_from_db()


def schedule(assignment: Assignment, release: Release, at: datetime, *, anyway: bool = False) -> None:
    """Freezes `release` now and publishes it at `at`; what students see until then does not change.

    Raises NotPublishable, CannotPublish, CourseArchived.
    """
    check_runs(assignment.course)
    _check_belongs(assignment, release)
    with transaction.atomic():
        releases.publish(release, anyway=anyway)
        Assignment.objects.filter(pk=assignment.pk).update(next_release=release, publish_at=at)
        Assignment.objects.filter(pk=assignment.pk, state=State.DRAFT).update(state=State.SCHEDULED)
    assignment.refresh_from_db()


def unschedule(assignment: Assignment) -> None:
    """Takes the plan back; what is published stays."""
    with transaction.atomic():
        Assignment.objects.filter(pk=assignment.pk).update(next_release=None, publish_at=None)
        Assignment.objects.filter(pk=assignment.pk, state=State.SCHEDULED).update(state=State.DRAFT)
    assignment.refresh_from_db()


def close(assignment: Assignment) -> None:
    """Nobody opens, changes or hands in any more, but those with an extension. Closing twice changes nothing."""
    check_runs(assignment.course)
    _move(assignment, State.OPEN, State.CLOSED)


def reopen(assignment: Assignment) -> None:
    """Opens it for everyone again; a closing date that has passed goes, else it would close at once."""
    check_runs(assignment.course)
    with transaction.atomic():
        Assignment.objects.filter(pk=assignment.pk, closes_at__lte=timezone.now()).update(closes_at=None)
        _move(assignment, State.CLOSED, State.OPEN)


def publish_due() -> int:
    """Opens what is due and closes what is over, whoever calls it how often; the number of assignments that moved."""
    now = timezone.now()
    moved = 0
    running = Assignment.objects.select_related("course", "line_item").filter(course__archived_at=None)
    for assignment in running.filter(next_release__isnull=False, publish_at__lte=now).select_related("next_release"):
        assert assignment.next_release is not None
        try:
            publish(assignment, assignment.next_release, anyway=True)
            moved += 1
        except (NotPublishable, CannotPublish) as error:
            # One assignment that cannot be opened must not keep the others shut: its plan goes, its page says so.
            unschedule(assignment)
            _log.warning("publish_due", assignment=assignment.pk, error=type(error).__name__)
    for assignment in running.filter(state=State.OPEN, closes_at__lte=now):
        close(assignment)
        moved += 1
    return moved


def _move(assignment: Assignment, before: str, after: str) -> None:
    with transaction.atomic():
        if Assignment.objects.filter(pk=assignment.pk, state=before).update(state=after):
            access_changed(assignment)
    assignment.refresh_from_db()


def access_changed(assignment: Assignment) -> None:
    """Open notebooks of the assignment ask again whether they may be written in."""
    for slug in Work.objects.filter(assignment=assignment, preview=False).values_list("workspace__slug", flat=True):
        publish_on_commit(f"access:{slug}")


def check_runs(course: Course) -> None:
    """Raises CourseArchived."""
    if course.archived_at is not None:
        raise CourseArchived(course.slug)


def _check_belongs(assignment: Assignment, release: Release) -> None:
    if release.line_item_id != assignment.line_item_id:
        raise CannotPublish(f"release {release.pk} is not of assignment {assignment.pk}")
