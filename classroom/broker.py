"""Celery's messages as files in a folder, safe between processes.

kombu's file-system transport creates a message's file before it fills it, so that a worker may read an empty one and
end; the same holds for its table of queues. Here a message appears whole, by a rename, and the table is locked.
"""

from __future__ import annotations

import fcntl
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty
from typing import Any

from kombu.transport import TRANSPORT_ALIASES, filesystem
from kombu.utils.json import dumps, loads

SCHEME = "folder"


class Channel(filesystem.Channel):
    """Messages are files `<time>_<id>.<queue>.msg`, taken oldest first by whoever renames one first."""

    def _put(self, queue: str, payload: Any, **_options: Any) -> None:  # type: ignore[override] # as kombu's own
        name = f"{time.time_ns():020}_{uuid.uuid4().hex}.{queue}.msg"
        folder = Path(self.data_folder_out)
        aside = folder / f"{name}.part"
        aside.write_bytes(dumps(payload).encode())
        aside.replace(folder / name)

    def _get(self, queue: str, timeout: float | None = None) -> Any:
        folder = Path(self.data_folder_in)
        for name in sorted(path.name for path in folder.iterdir()):
            if name.partition(".")[2] != f"{queue}.msg":
                continue
            taken = folder / f"{name}.{uuid.uuid4().hex}.taken"
            try:
                (folder / name).rename(taken)
            except FileNotFoundError:
                # Another worker was first.
                continue
            payload = loads(taken.read_bytes())
            taken.unlink()
            return payload
        raise Empty

    def get_table(self, exchange: str) -> list[Any]:
        """The queues bound to an exchange."""
        with self._locked():
            return list(super().get_table(exchange))

    def _queue_bind(self, *arguments: Any) -> None:
        with self._locked():
            super()._queue_bind(*arguments)

    def _delete(self, *arguments: Any, **options: Any) -> None:
        with self._locked():
            super()._delete(*arguments, **options)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (Path(self.control_folder) / "lock").open("a") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield


class Transport(filesystem.Transport):
    """kombu's transport for `folder://` addresses."""

    Channel = Channel


TRANSPORT_ALIASES[SCHEME] = f"{__name__}:Transport"
