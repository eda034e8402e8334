"""The rows of `bench.launch`: a course with two assignments, on machines with and without a pool. Needs Django."""

from __future__ import annotations

import nbformat
from django.contrib.auth.hashers import make_password
from django.db import connection

from bench._launch_click import CELL, NOTEBOOK
from bench._storm_course import PASSWORD
from classroom import courses, publish
from classroom.models import Assignment, Enrollment
from classroom.people.models import User
from runtimes import launch, storage
from runtimes.models import Profile, Runtime, Workspace

COURSE, FORKED, POOLED = "launch", "forked", "pooled"
DATA = b"1,2\n" * 5000


def notebook() -> bytes:
    """One cell that prints."""
    cell = nbformat.v4.new_code_cell(CELL, id="first")
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return str(nbformat.writes(nbformat.v4.new_notebook(cells=[cell], metadata=kernel))).encode()


def prepare(students: int, pool: int) -> list[str]:
    """Two published tutorials; the user names of as many students."""
    teacher = User.objects.create_user("teacher", "teacher@example.org", None)
    course = courses.create(slug=COURSE, title="Launch", term="now", time_zone="UTC", by=teacher)
    for slug, warm in ((FORKED, 0), (POOLED, pool)):
        # Whoever asks for the same machine takes from the same pool: without one, a machine of one process less.
        profile = Profile.objects.create(slug=f"bench-{slug}", name="Bench", warm=warm, processes=128 if warm else 127)
        made = publish.create(course, slug=slug, title=slug, graded=False, unit="")
        Assignment.objects.filter(pk=made.pk).update(profile=profile)
        release = publish.upload(made, {NOTEBOOK: notebook(), "data/x.csv": DATA}, teacher)
        made.refresh_from_db()
        publish.publish(made, release)
    password = make_password(PASSWORD)
    names = [f"s{number:03}" for number in range(students)]
    people = User.objects.bulk_create(
        User(username=name, email=f"{name}@example.org", password=password, display_name=name) for name in names
    )
    Enrollment.objects.bulk_create(
        Enrollment(course=course, user=person, role=Enrollment.Role.STUDENT) for person in people
    )
    return names


def workspaces(slug: str, count: int) -> list[Workspace]:
    """New workspaces on the machine of the assignment `slug`, with the same files."""
    profile = Profile.objects.get(slug=f"bench-{slug}")
    made = [Workspace.objects.create(profile=profile, account="bench") for _ in range(count)]
    for workspace in made:
        for path, data in {NOTEBOOK: notebook(), "data/x.csv": DATA}.items():
            storage.write(workspace, path, data, source="uploaded")
    return made


def stop(slug: str) -> None:
    """Ends what runs in a workspace: it is no part of the next start."""
    try:
        for runtime in Runtime.objects.filter(workspace__slug=slug, state__in=Runtime.LIVE):
            launch.stop(runtime, reason="Requested")
    finally:
        connection.close()
