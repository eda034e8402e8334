"""`manage.py restore FOLDER`: a backup in the place of the whole site. While nothing of the site runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from classroom.back_up import MANIFEST, BackupError
from classroom.bring_back import bring_back, find, newest
from classroom.checks import SITE
from classroom.dumps import DumpError
from runtimes.errors import StorageAway


class Command(BaseCommand):
    """Looks at everything before it changes anything."""

    help = "Bring a backup back: the newest in a folder of backups, or the one that is named. Nothing else may run."
    requires_system_checks = (SITE,)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", type=Path, help="a folder of backups, or one backup in it")
        parser.add_argument("--replace", action="store_true", help="throw away what this site has now")

    def handle(self, *args: Any, **options: Any) -> None:
        folder: Path = options["folder"].absolute()
        try:
            found = find(folder if (folder / MANIFEST).is_file() else newest(folder))
            bring_back(found, self.stdout.write, replace=options["replace"])
        except (BackupError, DumpError, StorageAway, OSError) as error:
            raise CommandError(str(error)) from error
