"""`manage.py prepare`: what must exist before the processes start. Safe and quick to repeat."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import django
from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command
from django.core.management.base import BaseCommand

from classroom.checks import SITE
from classroom.translations import compile_translation


class Command(BaseCommand):
    """Folders, database, translations and static files."""

    help = "Make folders, migrate the database, compile translations and collect static files."
    requires_system_checks = (SITE,)

    def handle(self, *args: Any, **options: Any) -> None:
        """Prepare everything in DATA_DIR and the compiled translations beside their sources."""
        make_folders(Path(settings.DATA_DIR))
        for source in sorted(Path(settings.BASE_DIR).glob("locale/*/LC_MESSAGES/*.po")):
            compile_translation(source)
        call_command("migrate", interactive=False, verbosity=0)
        collect_static(Path(settings.STATIC_ROOT))


def collect_static(target: Path) -> None:
    """Collect and compress static files where one has changed since the last time: it takes seconds."""
    digest, noted = _digest_of_static_files(), target / ".collected"
    if noted.exists() and noted.read_text() == digest:
        return
    call_command("collectstatic", interactive=False, clear=True, verbosity=0)
    noted.write_text(digest)


def _digest_of_static_files() -> str:
    digest = hashlib.sha256(django.__version__.encode())
    for finder in get_finders():
        for name, storage in finder.list([]):
            about = Path(storage.path(name)).stat()
            digest.update(f"{name}\0{about.st_mtime_ns}\0{about.st_size}\n".encode())
    return digest.hexdigest()


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
