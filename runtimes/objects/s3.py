"""Amazon S3, and what speaks as it does: MinIO, Ceph, Garage, Cloudflare R2 and others."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import datetime
from functools import cached_property
from typing import Any

from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from django.core.files.base import File
from s3transfer.utils import S3_RETRYABLE_DOWNLOAD_ERRORS
from storages.backends.s3 import S3Storage

from runtimes.objects.edge import CONNECT_SECONDS, READ_SECONDS, TRIES, reached, spool

_THEIRS = (ClientError, BotoCoreError, HTTPClientError, Boto3Error, *S3_RETRYABLE_DOWNLOAD_ERRORS)
_CONFIG = Config(
    connect_timeout=CONNECT_SECONDS,
    read_timeout=READ_SECONDS,
    retries={"mode": "standard", "total_max_attempts": TRIES},
    max_pool_connections=50,
)


class S3Blobs(S3Storage):
    """One client for all threads, which boto3 allows for clients; S3Storage makes a resource for each, in 0.1 s."""

    # A large object goes up in parts, one after another in the thread that asked; if one fails, none is left.
    transfer_config = TransferConfig(use_threads=False)

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._config = self.client_config.merge(_CONFIG)

    @cached_property
    def client(self) -> Any:
        return self._create_session().client(
            "s3",
            region_name=self.region_name,
            endpoint_url=self.endpoint_url,
            config=self._config,
        )

    def _key(self, name: str) -> dict[str, str]:
        return {"Bucket": self.bucket_name, "Key": self._normalize_name(name)}

    def _open(self, name: str, mode: str = "rb") -> File[bytes]:
        with reached(_THEIRS, name):
            for tried in range(1, TRIES + 1):
                try:
                    return File(self._fetched(name), name)
                except S3_RETRYABLE_DOWNLOAD_ERRORS:  # boto3 tries requests again, but not an answer that breaks off
                    if tried == TRIES:
                        raise
        raise AssertionError("the last try returns or raises")

    def _fetched(self, name: str) -> Any:
        copy = spool()
        try:
            shutil.copyfileobj(self.client.get_object(**self._key(name))["Body"], copy)
        except ClientError as error:
            copy.close()
            if error.response["Error"]["Code"] == "NoSuchKey":
                raise FileNotFoundError(name) from error
            raise
        except BaseException:
            copy.close()
            raise
        copy.seek(0)
        return copy

    def _save(self, name: str, content: File[bytes]) -> str:
        with reached(_THEIRS, name):
            self.client.upload_fileobj(content, **self._key(name), Config=self.transfer_config)
        return name

    def exists(self, name: str) -> bool:
        with reached(_THEIRS, name):
            try:
                self.client.head_object(**self._key(name))
            except ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                    return False
                raise
        return True

    def delete(self, name: str) -> None:
        with reached(_THEIRS, name):
            self.client.delete_object(**self._key(name))

    def stored(self) -> Iterator[tuple[str, datetime]]:
        """Name and time of writing, by the store's clock, of everything below the prefix."""
        prefix = f"{self.location}/" if self.location else ""
        with reached(_THEIRS, ""):
            for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket_name, Prefix=prefix):
                for found in page.get("Contents", ()):
                    yield found["Key"].removeprefix(prefix), found["LastModified"]
