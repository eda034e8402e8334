"""Blobs, trees and snapshots."""

from __future__ import annotations

import hashlib
import threading
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from runtimes import blobs, storage, trees
from runtimes.models import MIB, Blob, Document, FileVersion, Kernel, Runtime, Session, Snapshot, Workspace

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("store")]


def test_a_blob_is_named_by_its_content_and_stored_once(store):
    first, second = storage.put(b"hello"), storage.put(b"hello")
    assert first.pk == second.pk == hashlib.sha256(b"hello").hexdigest()
    assert store.contents() == [b"hello"]
    assert storage.read(first) == b"hello"


def test_a_blob_whose_bytes_are_written_but_not_its_row_is_simply_put_again():
    blobs.save_bytes(blobs.digest(b"half"), b"half")
    assert storage.read(storage.put(b"half")) == b"half"


def test_an_old_blob_that_is_used_again_is_young_again():
    blob = storage.put(b"old")
    Blob.objects.filter(pk=blob.pk).update(created_at=timezone.now() - timedelta(days=9))
    storage.put(b"old")
    assert Blob.objects.get().created_at > timezone.now() - timedelta(hours=1)


@pytest.mark.parametrize(
    "path",
    [
        "", "/etc/passwd", "../x", "a/../b", "a//b", "./a", "a/.", "a/", "a\\b", "a\0b", "a\nb", "a\x7fb", "a\u2028b",
        "a\u202eb", "\ud800", "a" * 501, "é" * 200, " a", "a ",
    ],
)  # fmt: skip
def test_an_unsafe_name_is_refused(path, workspace):
    with pytest.raises(storage.UnsafePath) as caught:
        storage.write(workspace, path, b"x", source="saved")
    assert str(caught.value.user_message)
    assert not Blob.objects.exists()


@pytest.mark.parametrize("path", ["a", "données/été 1.csv", ".local/lib/x.py", "a/b/c.ipynb", "👩‍🔬.txt", "…"])
def test_an_ordinary_name_is_taken(path):
    assert storage.safe_path(path) == path


def test_a_written_file_is_read_back_and_replaced(workspace):
    storage.write(workspace, "a/b.txt", b"one", source="saved")
    storage.write(workspace, "a/b.txt", b"two", source="saved")
    assert [(row.path, storage.read(row.blob)) for row in storage.files(workspace)] == [("a/b.txt", b"two")]


def test_a_file_cannot_be_where_a_folder_is_and_the_other_way_round(workspace):
    storage.write(workspace, "a/b", b"", source="saved")
    for path in ("a", "a/b/c"):
        with pytest.raises(storage.PathTaken):
            storage.write(workspace, path, b"", source="saved")


def test_a_folders_name_is_case_sensitive(workspace):
    storage.write(workspace, "data/x", b"1", source="saved")
    storage.write(workspace, "Data/x", b"2", source="saved")
    storage.write(workspace, "DATA", b"3", source="saved")
    assert storage.remove(workspace, "data") == 1
    assert [row.path for row in storage.files(workspace)] == ["DATA", "Data/x"]


def test_more_than_the_quota_is_refused_and_nothing_changes(workspace):
    storage.write(workspace, "a", b"a" * (MIB - 10), source="saved")
    with pytest.raises(storage.QuotaExceeded) as caught:
        storage.write(workspace, "b", b"b" * 11, source="saved")
    assert str(caught.value.user_message)
    assert storage.used_bytes(workspace) == MIB - 10
    storage.write(workspace, "a", b"c" * MIB, source="saved")  # a file's own old size does not count
    assert storage.used_bytes(workspace) == MIB


@pytest.mark.django_db(transaction=True)
def test_two_writes_at_once_do_not_pass_the_quota_together(workspace):
    barrier = threading.Barrier(4)
    refused = []

    def write(number: int) -> None:
        try:
            barrier.wait()
            storage.write(workspace, f"f{number}", bytes([number]) * (MIB // 2), source="saved")
        except storage.QuotaExceeded:
            refused.append(number)
        finally:
            connection.close()

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 2
    assert storage.used_bytes(workspace) == MIB


@pytest.mark.django_db(transaction=True)
def test_the_same_bytes_put_at_once_are_one_blob(store):
    barrier = threading.Barrier(4)
    errors = []

    def put() -> None:
        try:
            barrier.wait()
            storage.put(b"same" * 1000)
        except Exception as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=put) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert Blob.objects.count() == 1
    assert store.contents() == [b"same" * 1000]


def test_nothing_is_written_to_work_that_is_closed(workspace):
    Workspace.objects.update(read_only=True)
    with pytest.raises(storage.WorkspaceReadOnly):
        storage.write(workspace, "a", b"", source="saved")


def test_what_a_person_uploads_keeps_what_was_there_and_a_save_does_not(workspace):
    storage.write(workspace, "a", b"1", source="saved")
    storage.write(workspace, "a", b"2", source="saved")
    storage.write(workspace, "a", b"3", source="uploaded")
    assert [storage.read(version.blob) for version in FileVersion.objects.all()] == [b"2"]


def test_old_versions_are_forgotten_beyond_the_limit(workspace):
    for number in range(trees.VERSIONS_KEPT + 5):
        storage.write(workspace, "a", str(number).encode(), source="saved")
        storage.checkpoint(workspace, "a")
    kept = FileVersion.objects.order_by("pk")
    assert kept.count() == trees.VERSIONS_KEPT
    assert storage.read(kept[0].blob) == b"5"


def test_a_removed_folder_goes_with_its_files_and_each_content_stays_as_a_version(workspace):
    for path in ("a/1", "a/b/2", "c"):
        storage.write(workspace, path, path.encode(), source="saved")
    assert storage.remove(workspace, "a") == 2
    assert [row.path for row in storage.files(workspace)] == ["c"]
    assert set(FileVersion.objects.values_list("path", flat=True)) == {"a/1", "a/b/2"}
    with pytest.raises(storage.FileNotThere):
        storage.remove(workspace, "a")


def test_a_renamed_folder_takes_its_documents_sessions_and_versions_along(workspace, profile):
    storage.write(workspace, "a/n.ipynb", b"{}", source="saved")
    storage.checkpoint(workspace, "a/n.ipynb")
    document = Document.objects.create(workspace=workspace, path="a/n.ipynb", format="json", type="notebook")
    runtime = Runtime.objects.create(workspace=workspace, profile=profile, account="x")
    kernel = Kernel.objects.create(runtime=runtime, index=0)
    Session.objects.create(workspace=workspace, kernel=kernel, path="a/n.ipynb")
    storage.rename(workspace, "a", "z")
    document.refresh_from_db()
    paths = {
        document.path,
        Session.objects.get().path,
        FileVersion.objects.get().path,
        storage.files(workspace)[0].path,
    }
    assert paths == {"z/n.ipynb"}


def test_a_rename_onto_something_or_into_itself_is_refused(workspace):
    storage.write(workspace, "a/1", b"", source="saved")
    storage.write(workspace, "b", b"", source="saved")
    for old, new in [("b", "a"), ("b", "a/1"), ("b", "a/1/x"), ("a", "a/x"), ("a", "b")]:
        with pytest.raises(storage.PathTaken):
            storage.rename(workspace, old, new)
    with pytest.raises(storage.FileNotThere):
        storage.rename(workspace, "nothing", "x")


def test_a_snapshot_never_changes_and_its_digest_follows_from_its_files(workspace):
    storage.write(workspace, "b", b"2", source="saved")
    storage.write(workspace, "a", b"1", source="saved")
    frozen = storage.snapshot(workspace)
    lines = [f"{path}\0{hashlib.sha256(data).hexdigest()}\n" for path, data in [("a", b"1"), ("b", b"2")]]
    assert frozen.digest == hashlib.sha256("".join(lines).encode()).hexdigest()
    storage.write(workspace, "a", b"changed", source="saved")
    storage.remove(workspace, "b")
    assert storage.read_snapshot(frozen) == {"a": b"1", "b": b"2"}
    assert storage.snapshot_of({"b": b"2", "a": b"1"}) == frozen
    assert Snapshot.objects.count() == 1


def test_a_snapshot_of_impossible_trees_is_refused():
    for files in ({"../x": b""}, {"a": b"", "a/b": b""}):
        with pytest.raises(storage.UnsafePath):
            storage.snapshot_of(files)


def test_filling_twice_replaces_nobodys_work(workspace):
    frozen = storage.snapshot_of({"n.ipynb": b"release", "d/data.csv": b"1,2"})
    storage.fill(workspace, frozen)
    storage.write(workspace, "n.ipynb", b"work", source="saved")
    storage.fill(workspace, frozen)
    assert {row.path: storage.read(row.blob) for row in storage.files(workspace)} == {
        "d/data.csv": b"1,2",
        "n.ipynb": b"work",
    }
