"""What tests of runtimes share: a folder for blobs, a folder for sockets, a workspace."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtimes.models import MIB, Profile, Workspace
from tests.runtimes import stores


@pytest.fixture(autouse=True)
def run_dir(settings) -> Iterator[Path]:
    """A short folder of this test's own for sockets."""
    folder = Path(tempfile.mkdtemp(prefix="pr-", dir="/tmp"))
    folder.chmod(0o711)  # the sandboxes' uid goes through it
    settings.RUN_DIR = folder
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def work_dir(settings, tmp_path: Path) -> Path:
    """A folder of this test's own for blobs."""
    folder = tmp_path / "work"
    backend = {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": folder}}
    settings.STORAGES = {**settings.STORAGES, "work": backend}
    return folder


@pytest.fixture(scope="session")
def emulator() -> Iterator[str]:
    """The address of an emulator of Cloud Storage."""
    with stores.emulator() as address:
        yield address


@pytest.fixture(params=["folder", "s3", "gs"])
def store(request, settings, monkeypatch, work_dir: Path) -> stores.Store:
    """An empty place for blobs: the test runs on each kind there is."""
    stores.let_in(monkeypatch)
    if request.param == "gs":
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", request.getfixturevalue("emulator"))
    made = stores.made(request.param, work_dir)
    settings.STORAGES = {**settings.STORAGES, "work": made.backend}
    return made


@pytest.fixture
def profile(db) -> Profile:
    return Profile.objects.create(slug="small", name="Small", memory_bytes=256 * MIB, home_bytes=64 * MIB)


@pytest.fixture
def workspace(profile: Profile) -> Workspace:
    """Ada's work on one assignment; it may hold one MiB."""
    return Workspace.objects.create(profile=profile, account="course-1", title="Ada: ps1", quota_bytes=MIB)
