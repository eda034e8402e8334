"""`manage.py sweep_files`: frees the disk of what nothing refers to any more."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from runtimes.errors import StorageAway
from runtimes.leases import Held
from runtimes.sweep import KEEP, sweep, sweep_strays


class Command(BaseCommand):
    """Safe while the site runs; once a day or week is plenty."""

    help = "Delete stored snapshots and file contents that no work, submission or release refers to."
    requires_system_checks = ("pupitre",)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--older-than-hours", type=float, default=KEEP.total_seconds() / 3600)
        parser.add_argument(
            "--strays",
            action="store_true",
            help="also contents that the database does not know: only where no other site uses this folder or bucket",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        older_than = timedelta(hours=options["older_than_hours"])
        try:
            snapshots, contents = sweep(older_than)
            strays = sweep_strays(older_than) if options["strays"] else 0
        except Held as error:
            raise CommandError("A backup or another sweep is at work. Run this again when it has ended.") from error
        except StorageAway as error:
            raise CommandError(f"Storage is away: {error}. Run this again when it is back; nothing is lost.") from error
        self.stdout.write(f"{snapshots} snapshots and {contents + strays} file contents deleted")
