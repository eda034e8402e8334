"""A backup is of one moment, and brings everything of that moment back."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.apps import apps
from django.contrib.sessions.models import Session
from django.core.files.storage import InMemoryStorage
from django.db import connection
from django.test import Client
from django.utils import timezone

from classroom import back_up, bring_back, dumps
from classroom.models import Course
from classroom.people.models import User
from grading.models import ReleaseCheck, Submission
from runtimes import blobs, leases, storage, sweep
from runtimes.models import Blob, Lease, Snapshot
from tests.live import LiveSite
from tests.runtimes import stores
from tests.world import build, make_course, make_teacher, make_user

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def filled(live: LiveSite) -> LiveSite:
    """A site that runs, with a course and what was handed in."""
    with live.orm():
        people = {name: make_user(name) for name in ("tim", "tess", "ada", "ben", "cleo", "dan", "eve")}
        build(make_course({"grace": make_teacher("grace"), **people}))
        # The site's worker has done what it will: nothing changes from here on that no test changes.
        under_way = ReleaseCheck.objects.filter(state__in=[ReleaseCheck.State.QUEUED, ReleaseCheck.State.RUNNING])
        live.until(lambda: not under_way.exists(), "the solutions were run")
    return live


@pytest.fixture(scope="module")
def kept(filled: LiveSite, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one backup."""
    folder = tmp_path_factory.mktemp("backups")
    filled.manage("backup", str(folder))
    return folder


def contents() -> dict[str, list[object]]:
    """All rows of what people made."""
    models = [model for model in apps.get_models() if model._meta.app_label in {"people", "classroom", "grading"}]
    return {model._meta.label: sorted(map(str, model._base_manager.values_list())) for model in models}


def refusal(live: LiveSite, *arguments: str) -> str:
    """What a management command says that cannot do what it was asked."""
    with pytest.raises(subprocess.CalledProcessError) as refused:
        live.manage(*arguments, stderr=subprocess.PIPE)
    return str(refused.value.stderr)


def writes(stop: threading.Event) -> None:
    """Hands in new files without end, each a row that names a blob, as a busy site does."""
    number = 0
    while not stop.wait(0.02):
        number += 1
        storage.snapshot_of({"answer.ipynb": f"typed {number}".encode()})
    connection.close()


def test_what_is_written_meanwhile_is_in_it_whole_or_not_at_all(filled: LiveSite, tmp_path: Path):
    stop = threading.Event()
    with filled.orm():
        writer = threading.Thread(target=writes, args=(stop,))
        writer.start()
        try:
            made = back_up.back_up(tmp_path, lambda line: None)
        finally:
            stop.set()
            writer.join()
        found = bring_back.find(made)
        named = {sha256: path.read_bytes() for sha256, _size, path in found.files()}
    assert all(blobs.digest(data) == sha256 for sha256, data in named.items())
    assert found.manifest.files == len(named)


def test_it_comes_back_as_it_was_and_everyone_signs_in_again(filled: LiveSite, kept: Path):
    with filled.orm():
        before = contents()
        client = Client()
        client.force_login(User.objects.get(username="ada"))
        make_user("newcomer")
        Course.objects.update(title="spoilt")
        later = storage.put(b"handed in after the backup")
    assert "running" in refusal(filled, "restore", str(kept), "--replace")
    filled.stop()
    try:
        assert "--replace" in refusal(filled, "restore", str(kept))
        filled.manage("restore", str(kept), "--replace")
        with filled.orm():
            assert contents() == before
            assert not Session.objects.exists()
            assert not Lease.objects.exists()
            assert not Blob.objects.filter(pk=later.pk).exists()
            for submission in Submission.objects.all():
                assert storage.read_snapshot(submission.snapshot)
    finally:
        filled.start()


def test_client_programs_newer_than_the_server_bring_it_back() -> None:
    """pg_restore of 17 begins so; PostgreSQL 16 and before know no such setting."""
    data = b"SET transaction_timeout = 0;\n"
    script = [b"SET statement_timeout = 0;\n", data, b"COPY notes FROM stdin;\n", data, b"\\.\n"]
    assert list(dumps.known_to_every_server(script)) == [script[0], *script[2:]]


def test_an_empty_machine_gets_all_of_it(filled: LiveSite, kept: Path, django_db_blocker):
    other = LiveSite(django_db_blocker)
    try:
        other.manage("restore", str(kept))
        with other.orm():
            assert Submission.objects.exists()
            assert all(storage.read(blob) is not None for blob in Blob.objects.all())
    finally:
        other.remove()


def test_a_second_one_copies_what_is_new_and_the_newest_is_taken(filled: LiveSite, kept: Path):
    first = {path: path.stat().st_mtime_ns for path in (kept / back_up.FILES).rglob("*") if path.is_file()}
    with filled.orm():
        storage.snapshot_of({"n.ipynb": f"new since {len(first)} files".encode()})
        made = back_up.back_up(kept, lambda line: None)
        assert bring_back.newest(kept) == made
    second = {path: path.stat().st_mtime_ns for path in (kept / back_up.FILES).rglob("*") if path.is_file()}
    assert second.keys() > first.keys()
    assert {path: second[path] for path in first} == first


def test_files_in_a_bucket_are_copied_too_and_come_back_into_another_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, django_db_blocker
):
    stores.let_in(monkeypatch)
    contents = {f"{number}.txt": f"file {number}".encode() for number in range(20)}
    old, new = (LiveSite(django_db_blocker, WORK_STORAGE=stores.S3().url) for _ in range(2))
    try:
        old.manage("migrate", "--verbosity=0")
        with old.orm():
            frozen = storage.snapshot_of(contents)
        assert "20 files" in old.manage("backup", str(tmp_path))
        assert "20 of them new" in new.manage("restore", str(tmp_path))
        with new.orm():
            assert storage.read_snapshot(frozen) == contents
            assert not (new.folder / "work").exists()
            blobs.work_storage().delete(blobs.blob_name(blobs.digest(b"file 7")))
            with pytest.raises(back_up.BackupError, match="Storage has lost the file"):
                back_up.back_up(tmp_path / "second", lambda line: None)
    finally:
        old.remove()
        new.remove()


class TestWhatIsWrongIsSaidAndNothingChanged:
    @pytest.fixture
    def copy(self, filled: LiveSite, kept: Path, tmp_path: Path) -> Iterator[Path]:
        shutil.copytree(kept, tmp_path / "backups")
        with filled.orm():
            yield bring_back.newest(tmp_path / "backups")

    def _changed(self, copy: Path, **what: object) -> None:
        manifest = json.loads((copy / back_up.MANIFEST).read_text())
        (copy / back_up.MANIFEST).write_text(json.dumps(manifest | what))

    def test_no_backup_at_all(self, filled: LiveSite, tmp_path: Path):
        with pytest.raises(back_up.BackupError, match="no backup in"):
            bring_back.newest(tmp_path)
        assert "no backup in" in refusal(filled, "restore", str(tmp_path))

    def test_a_damaged_dump(self, copy: Path):
        with next(copy.glob("database.*")).open("r+b") as stream:
            stream.seek(100)
            stream.write(b"damage")
        with pytest.raises(back_up.BackupError, match="missing or damaged"):
            bring_back.find(copy)

    def test_a_file_that_is_gone(self, copy: Path):
        next(path for _sha, _size, path in bring_back.find(copy).files()).unlink()
        with pytest.raises(back_up.BackupError, match="missing or damaged"):
            bring_back.find(copy)

    def test_a_file_of_other_content_ends_it_before_the_database_is_touched(self, copy: Path, monkeypatch):
        monkeypatch.setattr(bring_back, "_runs", lambda: False)
        found = bring_back.find(copy)
        _sha256, size, path = next(found.files())
        path.write_bytes(b"x" * size)
        monkeypatch.setattr(bring_back.blobs, "work_storage", InMemoryStorage)
        monkeypatch.setattr(bring_back.dumps, "bring_back", lambda dump: pytest.fail("the database was touched"))
        with pytest.raises(back_up.BackupError, match="damaged"):
            bring_back.bring_back(found, lambda line: None, replace=True)

    def test_a_sweep_or_a_backup_that_runs(self, copy: Path, monkeypatch):
        monkeypatch.setattr(bring_back, "_runs", lambda: False)
        monkeypatch.setattr(bring_back.blobs, "work_storage", lambda: pytest.fail("a file was brought back"))
        found = bring_back.find(copy)
        with leases.hold(leases.STORED_FILES), pytest.raises(back_up.BackupError, match="wait until it has ended"):
            bring_back.bring_back(found, lambda line: None, replace=True)

    def test_another_engine(self, copy: Path):
        self._changed(copy, vendor="oracle")
        with pytest.raises(back_up.BackupError, match="set DATABASE_URL"):
            bring_back.find(copy)

    def test_a_newer_version(self, copy: Path):
        self._changed(copy, migrations=[["classroom", "9999_from_next_year"]])
        with pytest.raises(back_up.BackupError, match="install that one first"):
            bring_back.find(copy)


def test_a_sweep_and_a_backup_wait_for_each_other(filled: LiveSite, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(back_up, "SWEEP_PATIENCE", 0.0)
    with filled.orm():
        with leases.hold(leases.STORED_FILES), pytest.raises(leases.Held):
            sweep.sweep()
        with leases.hold(leases.STORED_FILES), pytest.raises(leases.Held):
            back_up.back_up(tmp_path, lambda line: None)
        storage.snapshot_of({"forgotten": b"by everyone"})
        Snapshot.objects.update(created_at=timezone.now() - timedelta(days=9))
        back_up.back_up(tmp_path, lambda line: None)
        assert sweep.sweep()[0]
