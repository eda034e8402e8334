"""A draft thrown away: for what was uploaded by mistake and never seen by a student."""

from __future__ import annotations

from django.db import transaction
from django.utils.translation import gettext_lazy as _

from classroom.errors import ClassroomError
from classroom.models import Assignment, DriveCopy, Extension, Group, GroupMember, Work, WorkMember
from classroom.workspaces import account_of
from grading.check import account_of_item
from grading.models import Release
from runtimes import launch as runtimes
from runtimes import usage
from runtimes.models import Runtime, Workspace


class NotADraft(ClassroomError):
    """Students have seen it, or are about to."""

    user_message = _("Only a draft that was never published can be discarded. Close the assignment instead.")


def discardable(assignment: Assignment) -> bool:
    """Whether it may be thrown away: a draft, and no student ever opened it."""
    if assignment.state != Assignment.State.DRAFT or assignment.release_id is not None:
        return False
    return not Work.objects.filter(assignment=assignment, preview=False).exists()


def discard(assignment: Assignment) -> None:
    """Deletes the draft with its versions and its teachers' previews. Raises NotADraft.

    Workspaces of previews stay as rows without a work. What checks of it used is charged to the course from now on.
    """
    with transaction.atomic():
        # A write first: whoever publishes at the same moment waits, and then finds nothing to publish.
        draft = Assignment.objects.filter(pk=assignment.pk, state=Assignment.State.DRAFT, release=None)
        if not draft.update(next_release=None) or not discardable(assignment):
            raise NotADraft(str(assignment.pk))
        _end_previews(assignment)
        Extension.objects.filter(assignment=assignment).delete()
        GroupMember.objects.filter(assignment=assignment).delete()
        Group.objects.filter(assignment=assignment).delete()
        draft.delete()
        Release.objects.filter(line_item=assignment.line_item_id).delete()
        assignment.line_item.delete()
        usage.charge(account_of_item(assignment.line_item_id), account_of(assignment.course_id))


def _end_previews(assignment: Assignment) -> None:
    works = Work.objects.filter(assignment=assignment)
    workspaces = list(works.values_list("workspace", flat=True))
    for runtime in Runtime.objects.filter(workspace__in=workspaces, state__in=Runtime.LIVE):
        runtimes.stop(runtime)
    Workspace.objects.filter(pk__in=workspaces).update(read_only=True)
    DriveCopy.objects.filter(work__in=works).delete()
    WorkMember.objects.filter(assignment=assignment).delete()
    works.delete()
