"""The people of the demo course and what they are in it."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings
from django.contrib.auth.models import Permission
from django.db import transaction

from classroom.environment import secret_file
from classroom.models import Course, Enrollment, Section
from classroom.people.models import User

Role = Enrollment.Role


@dataclass(frozen=True)
class Person:
    """One account of the demo; a TA without section would see everyone."""

    username: str
    name: str
    role: Enrollment.Role
    section: str = ""


CAST = (
    Person("grace", "Grace Hopper", Role.TEACHER),
    Person("tim", "Tim Tutor", Role.TA, "A"),
    Person("tess", "Tess Tutor", Role.TA, "B"),
    Person("ada", "Ada Lovelace", Role.STUDENT, "A"),
    Person("ben", "Ben Baker", Role.STUDENT, "A"),
    Person("cleo", "Cleo Carter", Role.STUDENT, "A"),
    Person("dan", "Dan Dupont", Role.STUDENT, "B"),
    Person("eve", "Eve Evans", Role.STUDENT, "B"),
)


def password() -> str:
    """The password of every demo account: chance, made once for this data folder and kept in it."""
    return secret_file(settings.DATA_DIR / "secrets", "demo")[:12]


def make_accounts() -> dict[str, User]:
    """The accounts by user name. One that exists keeps its password."""
    people = {person.username: _account(person) for person in CAST}
    teacher = people["grace"]
    teacher.user_permissions.add(Permission.objects.get(content_type__app_label="classroom", codename="add_course"))
    return people


def _account(person: Person) -> User:
    user, made = User.objects.get_or_create(
        username=person.username,
        defaults={"email": f"{person.username}@example.org", "display_name": person.name},
    )
    if made:
        user.set_password(password())
        user.save(update_fields=["password"])
    return user


def enroll(course: Course, people: dict[str, User]) -> None:
    """Everyone in their role and section. Someone whom the teacher has moved or dropped since is left so."""
    with transaction.atomic():
        sections = {
            name: Section.objects.get_or_create(course=course, name=name)[0]
            for name in sorted({person.section for person in CAST if person.section})
        }
        for person in CAST:
            Enrollment.objects.get_or_create(
                course=course,
                user=people[person.username],
                defaults={"role": person.role, "section": sections.get(person.section)},
            )


def accounts() -> str:
    """A line for each account, and the password they share, for a person to read."""
    width = max(len(person.username) for person in CAST)
    lines = [f"  {person.username:<{width}}  {_part(person)}" for person in CAST]
    return "\n".join([f"Demo accounts, all with the password {password()} (made by chance for this data):", *lines])


def _part(person: Person) -> str:
    return f"{person.role.label}, section {person.section}" if person.section else str(person.role.label)
