"""`manage.py demo`: the demo course and its accounts. Safe to repeat; never undoes what someone did in the demo."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from classroom.demo import load, people


class Command(BaseCommand):
    """Loads the demo course and returns its accounts as text."""

    help = "Load the demo course: nbgrader's quickstart problem set and a tutorial."

    def handle(self, *args: Any, **options: Any) -> str:
        """The accounts and their password, for a person to read."""
        load.load(say=self.stderr.write)
        return accounts()


def accounts() -> str:
    """A line for each account, and the password they share."""
    width = max(len(person.username) for person in people.CAST)
    lines = [f"  {person.username:<{width}}  {_part(person)}" for person in people.CAST]
    note = f"Demo accounts, all with the password {people.password()} (made by chance for this data folder):"
    return "\n".join([note, *lines])


def _part(person: people.Person) -> str:
    return f"{person.role.label}, section {person.section}" if person.section else str(person.role.label)
