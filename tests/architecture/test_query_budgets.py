"""How many queries a page may take, in a course with a dozen students. A page without a line here fails."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from classroom import launch
from classroom.models import Course, Enrollment, Work
from classroom.people.models import User
from grading import regrade
from runtimes.models import Runtime, Usage
from tests import world as worlds
from tests.security.test_every_url import HIDDEN, NOBODY, TABLE, addresses

MORE_STUDENTS = 8
# The session and the person are two of them, on every page of somebody signed in.
MOST_QUERIES = {
    "assignment_check": 15,
    "assignment_new": 4,
    "assignment_notebook": 7,
    "assignment_publish": 12,
    "assignment_settings": 9,
    "assignment_source": 7,
    "check": 14,
    "course": 9,
    "course_new": 5,
    "course_order": 8,
    "course_settings": 4,
    "course_usage": 7,
    "course_usage_export": 7,
    "download": 11,
    "email": 3,
    "feedback": 23,
    "feedback_file": 23,
    "gradebook": 10,
    "gradebook_export": 10,
    "grading_log": 9,
    "grading_run": 13,
    "group": 11,
    "groups": 12,
    "hand_in": 20,
    "home": 8,
    "join": 6,
    "machine": 8,
    "machine_new": 6,
    "machines": 6,
    "notebook": 18,
    "notebook_machine": 10,
    "notebook_state": 15,
    "operate": 13,
    "patterns": 3,
    "people": 6,
    "people_add": 4,
    "people_export": 6,
    "person": 12,
    "points": 8,
    "profile": 3,
    "receipt": 19,
    "receipt_files": 8,
    "receipt_state": 13,
    "receipt_text": 13,
    "regrade": 30,
    "regrades": 16,
    "review": 32,
    "review_files": 8,
    "review_here": 12,
    "submissions": 14,
    "teach_assignment": 15,
    "teach_course": 9,
    "usage": 5,
    "usage_export": 5,
    "work": 8,
}
# allauth's own pages, and those that answer no GET with a page of ours.
NOT_OURS = ("account_", "set_language", "javascript-catalog")


@pytest.fixture
def world(course: Course, mallory: User, root: User) -> worlds.World:
    world = worlds.build(course)
    section = course.sections.get(name="A")
    more = []
    for number in range(MORE_STUDENTS):
        user = worlds.make_user(f"student{number}")
        Enrollment.objects.create(course=course, user=user, role=Enrollment.Role.STUDENT, section=section)
        more.append(worlds.autograded(worlds.handed_in(launch.open_work(world.assignment, user), user)))
    regrade.include(world.regrade, more)
    worlds.tried(world.regrade)
    for work in Work.objects.all():
        runtime = Runtime.objects.create(
            workspace=work.workspace, profile=work.workspace.profile, account=work.workspace.account,
            ready_at=timezone.now(), state=Runtime.State.STOPPED,
        )  # fmt: skip
        Usage.objects.create(runtime=runtime, account=runtime.account, wall_seconds=60)
    return world


def pages() -> list[str]:
    ours = {name: who for (method, name), who in TABLE.items() if method == "GET" and not name.startswith(NOT_OURS)}
    return sorted(name for name, who in ours.items() if who not in {NOBODY, HIDDEN})


def queries(url: str, viewers: list[User]) -> int:
    """How many queries the page takes for the first of `viewers` who may see it."""
    for viewer in viewers:
        client = Client(raise_request_exception=False)
        client.force_login(viewer)
        client.get(url)  # what is written on a first visit only
        with CaptureQueriesContext(connection) as context:
            answer = client.get(url)
        if answer.status_code < 400:
            return len(context)
    return 0


def test_every_page_has_a_budget():
    assert set(pages()) == MOST_QUERIES.keys()


def test_no_page_takes_more_queries_than_it_may(world: worlds.World):
    viewers = [world.course.created_by, User.objects.get(username="ada"), User.objects.get(username="root")]
    urls = addresses(world)
    taken = {name: queries(urls[name], viewers) for name in pages()}
    assert all(taken.values()), "a page that neither the teacher nor a student nor the administrator may see"
    over = {name: count for name, count in taken.items() if count > MOST_QUERIES[name]}
    assert not over, "\n".join(f"{name}: {count} (at most {MOST_QUERIES[name]})" for name, count in over.items())
