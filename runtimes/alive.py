"""A sign of life for who watches a process that has no port: a file that its loop touches each time it goes round.

On Kubernetes a probe reads its age (`deploy/helm/pupitre/templates/processes.yaml`): a loop that hangs touches nothing,
one that only has much to do does.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from django.conf import settings


def path(process: str) -> Path:
    """The file of `runtimes`, `worker` or `beat`."""
    return Path(settings.RUN_DIR) / f"alive.{process}"


def moved(process: str) -> None:
    """Says that its loop has gone round. Where nothing can be written the sign is missing, which says so."""
    sign = path(process)
    with suppress(OSError):
        sign.parent.mkdir(parents=True, exist_ok=True)
        sign.touch()
