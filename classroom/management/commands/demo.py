"""`manage.py demo`: the demo course and its accounts. Safe to repeat; never undoes what someone did in the demo."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from classroom.demo.load import NotPublished, load


class Command(BaseCommand):
    """Loads the demo course and prints its accounts."""

    help = "Load the demo course: nbgrader's quickstart problem set and a tutorial. The site's processes must run."

    def handle(self, *args: Any, **options: Any) -> None:
        """Load what is not there yet. CommandError when the problem set could not be opened."""
        try:
            load(say=self._say)
        except NotPublished as error:
            raise CommandError(str(error)) from error

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()
