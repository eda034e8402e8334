"""`WORK_STORAGE` is a place and nothing else; what it cannot be is refused with what to write."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage.handler import StorageHandler

from classroom import checks, work_storage
from tests.runtimes import stores

FOLDER = Path("/srv/pupitre/work")


def test_without_it_files_lie_in_a_folder():
    made = work_storage.backend("", FOLDER)
    assert made["BACKEND"].endswith("FileSystemStorage")
    assert made["OPTIONS"] == {"location": FOLDER}


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("s3://school-files", {"bucket_name": "school-files", "location": ""}),
        ("s3://school/pupitre/", {"bucket_name": "school", "location": "pupitre"}),
        (
            "s3://school/a/b?endpoint_url=https%3A%2F%2Fminio.example%3A9000&region=eu-west-3&addressing_style=path",
            {
                "bucket_name": "school",
                "location": "a/b",
                "endpoint_url": "https://minio.example:9000",
                "region_name": "eu-west-3",
                "addressing_style": "path",
            },
        ),
        ("s3://school?endpoint_url=http://minio:9000", {"endpoint_url": "http://minio:9000"}),
        ("gs://school.example/pupitre", {"bucket_name": "school.example", "location": "pupitre"}),
    ],
)
def test_a_bucket_and_a_prefix_in_it(url: str, options: dict[str, str]):
    made = work_storage.backend(url, FOLDER)
    assert options.items() <= made["OPTIONS"].items()
    storage = StorageHandler({"work": made})["work"]
    assert (storage.bucket_name, storage.location) == (made["OPTIONS"]["bucket_name"], made["OPTIONS"]["location"])


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("/srv/files", "Set it to s3://bucket/prefix or gs://bucket/prefix, or leave it empty for a folder"),
        ("https://s3.example/school", "neither s3:// nor gs://"),
        ("s3://", "no bucket"),
        ("s3://School_Files", "no bucket"),
        ("s3://AKIA:hush", "no bucket"),
        ("s3://[school", "cannot be read"),
        ("s3://AKIA:hush@school/x", "sign in by AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        ("gs://key:hush@school", "sign in by GOOGLE_APPLICATION_CREDENTIALS"),
        ("s3://school/../other", "the prefix"),
        ("s3://school/a b", "the prefix"),
        ("s3://school/a#b", "a #"),
        (
            "s3://school?secret_key=hush",
            "There are endpoint_url, region, addressing_style; sign in by AWS_",
        ),
        ("s3://school?endpoint_url=minio:9000", "Set it to https://host:port"),
        ("s3://school?endpoint_url=https://key:hush@minio", "Set it to https://host:port"),
        ("s3://school?region=", "a name such as eu-west-3"),
        ("s3://school?addressing_style=old", "path, virtual or auto"),
        ("gs://school?region=europe", "There are none for gs://"),
    ],
)
def test_what_it_cannot_be_is_refused_and_a_key_in_it_never_said(url: str, words: str):
    with pytest.raises(ImproperlyConfigured) as refused:
        work_storage.backend(url, FOLDER)
    assert words in str(refused.value)
    assert "hush" not in str(refused.value)


def test_a_bucket_that_does_not_let_the_site_in_is_said_by_the_check_of_a_deployment(settings, monkeypatch):
    stores.let_in(monkeypatch)
    made = stores.S3()
    settings.STORAGES = {**settings.STORAGES, "work": made.backend}
    assert list(checks.check_storage(None)) == []
    gone = {**made.backend, "OPTIONS": {**made.backend["OPTIONS"], "bucket_name": "no-such-bucket"}}
    settings.STORAGES = {**settings.STORAGES, "work": gone}
    [found] = checks.check_storage(None)
    assert found.id == "pupitre.E040"
    assert "NoSuchBucket" in found.msg
