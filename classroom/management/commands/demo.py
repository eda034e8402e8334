"""`manage.py demo`: the demo course and its accounts. Safe to repeat; never undoes what someone did in the demo."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from classroom.demo.load import load
from classroom.demo.people import accounts


class Command(BaseCommand):
    """Loads the demo course and returns its accounts as text."""

    help = "Load the demo course: nbgrader's quickstart problem set and a tutorial."

    def handle(self, *args: Any, **options: Any) -> str:
        """The accounts and their password, for a person to read."""
        load(say=self.stderr.write)
        return accounts()

