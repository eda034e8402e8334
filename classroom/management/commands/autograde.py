"""`manage.py autograde --course SLUG`: grades what a course's students have handed in."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from classroom.errors import ClassroomError
from classroom.grade_all import Queued, enqueue_all, outcome
from classroom.grade_here import CannotGrade, all_cores, grade_here, runtimes_process
from classroom.models import Course


class Command(BaseCommand):
    """Queues what has no result, and with --wait grades it here and says what came of it."""

    #: When the first ones were graded, and how many that were.
    _since: tuple[float, int] | None = None

    help = (
        "Grade the submissions of a course that have no result yet. With --wait they are graded by this command, with "
        "or without a running site, and the exit status is 1 if some could not be graded."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The course, and how."""
        parser.add_argument("--course", required=True, metavar="SLUG")
        parser.add_argument("--assignment", default="", metavar="NAME", help="only this one")
        parser.add_argument("--strict", action="store_true", help="by nbgrader's own rules alone, from now on")
        parser.add_argument("--failed", action="store_true", help="also what could not be graded before")
        parser.add_argument("--wait", action="store_true", help="grade here, show progress, return when it is done")
        parser.add_argument("--processes", type=int, default=all_cores(), help="how many grade at once (with --wait)")

    def handle(self, *args: Any, **options: Any) -> None:
        """CommandError (exit status 1) where nothing can be graded, or something could not be."""
        course = Course.objects.filter(slug=options["course"]).first()
        if course is None:
            raise CommandError(f"There is no course {options['course']!r}.")
        chosen = {name: options[name] for name in ("assignment", "failed", "strict")}
        try:
            queued = enqueue_all(course, **chosen)
        except ClassroomError as error:
            raise CommandError(str(error.user_message)) from error
        self._introduce(queued, strict=options["strict"])
        if options["wait"]:
            self._grade(course, queued, max(1, options["processes"]))
        elif queued.rows:
            self._say("A running site grades them; to grade them here and see it: the same command with --wait.")

    def _introduce(self, queued: Queued, *, strict: bool) -> None:
        if strict:
            names = ", ".join(one.slug for one in queued.assignments)
            self._say(f"Graded by nbgrader's own rules alone from now on: {names}")
        for one in queued.stopped:
            self._say(f"Grading of {one.slug} is stopped, so it waits: go on with it on its page.")
        self._say(f"{len(queued.rows)} submissions wait to be graded.")

    def _grade(self, course: Course, queued: Queued, processes: int) -> None:
        if not queued.rows:
            return
        self._started = time.monotonic()
        try:
            with runtimes_process() as ours:
                if ours:
                    self._say("No site runs here, so this command starts the sandboxes itself.")
                self._started = time.monotonic()
                grade_here(queued.rows, processes=processes, tell=self._progress)
        except CannotGrade as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            raise CommandError("Stopped. What is graded stays; the same command goes on with the rest.") from None
        seconds = time.monotonic() - self._started
        found = outcome(course, queued.rows)
        self._say(f"{len(queued.rows)} submissions in {duration(seconds)} ({len(queued.rows) / seconds:.2f} a second):")
        for line in found.lines():
            self._say(line)
        if failed := sum(found.failed.values()):
            raise CommandError(f"{failed} of {len(queued.rows)} submissions could not be graded to their end.")

    def _progress(self, done: int, total: int) -> None:
        now = time.monotonic()
        if done and not self._since:
            # Starting the sandboxes says nothing about how fast it goes then.
            self._since = (now, done)
        began, before = self._since or (now, done)
        rate = (done - before) / (now - began) if now > began else 0
        left = f"about {duration((total - done) / rate)} left" if rate else "time left unknown"
        self._say(f"{done} of {total} graded, {rate:.2f} a second, {left}")

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()


def duration(seconds: float) -> str:
    """Like “3 min 20 s”."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
