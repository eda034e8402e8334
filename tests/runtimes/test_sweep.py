"""What nothing refers to is forgotten, and nothing else."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.management import call_command
from django.utils import timezone

from runtimes import blobs, storage, sweep
from runtimes.models import Blob, Snapshot

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("store")]


def make_old() -> None:
    past = timezone.now() - timedelta(days=9)
    Blob.objects.update(created_at=past)
    Snapshot.objects.update(created_at=past)


def test_unreferred_contents_and_snapshots_go_and_everything_else_stays(workspace, store):
    storage.write(workspace, "a", b"current", source="saved")
    storage.write(workspace, "a", b"replaced", source="uploaded")
    storage.snapshot_of({"x": b"in a forgotten snapshot"})
    storage.put(b"forgotten")
    make_old()
    storage.put(b"young")
    assert sweep.sweep() == (1, 2)
    left = {storage.read(blob) for blob in Blob.objects.all()}
    assert left == {b"current", b"replaced", b"young"}
    assert set(store.contents()) == left
    call_command("sweep_files")


def test_a_snapshot_that_somebody_keeps_stays_with_its_files(workspace):
    from grading.models import LineItem, Release

    item = LineItem.objects.create(label="ps1", profile=workspace.profile)
    frozen = storage.snapshot_of({"n.ipynb": b"source"})
    Release.objects.create(line_item=item, number=1, source=frozen)
    make_old()
    assert sweep.sweep() == (0, 0)
    assert storage.read_snapshot(frozen) == {"n.ipynb": b"source"}


def test_bytes_put_again_while_they_are_swept_survive(monkeypatch):
    blob = storage.put(b"contested")
    make_old()
    row_deleted = sweep._deleted

    def deleted_and_put_again(row) -> bool:
        gone = row_deleted(row)
        blobs.register(blob.pk, b"contested")
        return gone

    monkeypatch.setattr(sweep, "_deleted", deleted_and_put_again)
    sweep.sweep()
    assert storage.read(Blob.objects.get()) == b"contested"


def test_bytes_that_no_row_names_go_only_when_asked_and_old_by_storages_own_clock(store):
    kept = storage.put(b"with a row")
    stray = blobs.digest(b"of a process that was killed")
    store.put(blobs.blob_name(stray), b"of a process that was killed")
    store.put("00/00/.0123456789abcdef", b"half")
    store.put("notes.txt", b"not ours")
    call_command("sweep_files")
    assert sweep.sweep_strays() == 0
    assert sweep.sweep_strays(timedelta(seconds=-60)) == 2
    assert set(store.contents()) == {b"with a row", b"not ours"}
    assert storage.read(kept) == b"with a row"


def test_a_stray_that_is_put_while_it_is_swept_survives(monkeypatch, store):
    stray = blobs.digest(b"contested")
    store.put(blobs.blob_name(stray), b"contested")
    take = sweep._take_stray

    def put_and_taken(sha256: str, name: str) -> bool:
        storage.put(b"contested")
        return take(sha256, name)

    monkeypatch.setattr(sweep, "_take_stray", put_and_taken)
    sweep.sweep_strays(timedelta(seconds=-60))
    assert storage.read(stray) == b"contested"
