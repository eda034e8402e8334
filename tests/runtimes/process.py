"""`manage.py runtimes` as a process of its own, on a test's database and folders.

python -m tests.runtimes.process   (what `RuntimesProcess` starts)
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

from django.conf import settings
from django.db import connection

READY = '"event": "runtimes: ready"'


class RuntimesProcess:
    """The process; `output` is all that it said. Use as a context manager: it ends with SIGTERM.

    margin: how far the provider's limits lie behind the site's; None for as far as they do. overrides: settings."""

    def __init__(self, *, margin: timedelta | None = None, **overrides: Any) -> None:
        self._settings = {
            "margin": None if margin is None else margin.total_seconds(),
            "database": str(connection.settings_dict["NAME"]),
            "run_dir": str(settings.RUN_DIR),
            "work": str(settings.STORAGES["work"]["OPTIONS"]["location"]),
            "overrides": overrides,
        }
        self.output = ""
        self._popen: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._ready = threading.Event()

    @property
    def pid(self) -> int:
        assert self._popen is not None
        return self._popen.pid

    def start(self) -> Self:
        """Returns once it owns its sandboxes."""
        environment = {
            **{name: text for name, text in os.environ.items() if name != "PYTHONUNBUFFERED"},
            "DJANGO_SETTINGS_MODULE": os.environ.get("DJANGO_SETTINGS_MODULE", "tests.settings"),
            "DATA_DIR": str(settings.DATA_DIR),
            "PUPITRE_TEST_PROCESS": json.dumps(self._settings),
        }
        self._ready.clear()
        self._popen = subprocess.Popen(
            [sys.executable, "-m", "tests.runtimes.process"], cwd=settings.BASE_DIR, env=environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, args=(self._popen,), daemon=True)
        self._reader.start()
        self._ready.wait(120)
        if READY not in self.output:
            self.kill()
            raise AssertionError(self.output)
        return self

    def _read(self, popen: subprocess.Popen[str]) -> None:
        assert popen.stdout is not None
        for line in popen.stdout:
            self.output += line
            if READY in line:
                self._ready.set()
        self._ready.set()

    def kill(self) -> None:
        """`kill -9`."""
        assert self._popen is not None
        self._popen.kill()
        self._wait()

    def stop(self) -> int:
        """SIGTERM, then its exit status."""
        assert self._popen is not None
        self._popen.terminate()
        return self._wait()

    def _wait(self) -> int:
        assert self._popen is not None
        assert self._reader is not None
        status = self._popen.wait(60)
        self._reader.join(10)
        assert self._popen.stdout is not None
        self._popen.stdout.close()
        self._popen = None
        return status

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_exc_info: object) -> None:
        if self._popen is not None:
            self.stop()


def main() -> None:
    import django
    from django.core.management import call_command

    wanted = json.loads(os.environ["PUPITRE_TEST_PROCESS"])
    settings.DATABASES["default"]["NAME"] = wanted["database"]
    settings.RUN_DIR = Path(wanted["run_dir"])
    settings.STORAGES["work"]["OPTIONS"]["location"] = wanted["work"]
    for name, value in wanted["overrides"].items():
        setattr(settings, name, value)
    django.setup()
    if wanted["margin"] is not None:
        from runtimes import profiles

        profiles.LIFETIME_MARGIN = timedelta(seconds=wanted["margin"])
    call_command("runtimes", skip_checks=True)


if __name__ == "__main__":
    main()
