"""`manage.py backup FOLDER`: the database and every stored file, as of one moment. While the site runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from classroom.back_up import BackupError, back_up
from classroom.checks import SITE
from classroom.dumps import DumpError
from runtimes.errors import StorageAway
from runtimes.leases import Held


class Command(BaseCommand):
    """Repeated into the same folder, it copies only files that are new there."""

    help = "Back up the database and all files of the site, as of one moment, into a folder. The site may run."
    requires_system_checks = (SITE,)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", type=Path, help="where backups are kept; made if needed")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            back_up(options["folder"], self.stdout.write)
        except Held as error:
            raise CommandError(
                "A sweep of files does not end. Look for `manage.py sweep_files`, then repeat."
            ) from error
        except (BackupError, DumpError, StorageAway, OSError) as error:
            raise CommandError(str(error)) from error
