"""`manage.py demo`: the demo course and its accounts. Safe to repeat; never undoes what someone did in the demo."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from classroom.demo.load import NotPublished, load
from classroom.demo.people import accounts


class Command(BaseCommand):
    """Loads the demo course and prints its accounts."""

    help = "Load the demo course: nbgrader's quickstart problem set and a tutorial. The site's processes must run."

    def handle(self, *args: Any, **options: Any) -> None:
        """Load what is not there yet and print the accounts, also when the problem set could not be opened."""
        try:
            load(say=self._say)
        except NotPublished as error:
            self._say(str(error))
        self.stdout.write(accounts())

    def _say(self, line: str) -> None:
        self.stderr.write(line)
        self.stderr.flush()
