"""`manage.py export_nbgrader --course SLUG FOLDER`: a course as a folder that nbgrader goes on with."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from classroom.migrate.write_out import FolderInUse, write_out
from classroom.models import Course

_TELL_SECONDS = 2.0


class Command(BaseCommand):
    """Writes source, release, submitted, autograded, nbgrader_config.py and gradebook.db; the site is only read."""

    help = "Export a course as an nbgrader course folder with a gradebook.db. The folder must be new or empty."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Which course, and where to."""
        parser.add_argument("folder", type=Path, help="a new folder")
        parser.add_argument("--course", required=True, metavar="SLUG")

    def handle(self, *args: Any, **options: Any) -> None:
        """Export and print what was written. CommandError where nothing was."""
        course = Course.objects.filter(slug=options["course"]).first()
        if course is None:
            raise CommandError(f"There is no course {options['course']!r}.")
        self._told = time.monotonic()
        try:
            report = write_out(course, options["folder"], self._progress)
        except FolderInUse as error:
            raise CommandError(str(error)) from error
        except OSError as error:
            raise CommandError(f"{options['folder']} cannot be written: {error.strerror}.") from error
        self._say(f"Course {course.slug} in {options['folder']}:")
        for line in report.lines():
            self._say(line)
        self._say("Feedback: nbgrader generate_feedback NAME, in that folder.")

    def _progress(self, name: str, done: int, total: int) -> None:
        if time.monotonic() - self._told > _TELL_SECONDS:
            self._told = time.monotonic()
            self._say(f"{name}: {done} of {total} submissions")

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()
