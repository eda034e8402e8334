"""The cast, and what every test may ask for.

Teacher `grace`, TAs `tim` (section A) and `tess` (section B), students `ada`, `ben`, `cleo` (A), `dan`, `eve` (B);
`mallory` is signed in but a stranger to the course, `root` is the administrator.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from classroom.demo.people import CAST
from classroom.models import Course, Enrollment, Section
from classroom.people.models import User
from tests.live import LiveSite

PASSWORD = "correct horse battery staple"


def pytest_unconfigure() -> None:
    if folder := os.environ.get("PUPITRE_TEST_DATA"):
        shutil.rmtree(folder, ignore_errors=True)


def make_user(username: str, **fields: object) -> User:
    """Someone who signs in with PASSWORD."""
    email, name = f"{username}@example.org", username.capitalize()
    return User.objects.create_user(username, email, PASSWORD, **{"display_name": name, **fields})


@pytest.fixture
def grace(db: None) -> User:
    user = make_user("grace")
    user.user_permissions.add(Permission.objects.get(content_type__app_label="classroom", codename="add_course"))
    return user


@pytest.fixture
def tim(db: None) -> User:
    return make_user("tim")


@pytest.fixture
def tess(db: None) -> User:
    return make_user("tess")


@pytest.fixture
def ada(db: None) -> User:
    return make_user("ada")


@pytest.fixture
def ben(db: None) -> User:
    return make_user("ben")


@pytest.fixture
def cleo(db: None) -> User:
    return make_user("cleo")


@pytest.fixture
def dan(db: None) -> User:
    return make_user("dan")


@pytest.fixture
def eve(db: None) -> User:
    return make_user("eve")


@pytest.fixture
def mallory(db: None) -> User:
    return make_user("mallory")


@pytest.fixture
def root(db: None) -> User:
    return make_user("root", is_staff=True, is_superuser=True)


@pytest.fixture
def course(grace: User, tim: User, tess: User, ada: User, ben: User, cleo: User, dan: User, eve: User) -> Course:
    """The course `data`, with everyone of the cast in their role and section."""
    users = {user.username: user for user in (grace, tim, tess, ada, ben, cleo, dan, eve)}
    course = Course.objects.create(slug="data", title="Data", time_zone="Europe/Paris", created_by=grace)
    sections = {name: Section.objects.create(course=course, name=name) for name in ("A", "B")}
    for person in CAST:
        Enrollment.objects.create(
            course=course, user=users[person.username], role=person.role, section=sections.get(person.section)
        )
    return course


@pytest.fixture
def sections(course: Course) -> SimpleNamespace:
    """`sections.a` and `sections.b` of the course."""
    return SimpleNamespace(**{section.name.lower(): section for section in course.sections.all()})


@pytest.fixture
def as_user(client: Client):
    """`as_user(ada)` is a client in which that person is signed in."""

    def sign_in(user: User) -> Client:
        someone = Client()
        someone.force_login(user)
        return someone

    return sign_in


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory, django_db_blocker) -> Iterator[LiveSite]:
    """The whole site, running, with a database of its own that the tests of one module share."""
    with LiveSite(django_db_blocker) as site:
        yield site
