"""Who is in a course: a class list compared with it, and applied; one person moved, dropped, brought back."""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field

from django.contrib.auth.hashers import make_password
from django.db import IntegrityError, transaction
from django.db.models import F
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.text import slugify
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from classroom.errors import ClassroomError
from classroom.invite import awaits, post_mail
from classroom.models import Course, Enrollment, Section, Work
from classroom.people.models import User
from classroom.roster_read import ClassList, Line
from runtimes.bus import publish_on_commit

Role = Enrollment.Role
State = Enrollment.State


class RosterChanged(ClassroomError):
    """The course's people are no longer those of the preview."""

    retryable = True
    user_message = gettext_lazy(
        "The course has changed since this preview was made, so nothing was applied. Look at the changes again."
    )


class LastTeacher(ClassroomError):
    """The change would leave the course without a teacher."""

    user_message = gettext_lazy("A course needs a teacher. Add another one first.")


@dataclass(frozen=True)
class Change:
    """What a line does. `enrollment` is None for whoever joins, `user` for whoever is new to the site."""

    line: Line
    role: str
    section: str
    user: User | None = None
    enrollment: Enrollment | None = None

    @property
    def role_label(self) -> str:
        """The role they get, in words."""
        return str(Role(self.role).label)

    @property
    def section_before(self) -> str:
        """The section they are in, "" for none."""
        section = self.enrollment.section if self.enrollment else None
        return section.name if section else ""

    @property
    def moves(self) -> bool:
        """Whether role or section become another."""
        before = self.enrollment
        return before is not None and (before.role != self.role or self.section_before != self.section)


@dataclass(frozen=True)
class Plan:
    """Everything that a list would do, and nothing of it done. `missing` are students that it does not name."""

    joins: Sequence[Change] = ()
    returns: Sequence[Change] = ()
    moves: Sequence[Change] = ()
    same: Sequence[Change] = ()
    missing: Sequence[Enrollment] = ()
    wrong: Sequence[Line] = field(default=())

    @property
    def changes(self) -> list[Change]:
        """What confirming does, without dropping anyone."""
        return [*self.joins, *self.returns, *self.moves]

    @property
    def digest(self) -> str:
        """The same for the same effects: a preview is applied only as it was shown."""
        kinds = {"joins": self.joins, "returns": self.returns, "moves": self.moves}
        said = [
            f"{kind}\t{change.line.email}\t{change.role}\t{change.section}"
            for kind, changes in kinds.items()
            for change in changes
        ]
        said += [f"missing\t{enrollment.pk}" for enrollment in self.missing]
        return hashlib.sha256("\n".join(sorted(said)).encode()).hexdigest()


@dataclass(frozen=True)
class Applied:
    """How many were touched; `new` are those who wait for a link."""

    joined: int
    returned: int
    moved: int
    dropped: int
    new: Sequence[User] = ()


def plan(course: Course, class_list: ClassList, by: User) -> Plan:
    """Compares the list with the course. Reads only."""
    enrollments = {
        enrollment.user.email.lower(): enrollment
        for enrollment in Enrollment.objects.select_related("user", "section").filter(course=course)
    }
    emails = [line.email for line in class_list.right]
    users = users_by_email(emails)
    joins: list[Change] = []
    returns: list[Change] = []
    moves: list[Change] = []
    same: list[Change] = []
    wrong = list(class_list.wrong)
    for line in class_list.right:
        change = _change(line, class_list.columns, enrollments.get(line.email), users.get(line.email))
        if problem := _forbidden(change, by):
            wrong.append(Line(number=line.number, email=line.email, problem=problem, text=line.text))
        elif change.enrollment is None:
            joins.append(change)
        elif change.enrollment.state == State.DROPPED:
            returns.append(change)
        else:
            (moves if change.moves else same).append(change)
    named = {line.email for line in class_list.lines}
    missing = [
        enrollment
        for email, enrollment in enrollments.items()
        if email not in named and enrollment.role == Role.STUDENT and enrollment.state != State.DROPPED
    ]
    return Plan(joins, returns, moves, same, missing, sorted(wrong, key=lambda line: line.number))


def users_by_email(emails: Iterable[str]) -> dict[str, User]:
    """The site's people with one of these lowered addresses, by lowered address."""
    # In slices: SQLite takes at most 32,766 parameters, and `__in` of a lowered column needs the expression index.
    found: list[User] = []
    wanted = list(emails)
    for start in range(0, len(wanted), 500):
        found += User.objects.alias(lowered=Lower("email")).filter(lowered__in=wanted[start : start + 500])
    return {user.email.lower(): user for user in found}


def _change(line: Line, columns: frozenset[str], enrollment: Enrollment | None, user: User | None) -> Change:
    """What the list does not say stays as it is."""
    role, section = line.role, line.section
    if enrollment is not None:
        role = line.role if "role" in columns else enrollment.role
        section = line.section if "section" in columns else (enrollment.section.name if enrollment.section else "")
    return Change(line=line, role=role, section=section, user=user, enrollment=enrollment)


def _forbidden(change: Change, by: User) -> str:
    if change.enrollment is not None and change.enrollment.user_id == by.pk and change.role != change.enrollment.role:
        return _("This is you: you cannot change your own role.")
    return ""


def apply(course: Course, class_list: ClassList, *, by: User, digest: str, drop: Iterable[int] = ()) -> Applied:
    """Does what the preview with `digest` showed, all or nothing; `drop` are enrollments among its missing.

    Applied twice, the second time finds nothing to do. Raises RosterChanged where the course has changed meanwhile.
    """
    try:
        with transaction.atomic():
            now = plan(course, class_list, by)
            if now.digest != digest and (now.changes or _still(now.missing, drop)):
                raise RosterChanged
            return _apply(course, now, by, set(drop))
    except IntegrityError as error:
        # Two lists at once made the same person: one of them looks again.
        raise RosterChanged from error


def _still(missing: Iterable[Enrollment], drop: Iterable[int]) -> bool:
    return bool({enrollment.pk for enrollment in missing} & set(drop))


def _apply(course: Course, now: Plan, by: User, drop: set[int]) -> Applied:
    sections = _sections(course, {change.section for change in now.changes if change.section})
    new = _new_users([change for change in now.joins if change.user is None])
    for change in now.joins:
        user = change.user or new[change.line.email]
        Enrollment.objects.create(
            course=course, user=user, role=change.role, section=sections.get(change.section), state=State.INVITED
        )
        _name(user, change.line.name)
    for change in [*now.returns, *now.moves]:
        assert change.enrollment is not None
        move(change.enrollment, role=change.role, section=sections.get(change.section))
    leaving = [enrollment for enrollment in now.missing if enrollment.pk in drop]
    for enrollment in leaving:
        _drop(enrollment)
    waiting = [new.get(change.line.email, change.user) for change in now.joins]
    return Applied(
        joined=len(now.joins),
        returned=len(now.returns),
        moved=len(now.moves),
        dropped=len(leaving),
        new=[user for user in waiting if user is not None and awaits(user)],
    )


def _sections(course: Course, names: set[str]) -> dict[str, Section]:
    return {name: Section.objects.get_or_create(course=course, name=name)[0] for name in sorted(names)}


def _new_users(changes: Sequence[Change]) -> dict[str, User]:
    """Accounts that nobody can sign in to yet: an invitation, or Google with the same email, opens them."""
    taken = set(User.objects.values_list("username", flat=True)) if changes else set()
    users: dict[str, User] = {}
    for change in changes:
        username = free_username(change.line.email, taken)
        taken.add(username)
        users[change.line.email] = User.objects.create(
            username=username, email=change.line.email, display_name=change.line.name, password=make_password(None)
        )
    return users


def free_username(email: str, taken: Container[str]) -> str:
    """A user name like the part before the @ that nobody has yet."""
    stem = slugify(email.partition("@")[0].replace(".", "-"))[:120] or "person"
    number, name = 1, stem
    while name in taken:
        number += 1
        name = f"{stem}-{number}"
    return name


def _name(user: User, name: str) -> None:
    """Takes the list's name for somebody who has none and has never been here: later it is theirs to change."""
    if name and not user.display_name and user.last_login is None:
        User.objects.filter(pk=user.pk, display_name="").update(display_name=name)


def invite(course: Course, people: Iterable[User], by: User) -> int:
    """Mails a link to each of them who still waits for one; their number."""
    waiting = [user for user in people if awaits(user)]
    for user in waiting:
        post_mail(user, course, by)
    return len(waiting)


def move(enrollment: Enrollment, *, role: str, section: Section | None) -> None:
    """Gives role and section, and brings back whoever was dropped. Raises LastTeacher."""
    with transaction.atomic():
        if role != Role.TEACHER:
            _keep_a_teacher(enrollment)
        staff = {enrollment.role, role} != {Role.STUDENT}
        if enrollment.state == State.DROPPED:
            enrollment.state = State.ACTIVE if enrollment.last_seen_at else State.INVITED
        enrollment.role, enrollment.section, enrollment.left_at = role, section, None
        enrollment.save(update_fields=["role", "section", "state", "left_at"])
        _tell(enrollment, staff=staff)


def drop(enrollment: Enrollment) -> None:
    """Takes every access away at once; the work and its marks stay. Raises LastTeacher."""
    with transaction.atomic():
        _keep_a_teacher(enrollment)
        _drop(enrollment)


def _drop(enrollment: Enrollment) -> None:
    mine = Enrollment.objects.filter(pk=enrollment.pk).exclude(state=State.DROPPED)
    mine.update(state=State.DROPPED, left_at=timezone.now())
    _tell(enrollment, staff=enrollment.role != Role.STUDENT)


def _keep_a_teacher(leaving: Enrollment) -> None:
    if leaving.role != Role.TEACHER or leaving.state == State.DROPPED:
        return
    # A write, so that two who leave at once come one after the other on every database.
    Course.objects.filter(pk=leaving.course_id).update(created_at=F("created_at"))
    others = Enrollment.objects.filter(course=leaving.course_id, role=Role.TEACHER).exclude(pk=leaving.pk)
    if not others.exclude(state=State.DROPPED).exists():
        raise LastTeacher


def _tell(enrollment: Enrollment, *, staff: bool) -> None:
    """Open notebooks ask again who may be in them: the person's own; for staff, all that they may look into."""
    works = Work.objects.filter(assignment__course=enrollment.course_id)
    if not staff:
        works = works.filter(members__user=enrollment.user_id)
    for slug in works.values_list("workspace__slug", flat=True):
        publish_on_commit(f"access:{slug}")
