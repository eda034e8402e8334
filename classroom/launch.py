"""Opening work: a workspace of one's own on first open, and who may be in it, asked on every notebook request."""

from __future__ import annotations

from asgiref.sync import sync_to_async
from django.db import IntegrityError, transaction
from django.utils import timezone

from classroom.access import Act, in_section, may
from classroom.deadlines import is_open
from classroom.errors import Closed, NothingToPreview, NotOpenYet
from classroom.group import group_of, settle
from classroom.models import Assignment, Enrollment, Group, Work, WorkMember
from classroom.people.models import User
from classroom.terms import terms_of
from classroom.workspaces import filled
from grading.models import Release
from runtimes import launch as runtimes
from runtimes.jupyter.hooks import Access, Mode
from runtimes.models import Runtime, Workspace


def open_work(assignment: Assignment, user: User) -> Work:
    """The person's work, made and filled with the student version on first open. Any number of calls make one.

    Who may is the caller's question. Raises NotOpenYet or Closed where there is no work yet and none may begin.
    """
    work, group = _work_of(assignment, user, preview=False), group_of(assignment, user)
    if group is not None and (work is None or work.group_id != group.pk):
        # The group was formed while the person began alone, or another member has begun.
        settle(group)
        work = _work_of(assignment, user, preview=False)
    if work is not None:
        return work
    release = _open_release(assignment, user)
    try:
        return _begin(assignment, release, user, group=group)
    except IntegrityError:
        # A second click, or another member of the group, was first: theirs is the one.
        if group is not None:
            settle(group)
        work = _work_of(assignment, user, preview=False)
        if work is None:
            raise
        return work


def work_of(assignment: Assignment, user: User) -> Work | None:
    """The work that the person has opened before, if any."""
    return _work_of(assignment, user, preview=False)


def preview(assignment: Assignment, user: User, *, afresh: bool = False) -> Work:
    """A teacher's own try of the newest student version, published or not. A newer version, or `afresh`, begins again.

    Raises NothingToPreview.
    """
    release = _newest_student_version(assignment)
    work = _work_of(assignment, user, preview=True)
    if work is None:
        try:
            return _begin(assignment, release, user, preview=True)
        except IntegrityError:
            work = _work_of(assignment, user, preview=True)
            if work is None:
                raise
    if afresh or work.release_id != release.pk:
        _begin_again(work, release)
    return work


async def workspace_access(subject: str, slug: str) -> Access | None:
    """What `subject` may do in the workspace by today's enrollments, dates and states. None: nothing (any more)."""
    return await sync_to_async(access_now)(subject, slug)


def access_now(subject: str, slug: str) -> Access | None:
    """The same for callers without an event loop."""
    if not subject.isdigit():
        return None
    work = Work.objects.select_related("assignment__course", "workspace").filter(workspace__slug=slug).first()
    if work is None:
        return None
    mine = (
        Enrollment.objects.select_related("user")
        .filter(course=work.assignment.course_id, user=int(subject), user__is_active=True)
        .first()
    )
    return access_of(work, mine, mine.user) if mine is not None else None


def access_of(work: Work, mine: Enrollment, user: User) -> Access | None:
    """The same for the user of an enrollment in the work's course. `work` must have its `assignment__course`."""
    mode = _mode(work, mine, user)
    if mode is None:
        return None
    return Access(mode=mode, display_name=user.get_full_name(), language=user.language or "en", theme=user.theme)


def _mode(work: Work, mine: Enrollment, user: User) -> Mode | None:
    if not may(mine.role, mine.state, Act.READ):
        return None
    members = Enrollment.objects.filter(course=work.assignment.course_id, user__work_memberships__work=work)
    sections = dict(members.values_list("user_id", "section_id"))
    if mine.user_id in sections:
        return _own_mode(work, mine, user)
    if not may(mine.role, mine.state, Act.REVIEW):
        return None
    theirs = any(
        in_section(role=mine.role, section_id=mine.section_id, other_section_id=section)
        for section in sections.values()
    )
    return "read" if theirs else None


def _own_mode(work: Work, mine: Enrollment, user: User) -> Mode:
    if not may(mine.role, mine.state, Act.PREVIEW if work.preview else Act.LAUNCH):
        return "read"
    if work.preview:
        return "write"
    return "write" if is_open(work.assignment, terms_of(work.assignment, user), timezone.now()) else "read"


def _work_of(assignment: Assignment, user: User, *, preview: bool) -> Work | None:
    member = (
        WorkMember.objects.select_related("work__workspace", "work__release", "work__assignment__course")
        .filter(assignment=assignment, user=user, preview=preview)
        .first()
    )
    return member.work if member else None


def _open_release(assignment: Assignment, user: User) -> Release:
    release = assignment.release
    if assignment.state in (Assignment.State.DRAFT, Assignment.State.SCHEDULED) or release is None:
        raise NotOpenYet(str(assignment.pk))
    if not is_open(assignment, terms_of(assignment, user), timezone.now()):
        raise Closed(str(assignment.pk))
    return release


def _newest_student_version(assignment: Assignment) -> Release:
    release = (
        Release.objects.select_related("student")
        .filter(line_item=assignment.line_item_id, student__isnull=False)
        .order_by("-number")
        .first()
    )
    if release is None:
        raise NothingToPreview(str(assignment.pk))
    return release


def _begin(
    assignment: Assignment, release: Release, opener: User, *, group: Group | None = None, preview: bool = False
) -> Work:
    with transaction.atomic():
        work = Work.objects.create(
            assignment=assignment,
            workspace=_filled_workspace(assignment, release),
            release=release,
            group=group,
            preview=preview,
        )
        # Fails where the opener has a work already: the constraint decides a race, and the caller looks again.
        WorkMember.objects.create(work=work, assignment=assignment, user=opener, preview=preview)
        if group is not None:
            _bring_others(work, group, opener)
    return work


def _bring_others(work: Work, group: Group, opener: User) -> None:
    # Who began alone at this very moment is brought in when they open it again.
    others = group.members.exclude(pk=opener.pk).exclude(
        pk__in=WorkMember.objects.filter(assignment=work.assignment_id, preview=False).values("user")
    )
    WorkMember.objects.bulk_create(
        WorkMember(work=work, assignment_id=work.assignment_id, user=user) for user in others
    )


def _filled_workspace(assignment: Assignment, release: Release) -> Workspace:
    if release.student is None:
        raise NotOpenYet(f"release {release.pk} has no student version")
    return filled(assignment, release.student)


def _begin_again(work: Work, release: Release) -> None:
    former = work.workspace
    with transaction.atomic():
        work.workspace, work.release = _filled_workspace(work.assignment, release), release
        work.save(update_fields=["workspace", "release"])
        Workspace.objects.filter(pk=former.pk).update(read_only=True)
    for runtime in Runtime.objects.filter(workspace=former, state__in=Runtime.LIVE):
        runtimes.stop(runtime, reason="Requested")
