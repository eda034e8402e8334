"""While DATA_DIR/hold names some words, whoever saves a notebook with them stops for ever once the blob is written."""

from __future__ import annotations

import threading
from types import ModuleType
from typing import Any

from django.apps import AppConfig
from django.conf import settings


class HoldingConfig(AppConfig):
    """Installed by tests.holding.settings, and nowhere else."""

    name = "tests.holding"

    def ready(self) -> None:
        from runtimes.jupyter import document_store

        vars(document_store)["blobs"] = _Held(document_store.blobs)


class _Held:
    """The module `runtimes.blobs`, but for `put`."""

    def __init__(self, blobs: ModuleType) -> None:
        self._blobs = blobs

    def __getattr__(self, name: str) -> Any:
        return getattr(self._blobs, name)

    def put(self, data: bytes) -> Any:
        blob = self._blobs.put(data)
        words = settings.DATA_DIR / "hold"
        if words.exists() and words.read_bytes() in data:
            (settings.DATA_DIR / "held").touch()
            threading.Event().wait()
        return blob
