"""Students who do one assignment together: groups formed, joined, left. Nothing that anybody wrote is lost.

A group has one work, and everyone in it is an author of what it hands in. Who comes with work of their own brings it:
the first such work becomes the group's, and of later ones what was written is put into a folder with the person's name.
Who leaves keeps a copy of the group's work. What was handed in keeps its authors, whatever happens to the group.
"""

from __future__ import annotations

from collections.abc import Iterable

from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from classroom.deadlines import is_open
from classroom.errors import ClassroomError
from classroom.models import Assignment, Enrollment, Group, GroupMember, Work, WorkMember
from classroom.people.models import User
from classroom.terms import terms_of
from classroom.workspaces import filled
from grading.models import Submission
from runtimes import launch as runtimes
from runtimes import storage
from runtimes.bus import publish_on_commit
from runtimes.jupyter import document
from runtimes.models import Runtime, SnapshotFile, Workspace
from runtimes.trees import place


class GroupError(ClassroomError):
    """A group cannot be formed, joined or left like this. Nothing was changed."""

    user_message = _("That group cannot be changed like this. Nothing was changed.")


class NotAStudent(GroupError):
    """Only the course's students work in groups."""

    user_message = _("Only students of this course can be in a group.")


class InAGroup(GroupError):
    """One group a person and assignment."""

    user_message = _("You are in a group already. Leave it first.")


class NameTaken(GroupError):
    """Two groups of one name."""

    user_message = _("There is a group of this name already.")


class NoSuchGroup(GroupError):
    """A code that is no group's, or a group that was dissolved."""

    user_message = _("There is no group with this code. Codes look like 7KQ2M9; ask a member for theirs.")


class GroupFull(GroupError):
    """As many members as the assignment allows."""

    user_message = _("This group is full.")


class HandedIn(GroupError):
    """Whoever handed in together stays together, unless the teacher says otherwise."""

    user_message = _("This group has handed in already, so only your teacher can change who is in it.")


class NotByStudents(GroupError):
    """The teacher makes the groups, or it is too late."""

    user_message = _("Groups of this assignment are made by your teacher, or it is closed.")


def group_of(assignment: Assignment, user: User) -> Group | None:
    """The person's group."""
    return Group.objects.filter(assignment=assignment, memberships__user=user).first()


def form(assignment: Assignment, name: str, users: Iterable[User] = ()) -> Group:
    """A new group, with these people; who was in another one is taken over. Raises NameTaken, NotAStudent."""
    people = list(users)
    for user in people:
        _check_student(assignment, user)
    try:
        with transaction.atomic():
            group = Group.objects.create(assignment=assignment, name=name)
    except IntegrityError as error:
        raise NameTaken(name) from error
    for user in people:
        put(group, user)
    return group


def move_out(former: Group, user: User) -> bool:
    """Takes the person out, who goes straight to another group: without this one's work, which is not the other's.

    For the transaction in which they come there. False: they were not in it. A group that nobody is left in goes, and
    its work goes on with whoever was last.
    """
    if not GroupMember.objects.filter(group=former, user=user).delete()[0]:
        return False
    if former.memberships.exists():
        WorkMember.objects.filter(work__group=former, user=user, preview=False).delete()
        _tell(former)
    _forget_if_empty(former)
    return True


def put(group: Group, user: User) -> None:
    """Puts the person into the group, out of another one if need be (`move_out`). Twice is once. Raises NotAStudent."""
    _check_student(group.assignment, user)
    with transaction.atomic():
        _hold(group)
        elsewhere = GroupMember.objects.select_related("group").filter(assignment=group.assignment_id, user=user)
        for former in [one.group for one in elsewhere.exclude(group=group)]:
            move_out(former, user)
        GroupMember.objects.get_or_create(assignment_id=group.assignment_id, user=user, defaults={"group": group})
    settle(group)


def take_out(group: Group, user: User) -> bool:
    """Whether the person was in the group. They go on with a copy of its work as it is now, the others with it."""
    work = Work.objects.select_related("workspace", "release").filter(group=group).first()
    if work is not None:
        document.flush_sync(work.workspace)
    with transaction.atomic():
        _hold(group)
        if not GroupMember.objects.filter(group=group, user=user).delete()[0]:
            return False
        mine = WorkMember.objects.filter(work__group=group, user=user, preview=False)
        if work is not None and mine.exists() and group.memberships.exists():
            workspace = filled(group.assignment, storage.snapshot(work.workspace))
            copied = Work.objects.create(assignment=group.assignment, workspace=workspace, release=work.release)
            mine.update(work=copied)
            _tell(group)
        _forget_if_empty(group)
    return True


def dissolve(group: Group) -> None:
    """Everyone goes on alone: with a copy, and the last with the work itself. Twice is once."""
    for user in list(group.members.order_by("pk")):
        take_out(group, user)
    with transaction.atomic():
        _forget_if_empty(group)


def form_own(assignment: Assignment, user: User, name: str) -> Group:
    """A student's own new group. Raises NotByStudents, InAGroup."""
    _check_by_students(assignment, user)
    wanted = " ".join(name.split())[:80] or gettext("%(name)s's group") % {"name": user.get_full_name()}
    for number in range(1, 50):
        try:
            return form(assignment, wanted if number == 1 else f"{wanted} ({number})", [user])
        except NameTaken:
            continue
    raise NameTaken(wanted)


def join(assignment: Assignment, user: User, code: str) -> Group:
    """A student comes in by the code that a member told. Raises a GroupError."""
    _check_by_students(assignment, user)
    group = Group.objects.filter(assignment=assignment, join_code="".join(code.split()).upper()).first()
    if group is None:
        raise NoSuchGroup(code[:12])
    try:
        with transaction.atomic():
            # A write first: of two who take the last place the second waits, and then sees the first.
            _hold(group)
            if group.memberships.count() >= assignment.group_size:
                raise GroupFull(str(group.pk))
            if handed_in(group):
                raise HandedIn(str(group.pk))
            GroupMember.objects.create(group=group, assignment=assignment, user=user)
    except IntegrityError as error:
        raise InAGroup(str(user.pk)) from error
    settle(group)
    return group


def leave(assignment: Assignment, user: User) -> bool:
    """A student goes on alone. Raises NotByStudents, or HandedIn where the group has handed in."""
    group = group_of(assignment, user)
    if group is None:
        return False
    if not by_students(assignment, user):
        raise NotByStudents(str(assignment.pk))
    if handed_in(group):
        raise HandedIn(str(group.pk))
    return take_out(group, user)


def handed_in(group: Group) -> bool:
    """Whether the group, whoever was in it, has handed in."""
    key = f"group:{group.pk}"
    return Submission.objects.filter(line_item=group.assignment.line_item_id, authors_key=key).exists()


def settle(group: Group) -> None:
    """Brings everyone of the group into its one work, where any of them has begun. Safe to repeat."""
    members = list(group.members.order_by("group_memberships__pk").distinct())
    rows = WorkMember.objects.select_related("work__workspace", "work__release").filter(
        assignment=group.assignment_id, user__in=members, preview=False
    )
    owns = {row.user_id: row for row in rows}
    work = Work.objects.select_related("workspace").filter(group=group).first() or _adopted(group, owns.values())
    if work is None:
        return
    for user in members:
        own = owns.get(user.pk)
        if own is None:
            WorkMember.objects.get_or_create(
                assignment_id=group.assignment_id, user=user, preview=False, defaults={"work": work}
            )
        elif own.work_id != work.pk:
            _bring(own, work, user)


def _adopted(group: Group, owns: Iterable[WorkMember]) -> Work | None:
    """The work that the first of them began alone, which is the group's from now on."""
    for own in sorted(owns, key=lambda row: (row.work.opened_at, row.work_id)):
        if Work.objects.filter(pk=own.work_id, group=None).update(group=group):
            return own.work
    return None


def _bring(own: WorkMember, work: Work, user: User) -> None:
    """What the person wrote alone goes into a folder of the group's work; their former workspace stays as it is."""
    former = own.work.workspace
    document.flush_sync(former)
    given = dict(SnapshotFile.objects.filter(snapshot=own.work.release.student_id).values_list("path", "blob_id"))
    for row in storage.files(former):
        if given.get(row.path) != row.blob_id:
            place(work.workspace, f"{user.username}/{row.path}", row.blob, source=storage.Source.UPLOADED)
    with transaction.atomic():
        if not WorkMember.objects.filter(pk=own.pk, work=own.work_id).update(work=work):
            return
        Workspace.objects.filter(pk=former.pk).update(read_only=True)
        for slug in (former.slug, work.workspace.slug):
            publish_on_commit(f"access:{slug}")
    for runtime in Runtime.objects.filter(workspace=former, state__in=Runtime.LIVE):
        runtimes.stop(runtime, reason="Requested")


def _forget_if_empty(group: Group) -> None:
    """A group without members goes; its work stays with whoever had it last."""
    if not GroupMember.objects.filter(group=group).exists():
        Work.objects.filter(group=group).update(group=None)
        Group.objects.filter(pk=group.pk).delete()


def _hold(group: Group) -> None:
    """Makes others who change this group wait for the end of the transaction. Raises NoSuchGroup where it is gone."""
    if not Group.objects.filter(pk=group.pk).update(name=F("name")):
        raise NoSuchGroup(str(group.pk))


def _tell(group: Group) -> None:
    for slug in Work.objects.filter(group=group).values_list("workspace__slug", flat=True):
        publish_on_commit(f"access:{slug}")


def _check_student(assignment: Assignment, user: User) -> None:
    students = Enrollment.objects.filter(course=assignment.course_id, role=Enrollment.Role.STUDENT, user=user)
    if not students.exclude(state=Enrollment.State.DROPPED).exists():
        raise NotAStudent(str(user.pk))


def by_students(assignment: Assignment, user: User) -> bool:
    """Whether the person may form, join and leave groups now."""
    if not assignment.groups_by_students or assignment.group_size < 2:
        return False
    return is_open(assignment, terms_of(assignment, user), timezone.now())


def _check_by_students(assignment: Assignment, user: User) -> None:
    if not by_students(assignment, user):
        raise NotByStudents(str(assignment.pk))
    if group_of(assignment, user) is not None:
        raise InAGroup(str(user.pk))
