"""`manage.py rotate_master_key`: new runtimes get keys from a new master key; those that run keep theirs."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from classroom.checks import SITE
from classroom.environment import secret_file
from runtimes.models import Runtime

# `runtimes` begins to give out the new key: by then the others know it.
ORDER = "Then restart site, worker and beat, and once they are up `runtimes`; kernels go on."


class Command(BaseCommand):
    """Two steps, with a restart of the site after each. No kernel is stopped."""

    help = (
        "Make a new master key, which new runtimes use once the site's processes were restarted. With --forget, after "
        "the last runtime with an older key has ended, throw the older keys away."
    )
    requires_system_checks = (SITE,)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--forget", action="store_true", help="throw away keys that no runtime uses any more")

    def handle(self, *args: Any, **options: Any) -> None:
        forget: bool = options["forget"]
        if forget:
            self._nobody_uses_older_ones()
        if os.environ.get("MASTER_KEY"):
            self._say_what_to_set(os.environ["MASTER_KEY"], forget)
        elif forget:
            self._delete_older_files()
        else:
            version = settings.MASTER_KEY_VERSION + 1
            secret_file(_folder(), f"master.{version}")
            self.stdout.write(f"Version {version} is made. {ORDER}")

    def _nobody_uses_older_ones(self) -> None:
        left = Runtime.objects.filter(state__in=Runtime.LIVE, key_version__lt=settings.MASTER_KEY_VERSION)
        # A row that waits has no keys yet, whatever its column says.
        if count := left.exclude(state=Runtime.State.QUEUED).count():
            raise CommandError(f"{count} runtimes have older keys: wait until they have ended, or stop them.")

    def _say_what_to_set(self, has: str, forget: bool) -> None:
        version = settings.MASTER_KEY_VERSION
        if forget:
            self.stdout.write(f"Take all but the key of version {version} out of MASTER_KEY ({version}:…) and restart.")
            return
        self.stdout.write(f"Set MASTER_KEY to the next line, with what it has now in place of the dots. {ORDER}")
        # A key alone has no version, those of an earlier change have theirs.
        before = "…" if ":" in has else f"{version}:…"
        self.stdout.write(f"{version + 1}:{secrets.token_hex(32)} {before}")

    def _delete_older_files(self) -> None:
        for version in settings.MASTER_KEYS_BEFORE:
            (_folder() / ("master" if version == 1 else f"master.{version}")).unlink(missing_ok=True)
        self.stdout.write(f"Only version {settings.MASTER_KEY_VERSION} is left. Restart the processes of the site.")


def _folder() -> Path:
    return Path(settings.DATA_DIR) / "secrets"
