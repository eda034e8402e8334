"""Loads the demo course through the product's own verbs, with the site's processes running."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from django.utils import timezone

from classroom import courses, publish
from classroom.demo import people, quickstart, tutorial
from classroom.models import Assignment, Course
from classroom.people.models import User
from grading.models import Release, ReleaseCheck

SLUG = "demo"
TITLE = "Introduction to computing (demo)"
TIME_ZONE = "Europe/Paris"
CHECK_PATIENCE = timedelta(minutes=5)

type Say = Callable[[str], object]


class NotPublished(Exception):
    """The problem set could not be opened; the message says why and what to do."""


def load(say: Say) -> Course:
    """The demo course, made where it does not exist yet. `say` is told the accounts, and what takes long.

    Raises NotPublished.
    """
    everyone = people.make_accounts()
    teacher = everyone["grace"]
    course = _course(teacher)
    people.enroll(course, everyone)
    _tutorial(course, teacher)
    say(people.accounts())
    _problem_set(course, teacher, say)
    say("The demo course is ready.")
    return course


def _course(teacher: User) -> Course:
    found = Course.objects.filter(slug=SLUG).first()
    return found or courses.create(slug=SLUG, title=TITLE, term="", time_zone=TIME_ZONE, by=teacher)


def _tutorial(course: Course, teacher: User) -> None:
    files = {tutorial.NAME: tutorial.notebook()}
    assignment = _assignment(course, "arrays-and-plots", "Arrays, plots and sliders", graded=False)
    if assignment.release is None:
        publish.publish(assignment, _release(assignment, lambda: files, teacher))


def _problem_set(course: Course, teacher: User, say: Say) -> None:
    assignment = _assignment(course, quickstart.ASSIGNMENT, "Problem set 1: loops and functions", graded=True)
    if assignment.release is not None:
        return
    if assignment.due_at is None:
        assignment.due_at = due_in(timedelta(days=7))
        assignment.save(update_fields=["due_at"])
    say("Making nbgrader's quickstart course and running its solution in a sandbox, once ...")
    release = _release(assignment, quickstart.problem_set, teacher)
    _await_check(release)
    publish.publish(assignment, release)


def _assignment(course: Course, slug: str, title: str, *, graded: bool) -> Assignment:
    found = course.assignments.filter(slug=slug).first()
    return found or publish.create(course, slug=slug, title=title, graded=graded, unit="Week 1")


def _release(assignment: Assignment, files: Callable[[], Mapping[str, bytes]], teacher: User) -> Release:
    """The newest version, or a first one: an interrupted set-up goes on where it was."""
    found = publish.newest(assignment)
    if found is None:
        return publish.upload(assignment, files(), teacher)
    publish.wake_check(found)
    return found


def _await_check(release: Release) -> None:
    """Wait until the worker has run the solution. Raises NotPublished if it did not get full marks, or did not run."""
    deadline = time.monotonic() + CHECK_PATIENCE.total_seconds()
    while time.monotonic() < deadline:
        run = ReleaseCheck.objects.filter(release=release).first()
        state = run.state if run else None
        if state == ReleaseCheck.State.PASSED:
            release.refresh_from_db()
            return
        if run is None or state in {ReleaseCheck.State.FAILED, ReleaseCheck.State.ERROR}:
            reason = run.message or run.get_state_display() if run else release.get_state_display()
            raise NotPublished(
                f"The problem set stays a draft, because its solution did not pass ({reason}): sign in as grace and "
                f"look at its report."
            )
        time.sleep(0.1)
    raise NotPublished(
        f"The problem set stays a draft, because its solution was not run within {CHECK_PATIENCE}: look at the logs of "
        f"worker and runtimes, then run the same command again."
    )


def due_in(days: timedelta) -> datetime:
    """Six in the evening, in the course's time zone, so many days from now."""
    there = timezone.now().astimezone(ZoneInfo(TIME_ZONE)) + days
    return there.replace(hour=18, minute=0, second=0, microsecond=0)
