"""What differs where blobs lie in an object store: requests that fail, large objects, long lists, a shared bucket."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ResponseStreamingError
from django.db import transaction
from google.api_core.exceptions import PreconditionFailed
from google.cloud.storage import Blob as CloudObject
from moto.s3.models import s3_backends

from classroom import work_storage
from deploy.local.services import free_port
from runtimes import blobs, storage
from runtimes.errors import StorageAway
from runtimes.objects import s3 as ours
from tests.runtimes import stores

LARGE = bytes(range(256)) * (9 << 12)  # 9 MiB, which go up in two parts


@pytest.fixture
def bucket(settings, monkeypatch) -> stores.S3:
    """Blobs lie in S3."""
    stores.let_in(monkeypatch)
    made = stores.S3()
    settings.STORAGES = {**settings.STORAGES, "work": made.backend}
    return made


@pytest.fixture
def once(monkeypatch) -> None:
    """No request is tried again."""
    monkeypatch.setattr(ours, "_CONFIG", Config(retries={"total_max_attempts": 1}))


def lies_at(settings, url: str) -> None:
    settings.STORAGES = {**settings.STORAGES, "work": work_storage.backend(url, Path("/nonexistent"))}


@pytest.mark.usefixtures("store")
def test_an_object_that_is_missing_is_a_missing_file():
    missing = blobs.digest(b"never stored")
    with pytest.raises(FileNotFoundError, match=missing):
        blobs.read(missing)
    with pytest.raises(FileNotFoundError):
        blobs.read_all([missing, missing])
    blobs.work_storage().delete(blobs.blob_name(missing))


@pytest.mark.usefixtures("store")
def test_a_large_content_comes_back_as_it_was_from_all_threads_at_once():
    blobs.save_bytes(blobs.digest(LARGE), LARGE)
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(blobs.read, [blobs.digest(LARGE)] * 8))
    assert all(data == LARGE for data in read)


def test_a_bucket_that_is_missing_is_no_missing_file(settings, bucket: stores.S3):
    lies_at(settings, bucket.url.replace(bucket.name, "no-such-bucket"))
    with pytest.raises(StorageAway, match="NoSuchBucket"):
        blobs.read(blobs.digest(b"x"))
    with pytest.raises(StorageAway):
        blobs.save_bytes(blobs.digest(b"x"), b"x")


@pytest.mark.usefixtures("bucket", "once")
def test_a_store_that_does_not_answer_is_said_in_a_sentence(settings):
    lies_at(settings, f"s3://school?endpoint_url=http://127.0.0.1:{free_port()}&region=us-east-1")
    calls = [
        lambda: blobs.read(blobs.digest(b"x")),
        lambda: blobs.save_bytes(blobs.digest(b"x"), b"x"),
        lambda: blobs.work_storage().exists("x"),
        lambda: blobs.work_storage().delete("x"),
        lambda: list(blobs.stored()),
    ]
    for call in calls:
        with pytest.raises(StorageAway) as away:
            call()
        assert away.value.retryable
        assert "Try again" in str(away.value.user_message)


def test_an_upload_that_fails_in_the_middle_leaves_nothing(bucket: stores.S3, monkeypatch):
    client = blobs.work_storage().client
    upload = client.upload_part

    def second_fails(**given: Any) -> Any:
        if given["PartNumber"] == 2:
            raise ClientError({"Error": {"Code": "InternalError", "Message": "no"}}, "UploadPart")
        return upload(**given)

    monkeypatch.setattr(client, "upload_part", second_fails)
    with pytest.raises(StorageAway, match="UploadPart"):
        blobs.save_bytes(blobs.digest(LARGE), LARGE)
    assert bucket.keys() == []
    assert "Uploads" not in bucket.client.list_multipart_uploads(Bucket=bucket.name)


@pytest.mark.usefixtures("bucket")
@pytest.mark.parametrize(("breaks", "comes"), [(1, True), (ours.TRIES, False)])
def test_an_answer_that_breaks_off_is_asked_for_again(monkeypatch, breaks: int, comes: bool):
    blobs.save_bytes(blobs.digest(b"whole"), b"whole")
    client = blobs.work_storage().client
    get, tries = client.get_object, []

    class Torn:
        def read(self, _size: int) -> bytes:
            raise ResponseStreamingError(error="broke off")

    def torn(**given: Any) -> Any:
        tries.append(given)
        return {"Body": Torn()} if len(tries) <= breaks else get(**given)

    monkeypatch.setattr(client, "get_object", torn)
    if comes:
        assert blobs.read(blobs.digest(b"whole")) == b"whole"
    else:
        with pytest.raises(StorageAway):
            blobs.read(blobs.digest(b"whole"))
    assert len(tries) == (breaks + 1 if comes else breaks)


def test_a_list_is_longer_than_a_page(bucket: stores.S3):
    names = {f"00/00/{number:064}" for number in range(1001)}
    [account] = [each for of in s3_backends.values() for each in of.values() if bucket.name in each.buckets]
    for name in names:
        account.put_object(bucket.name, f"{stores.PREFIX}/{name}", b"")
    assert {name for name, _written in blobs.stored()} == names


@pytest.mark.django_db
def test_two_sites_in_one_bucket_have_each_their_prefix(settings, bucket: stores.S3):
    here = storage.put(b"ours")
    lies_at(settings, bucket.url.replace(stores.PREFIX, "pupitre/files-of-others"))
    assert list(blobs.stored()) == []
    with pytest.raises(FileNotFoundError):
        storage.read(here)


def test_an_upload_to_cloud_storage_never_replaces_and_finds_that_another_was_faster(
    settings, monkeypatch, emulator: str
):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", emulator)
    made = stores.CloudStorage()
    settings.STORAGES = {**settings.STORAGES, "work": made.backend}
    conditions = []

    def refused(self: Any, content: Any, **given: Any) -> None:
        conditions.append(given["if_generation_match"])
        raise PreconditionFailed("somebody was faster")

    monkeypatch.setattr(CloudObject, "upload_from_file", refused)
    blobs.save_bytes(blobs.digest(b"x"), b"x")
    assert conditions == [0]


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("store")
def test_bytes_that_a_sweep_took_before_the_row_could_be_seen_are_put_back():
    with transaction.atomic():
        storage.put(b"contested")
        # A sweep that began before sees no row and takes them.
        blobs.work_storage().delete(blobs.blob_name(blobs.digest(b"contested")))
    assert storage.read(blobs.digest(b"contested")) == b"contested"
