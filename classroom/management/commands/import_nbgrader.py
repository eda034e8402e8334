"""`manage.py import_nbgrader FOLDER --course SLUG`: an existing nbgrader course into the site. Safe to repeat."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.core.validators import validate_slug

from classroom.errors import ClassroomError
from classroom.migrate.course import CannotImport, course_for
from classroom.migrate.take_in import take_in
from classroom.people.models import validate_time_zone
from grading.engine.course_folder import NoCourseFolder
from grading.engine.gradebook_values import GradebookUnreadable


class Command(BaseCommand):
    """Takes people, assignments, submissions, scores, marks and comments over; the folder is only read."""

    help = (
        "Import an nbgrader course folder (source, release, submitted, autograded, gradebook.db). Run it again after "
        "the folder has changed: what is new is added, and nothing is made twice."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The folder, the course, and what a new course is called."""
        parser.add_argument("folder", type=Path, help="the folder with nbgrader_config.py in it")
        parser.add_argument("--course", required=True, metavar="SLUG", help="short name; the course is made if needed")
        parser.add_argument("--title", default="", help="title of a new course")
        parser.add_argument("--teacher", default="", help="user name or email of its teacher, the author of old marks")
        parser.add_argument("--time-zone", default="UTC", help="time zone of a new course, like Europe/Paris")

    def handle(self, *args: Any, **options: Any) -> None:
        """Import and print what came of it. CommandError where nothing can be imported at all."""
        folder: Path = options["folder"]
        if not folder.is_dir():
            raise CommandError(f"{folder} is not a folder.")
        try:
            validate_slug(options["course"])
            validate_time_zone(options["time_zone"])
            course, by = course_for(
                options["course"], title=options["title"], teacher=options["teacher"], time_zone=options["time_zone"]
            )
            report = take_in(course, folder, by, self._say)
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        except (CannotImport, NoCourseFolder, GradebookUnreadable) as error:
            raise CommandError(str(error)) from error
        except ClassroomError as error:
            raise CommandError(str(error.user_message)) from error
        self._say(f"Course {course.slug}:")
        for line in report.lines():
            self._say(line)
        if report.counts.get("  waiting to be graded"):
            self._say(f"To grade what waits: manage.py autograde --course {course.slug} --wait")

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()
