"""A list of groups compared with those that there are, and applied: all of it in one transaction, or nothing."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from django.db import IntegrityError, transaction
from django.utils.translation import gettext_lazy as _

from classroom import group as groups
from classroom.group_list_read import GroupList, Line
from classroom.group_many import students_of
from classroom.models import Assignment, Group, GroupMember
from classroom.people.models import User
from runtimes.errors import StorageError


class GroupsChanged(groups.GroupError):
    """The groups are no longer those of the preview."""

    retryable = True
    user_message = _(
        "Groups have changed since this preview was made, so nothing was applied. Look at the changes again."
    )


@dataclass(frozen=True)
class Change:
    """What a line does. `before` is None for whoever is in no group."""

    line: Line
    user: User
    before: Group | None


@dataclass(frozen=True)
class Plan:
    """Everything that a list would do, and nothing of it done.

    `made` are names of groups that are not there yet, or that all their people leave before others come; `gone` are
    groups that nobody is left in.
    """

    made: Sequence[str] = ()
    gone: Sequence[Group] = ()
    joins: Sequence[Change] = ()
    moves: Sequence[Change] = ()
    same: Sequence[Change] = ()
    wrong: Sequence[Line] = ()

    @property
    def changes(self) -> list[Change]:
        """What confirming does."""
        return [*self.joins, *self.moves]

    @property
    def digest(self) -> str:
        """The same for the same effects: a preview is applied only as it was shown."""
        said = [f"{one.line.email}\t{one.before.pk if one.before else ''}\t{one.line.group}" for one in self.changes]
        said += [f"made\t{name}" for name in self.made] + [f"gone\t{one.pk}" for one in self.gone]
        return hashlib.sha256("\n".join(sorted(said)).encode()).hexdigest()


@dataclass(frozen=True)
class Applied:
    """How many people came into a group, how many of them out of another, and how many groups were made."""

    people: int
    moved: int
    made: int


def plan(assignment: Assignment, group_list: GroupList) -> Plan:
    """Compares the list with the groups. Reads only: three queries."""
    students = {user.email.lower(): user for user in students_of(assignment)}
    there = {one.name: one for one in Group.objects.filter(assignment=assignment)}
    members = dict(GroupMember.objects.filter(assignment=assignment).values_list("user", "group"))
    by_pk = {one.pk: one for one in there.values()}
    joins: list[Change] = []
    moves: list[Change] = []
    same: list[Change] = []
    wrong = list(group_list.wrong)
    for line in group_list.right:
        user = students.get(line.email)
        if user is None:
            problem = str(_("Nobody with this email is a student of this course."))
            wrong.append(replace(line, problem=problem))
            continue
        change = Change(line, user, by_pk.get(members.get(user.pk, 0)))
        if change.before is None:
            joins.append(change)
        else:
            (same if change.before.name == line.group else moves).append(change)
    left = Counter(one.before.pk for one in moves if one.before is not None)
    sizes = Counter(members.values())
    emptied = {pk for pk, count in left.items() if count == sizes[pk]}
    wanted = {one.line.group for one in [*joins, *moves]}
    return Plan(
        made=sorted(name for name in wanted if name not in there or there[name].pk in emptied),
        gone=[by_pk[pk] for pk in sorted(emptied) if by_pk[pk].name not in wanted],
        joins=joins,
        moves=moves,
        same=same,
        wrong=sorted(wrong, key=lambda line: line.number),
    )


def apply(assignment: Assignment, group_list: GroupList, *, digest: str) -> Applied:
    """Does what the preview with `digest` showed, all or nothing. Applied twice, the second time finds nothing to do.

    Raises GroupsChanged where somebody has moved, come or gone meanwhile.
    """
    try:
        with transaction.atomic():
            now = plan(assignment, group_list)
            if now.digest != digest and now.changes:
                raise GroupsChanged
            filled = _apply(assignment, now)
    except IntegrityError as error:
        # Somebody joined a group, or made one of the same name, at the same moment.
        raise GroupsChanged from error
    for group in filled:
        # What people began alone is brought along after the commit: it is copied from disks. A group whose files
        # cannot be had now is settled when any of its people opens it.
        with suppress(StorageError):
            groups.settle(group)
    return Applied(len(now.changes), len(now.moves), len(now.made))


def _apply(assignment: Assignment, now: Plan) -> list[Group]:
    """First everyone out, then everyone in, so that two groups can change places. The groups that people came to."""
    for change in now.moves:
        assert change.before is not None
        if not groups.move_out(change.before, change.user):
            raise GroupsChanged
    filled: dict[str, Group] = {}
    for change in now.changes:
        name = change.line.group
        if name not in filled:
            filled[name] = Group.objects.get_or_create(assignment=assignment, name=name)[0]
        GroupMember.objects.create(assignment=assignment, group=filled[name], user=change.user)
    return list(filled.values())
