"""The cast, and what every test may ask for.

Teacher `grace`, TAs `tim` (section A) and `tess` (section B), students `ada`, `ben`, `cleo` (A), `dan`, `eve` (B);
`mallory` is signed in but a stranger to the course, `root` is the administrator.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from asgiref.sync import SyncToAsync
from django.db import connections
from django.test import Client

from classroom.models import Course
from classroom.people.models import User
from classroom.places import CHECKOUT
from classroom.translations import compile_translation
from tests import prepared
from tests.live import LiveSite
from tests.world import make_course, make_teacher, make_user

#: Of a test: pytest-timeout's settings.
TIME_LIMIT = pytest.StashKey[object]()
SHARED = (Path("/tmp"), Path("/dev/shm"), Path("/var/tmp"))


def pytest_configure(config: pytest.Config) -> None:
    """A fresh clone has no compiled translations. Made once, before the processes of a run start."""
    if not hasattr(config, "workerinput"):
        for source in sorted(CHECKOUT.glob("locale/*/LC_MESSAGES/*.po")):
            compile_translation(source)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What starts the site's own processes takes longest: it begins first, so that no core waits for it at the end."""
    items.sort(key=lambda item: item.get_closest_marker("live") is None)


@pytest.hookimpl(tryfirst=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: object) -> None:
    item.stash[TIME_LIMIT] = settings


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test that is run once more has its whole time again, and no longer: pytest-timeout stops its clock where a test
    first fails."""
    if getattr(item, "execution_count", 1) > 1 and TIME_LIMIT in item.stash:
        clock = item.config.hook
        clock.pytest_timeout_cancel_timer(item=item)
        clock.pytest_timeout_set_timer(item=item, settings=item.stash[TIME_LIMIT])


def pytest_unconfigure(config: pytest.Config) -> None:
    # The processes of a run share both: the first that ends leaves them to the others.
    if hasattr(config, "workerinput"):
        return
    prepared.remove()
    if folder := os.environ.get("PUPITRE_TEST_DATA"):
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def shared_folders_are_left_alone() -> Iterator[None]:
    """No test changes what the whole machine shares: what it does there as root would stay."""
    before = [folder.stat().st_mode for folder in SHARED]
    yield
    assert [folder.stat().st_mode for folder in SHARED] == before, (
        "a test changed the mode of a folder that the machine shares"
    )


@pytest.fixture(autouse=True)
def closed_connections() -> Iterator[None]:
    """Lets go of the database in the thread that async code asks it from: a test database in use cannot be dropped."""
    yield
    SyncToAsync.single_thread_executor.submit(connections.close_all).result()


@pytest.fixture
def grace(db: None) -> User:
    return make_teacher("grace")


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
    return make_course({user.username: user for user in (grace, tim, tess, ada, ben, cleo, dan, eve)})


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
