"""Copies in Drive: one a file, whatever happens; what was changed there by hand is kept."""

from __future__ import annotations

import pytest

from classroom import drive_copies
from classroom.errors import DriveError
from classroom.google.drive import FolderDrive
from classroom.models import DriveCopy
from classroom.outbox import NothingToDo
from runtimes import storage
from tests.classroom.work import DATA, PS1, handed_in, work_of


@pytest.fixture
def folder(tmp_path, settings):
    settings.DRIVE_DIR = tmp_path
    settings.DRIVE_BACKEND = "classroom.google.drive.FolderDrive"
    return tmp_path / "data" / "ps1"


def deliver(submission, work):
    drive_copies.deliver({"submission": submission.pk, "work": work.pk, "key": "k"})


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_each_file_is_copied_once_however_often_it_is_delivered(ps1, ada, folder):
    submission = handed_in(ps1, ada)
    deliver(submission, work_of(ps1, ada))
    deliver(submission, work_of(ps1, ada))
    assert names(folder) == [f"ada/{DATA}", f"ada/{PS1}"]
    assert (folder / "ada" / DATA).read_bytes() == b"1,2,3\n"
    assert set(DriveCopy.objects.values_list("state", flat=True)) == {"copied"}


def test_a_newer_submission_replaces_the_copy(ps1, ada, folder):
    work = work_of(ps1, ada)
    deliver(handed_in(ps1, ada, key="1"), work)
    storage.write(work.workspace, DATA, b"4")
    deliver(handed_in(ps1, ada, key="2"), work)
    assert names(folder) == [f"ada/{DATA}", f"ada/{PS1}"]
    assert (folder / "ada" / DATA).read_bytes() == b"4"


def test_an_older_submission_never_goes_over_a_newer_one(ps1, ada, folder):
    work = work_of(ps1, ada)
    old = handed_in(ps1, ada, key="1")
    handed_in(ps1, ada, key="2")
    with pytest.raises(NothingToDo):
        deliver(old, work)


def test_without_a_drive_nothing_is_copied(ps1, ada, folder, settings):
    settings.DRIVE_BACKEND = ""
    with pytest.raises(NothingToDo):
        deliver(handed_in(ps1, ada), work_of(ps1, ada))
    assert not folder.exists()


def test_what_was_changed_in_drive_by_hand_is_kept_beside_the_copy(ps1, ada, folder):
    work = work_of(ps1, ada)
    deliver(handed_in(ps1, ada, key="1"), work)
    (folder / "ada" / DATA).write_bytes(b"by hand")
    storage.write(work.workspace, DATA, b"4")
    submission = handed_in(ps1, ada, key="2")
    deliver(submission, work)
    deliver(submission, work)
    assert (folder / "ada" / DATA).read_bytes() == b"4"
    kept = [path for path in (folder / "ada").iterdir() if "changed in Drive" in path.name]
    assert [path.read_bytes() for path in kept] == [b"by hand"]
    assert DriveCopy.objects.get(path=DATA).message.endswith(kept[0].name)


def test_a_copy_that_was_taken_away_in_drive_is_made_again(ps1, ada, folder):
    work = work_of(ps1, ada)
    submission = handed_in(ps1, ada)
    deliver(submission, work)
    (folder / "ada" / DATA).unlink()
    deliver(submission, work)
    assert (folder / "ada" / DATA).exists()


def test_a_crash_between_file_and_row_makes_no_second_file(ps1, ada, folder):
    work = work_of(ps1, ada)
    submission = handed_in(ps1, ada)
    deliver(submission, work)
    DriveCopy.objects.all().delete()
    deliver(submission, work)
    assert names(folder) == [f"ada/{DATA}", f"ada/{PS1}"]


def test_drive_that_cannot_be_written_is_tried_again_later(ps1, ada, tmp_path, settings):
    settings.DRIVE_BACKEND = "classroom.google.drive.FolderDrive"
    settings.DRIVE_DIR = tmp_path / "file"
    settings.DRIVE_DIR.write_text("in the way")
    with pytest.raises(DriveError) as caught:
        deliver(handed_in(ps1, ada), work_of(ps1, ada))
    assert caught.value.retryable
    assert set(DriveCopy.objects.values_list("state", flat=True)) == {"failed"}


def test_names_cannot_lead_out_of_the_folder(tmp_path):
    drive = FolderDrive(tmp_path)
    placed = drive.place(folders=("..", "a/b", ""), name="../../x.txt", data=b"1", target="", sha256="")
    assert (tmp_path / placed.target).read_bytes() == b"1"
    assert (tmp_path / placed.target).resolve().is_relative_to(tmp_path)


def test_a_target_outside_is_never_removed(tmp_path):
    outside = tmp_path / "outside.txt"
    outside.write_bytes(b"1")
    root = tmp_path / "drive"
    placed = FolderDrive(root).place(folders=("c",), name="x", data=b"1", target="", sha256="")
    FolderDrive(root).place(folders=("d",), name="x", data=b"1", target="../outside.txt", sha256=placed.sha256)
    assert outside.exists()


def test_a_link_in_the_folder_is_not_followed(tmp_path):
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "x").symlink_to("/etc/hostname")
    with pytest.raises(DriveError):
        FolderDrive(tmp_path).place(folders=("c",), name="x", data=b"1", target="", sha256="")
