"""`manage.py sweep_files`: frees the disk of what nothing refers to any more."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from runtimes.leases import Held
from runtimes.sweep import KEEP, sweep


class Command(BaseCommand):
    """Safe while the site runs; once a day or week is plenty."""

    help = "Delete stored snapshots and file contents that no work, submission or release refers to."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--older-than-hours", type=float, default=KEEP.total_seconds() / 3600)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            snapshots, contents = sweep(timedelta(hours=options["older_than_hours"]))
        except Held as error:
            raise CommandError("A backup or another sweep is at work. Run this again when it has ended.") from error
        self.stdout.write(f"{snapshots} snapshots and {contents} file contents deleted")
