"""`manage.py prepare`: what must exist before the processes start. Safe and quick to repeat."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    """Folders, database, translations and static files."""

    help = "Make folders, migrate the database, compile translations and collect static files."

    def handle(self, *args: Any, **options: Any) -> None:
        """Prepare everything in DATA_DIR and the compiled translations beside their sources."""
        make_folders(Path(settings.DATA_DIR))
        for source in sorted(Path(settings.BASE_DIR).glob("locale/*/LC_MESSAGES/*.po")):
            compile_translation(source)
        call_command("migrate", interactive=False, verbosity=0)
        call_command("collectstatic", interactive=False, verbosity=0)


def make_folders(data: Path) -> None:
    """What people wrote is for the site's user alone; others may pass through, to the sockets of their sandbox."""
    data.mkdir(parents=True, exist_ok=True)
    data.chmod(0o711)
    (data / "run").mkdir(exist_ok=True)
    for name in ("broker", "drive", "logs", "mail", "media", "pids", "secrets", "work"):
        (data / name).mkdir(exist_ok=True)
        (data / name).chmod(0o700)
    database = data / "db.sqlite3"
    if settings.DATABASES["default"]["ENGINE"].endswith("sqlite3"):
        # SQLite gives its journals the mode of the database.
        database.touch(mode=0o600)
        database.chmod(0o600)


def compile_translation(source: Path) -> Path:
    """The .mo of one .po, written again if it is older. Babel needs no gettext on the machine."""
    target = source.with_suffix(".mo")
    if not target.exists() or target.stat().st_mtime < source.stat().st_mtime:
        with source.open("rb") as stream:
            catalogue = read_po(stream, locale=source.parent.parent.name)
        aside = target.with_suffix(".new")
        with aside.open("wb") as stream:
            write_mo(stream, catalogue)
        aside.replace(target)
    return target
