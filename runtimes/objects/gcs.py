"""Google Cloud Storage."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from typing import Any

import requests
from django.core.files.base import File
from google.api_core.exceptions import GoogleAPIError, NotFound, PreconditionFailed
from google.auth.exceptions import GoogleAuthError
from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
from google.cloud.storage.retry import DEFAULT_RETRY
from storages.backends.gcloud import GoogleCloudStorage

from runtimes.objects.edge import CONNECT_SECONDS, READ_SECONDS, TRIES, reached, spool

_THEIRS = (GoogleAPIError, GoogleAuthError, InvalidResponse, DataCorruption, requests.RequestException)
_PATIENCE: dict[str, Any] = {
    "timeout": (CONNECT_SECONDS, READ_SECONDS),
    "retry": DEFAULT_RETRY.with_timeout(TRIES * READ_SECONDS),
}


class CloudBlobs(GoogleCloudStorage):
    """Asks for no description of an object before it reads or writes one."""

    def _blob(self, name: str) -> Any:
        return self.bucket.blob(self._normalize_name(name))

    def _open(self, name: str, mode: str = "rb") -> File[bytes]:
        copy = spool()
        try:
            with reached(_THEIRS, name):
                try:
                    self._blob(name).download_to_file(copy, **_PATIENCE)
                except NotFound as error:
                    raise FileNotFoundError(name) from error
        except BaseException:
            copy.close()
            raise
        copy.seek(0)
        return File(copy, name)

    def _save(self, name: str, content: File[bytes]) -> str:
        # Only where there is none: with that condition an upload whose answer was lost may be tried again.
        with reached(_THEIRS, name), suppress(PreconditionFailed):
            self._blob(name).upload_from_file(
                content, rewind=True, size=content.size, if_generation_match=0, **_PATIENCE
            )
        return name

    def exists(self, name: str) -> bool:
        with reached(_THEIRS, name):
            return bool(self._blob(name).exists(**_PATIENCE))

    def delete(self, name: str) -> None:
        with reached(_THEIRS, name), suppress(NotFound):
            self._blob(name).delete(**_PATIENCE)

    def stored(self) -> Iterator[tuple[str, datetime]]:
        """Name and time of writing, by the store's clock, of everything below the prefix."""
        prefix = f"{self.location}/" if self.location else ""
        with reached(_THEIRS, ""):
            for found in self.client.list_blobs(self.bucket_name, prefix=prefix, **_PATIENCE):
                yield found.name.removeprefix(prefix), found.updated
