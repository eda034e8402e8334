"""Where blobs can lie: a folder; S3 as moto speaks it, Cloud Storage as an emulator does, both on loopback."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import boto3
import pytest
from gcp_storage_emulator.server import create_server
from google.cloud.storage import Client
from moto.server import ThreadedMotoServer

from classroom import work_storage
from deploy.local.services import free_port

PREFIX = "pupitre/files"


class Folder:
    """A folder, as on one machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.backend = work_storage.backend("", folder)

    def contents(self) -> list[bytes]:
        """All there is, whether or not a row names it."""
        return [path.read_bytes() for path in self._folder.rglob("*") if path.is_file()]

    def put(self, name: str, data: bytes) -> None:
        """Puts something there behind the site's back."""
        (self._folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self._folder / name).write_bytes(data)


class S3:
    """A bucket of its own. The client is boto3's own, so that what the site says is checked by another."""

    def __init__(self) -> None:
        endpoint = moto()
        self.name = f"b-{secrets.token_hex(4)}"
        self.client: Any = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
        self.client.create_bucket(Bucket=self.name)
        self.url = f"s3://{self.name}/{PREFIX}?endpoint_url={quote(endpoint)}&region=us-east-1"
        self.backend = work_storage.backend(self.url, Path("/nonexistent"))

    def keys(self) -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name)
        return [found["Key"] for page in pages for found in page.get("Contents", ())]

    def contents(self) -> list[bytes]:
        return [self.client.get_object(Bucket=self.name, Key=key)["Body"].read() for key in self.keys()]

    def put(self, name: str, data: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=f"{PREFIX}/{name}", Body=data)


class CloudStorage:
    """A bucket of its own in the emulator, asked by Google's own client."""

    def __init__(self) -> None:
        self.name = f"b-{secrets.token_hex(4)}"
        self._bucket: Any = Client(project="school").create_bucket(self.name)
        self.url = f"gs://{self.name}/{PREFIX}"
        self.backend = work_storage.backend(self.url, Path("/nonexistent"))

    def contents(self) -> list[bytes]:
        return [found.download_as_bytes() for found in self._bucket.list_blobs()]

    def put(self, name: str, data: bytes) -> None:
        self._bucket.blob(f"{PREFIX}/{name}").upload_from_string(data)


Store = Folder | S3 | CloudStorage


@cache
def moto() -> str:
    """The address of moto's server, which runs in this process until it ends."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    return f"http://{host}:{port}"


@contextmanager
def emulator() -> Iterator[str]:
    """The address of an emulator of Cloud Storage. Its thread has to be ended, or Python waits for it."""
    logging.getLogger("gcp_storage_emulator").setLevel(logging.ERROR)
    port = free_port()
    with create_server("127.0.0.1", port, in_memory=True):
        yield f"http://127.0.0.1:{port}"


def let_in(patch: pytest.MonkeyPatch) -> None:
    """What an administrator gives boto3: keys in the environment; and no proxy to loopback."""
    patch.setenv("AWS_ACCESS_KEY_ID", "key")
    patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    patch.setenv("NO_PROXY", "127.0.0.1")
    patch.setenv("no_proxy", "127.0.0.1")


def made(kind: str, folder: Path) -> Store:
    """An empty one: "folder", "s3" or "gs"."""
    return Folder(folder) if kind == "folder" else S3() if kind == "s3" else CloudStorage()
