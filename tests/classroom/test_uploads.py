"""What is taken in, and what is refused with a sentence."""

from __future__ import annotations

import io
import stat
import struct
import zipfile

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from classroom.uploads import UploadRefused, files_of


def zipped(entries: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", compression) as archive:
        for path, data in entries.items():
            archive.writestr(path, data)
    return target.getvalue()


def taken(*uploads: tuple[str, bytes]) -> dict[str, bytes]:
    return files_of(SimpleUploadedFile(name, data) for name, data in uploads)


def refusal(*uploads: tuple[str, bytes]) -> str:
    with pytest.raises(UploadRefused) as refused:
        taken(*uploads)
    return str(refused.value.user_message)


def test_files_are_taken_by_their_names():
    assert taken(("a.ipynb", b"{}"), ("data.csv", b"1")) == {"a.ipynb": b"{}", "data.csv": b"1"}


def test_a_zip_keeps_its_folders():
    data = zipped({"a.ipynb": b"{}", "data/x.csv": b"1", "data/deep/y.csv": b"2"})
    assert set(taken(("ps1.zip", data))) == {"a.ipynb", "data/x.csv", "data/deep/y.csv"}


def test_folders_around_everything_are_taken_away():
    data = zipped({"course/ps1/a.ipynb": b"{}", "course/ps1/data/x.csv": b"1"})
    assert set(taken(("ps1.zip", data))) == {"a.ipynb", "data/x.csv"}


def test_what_systems_leave_in_archives_is_left_out():
    data = zipped(
        {
            "ps1/a.ipynb": b"{}",
            "ps1/.DS_Store": b"x",
            "__MACOSX/ps1/._a.ipynb": b"x",
            "ps1/.ipynb_checkpoints/a-checkpoint.ipynb": b"{}",
        }
    )
    assert taken(("ps1.zip", data)) == {"a.ipynb": b"{}"}


@pytest.mark.parametrize(
    "path", ["../evil.ipynb", "/etc/passwd", "a/../../evil", "ps1\\evil.txt", "C:\\x", "a//b", "a/./b"]
)
def test_paths_that_lead_out_are_refused(path: str):
    assert "cannot be used" in refusal(("x.zip", zipped({path: b"x", "other.ipynb": b"{}"})))


def test_a_path_of_an_uploaded_file_is_only_its_name():
    # Django takes folders away from the names that browsers send; whoever writes the request by hand gains nothing.
    upload = SimpleUploadedFile("x.ipynb", b"{}")
    upload._name = "../../x.ipynb"
    assert files_of([upload]) == {"x.ipynb": b"{}"}


def test_links_are_refused():
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        entry = zipfile.ZipInfo("passwd")
        entry.create_system, entry.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, "/etc/passwd")
    assert "is a link" in refusal(("x.zip", target.getvalue()))


def test_devices_are_refused():
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        entry = zipfile.ZipInfo("zero")
        entry.create_system, entry.external_attr = 3, (stat.S_IFCHR | 0o666) << 16
        archive.writestr(entry, b"")
    assert "special file" in refusal(("x.zip", target.getvalue()))


def test_a_bomb_is_refused_while_it_expands(settings):
    settings.UPLOAD_MOST_BYTES = 1024 * 1024
    bomb = zipped({"zeros.bin": b"\0" * (8 * 1024 * 1024)})
    assert len(bomb) < 20_000
    assert "larger than 1 MB" in refusal(("x.zip", bomb))


def test_a_bomb_that_lies_about_its_size_is_refused_too(settings):
    settings.UPLOAD_MOST_BYTES = 1024 * 1024
    bomb = bytearray(zipped({"zeros.bin": b"\0" * (8 * 1024 * 1024)}))
    # The uncompressed size in the local header (offset 22) and in the central directory (offset 24).
    for mark, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        start = bomb.index(mark)
        bomb[start + offset : start + offset + 4] = struct.pack("<I", 10)
    assert refusal(("x.zip", bytes(bomb)))


def test_many_small_bombs_share_one_budget(settings):
    settings.UPLOAD_MOST_BYTES = 1024 * 1024
    one = zipped({"a.bin": b"\0" * 600_000})
    two = zipped({"b.bin": b"\0" * 600_000})
    assert "larger than" in refusal(("1.zip", one), ("2.zip", two))


def test_more_than_two_thousand_entries_are_refused():
    entries = {f"f{number}.txt": b"" for number in range(2001)}
    assert "more than 2000 files" in refusal(("x.zip", zipped(entries, zipfile.ZIP_STORED)))


def test_two_thousand_entries_are_fine():
    entries = {f"f{number}.txt": b"" for number in range(2000)}
    assert len(taken(("x.zip", zipped(entries, zipfile.ZIP_STORED)))) == 2000


def test_a_directory_that_understates_its_entries_is_refused_before_it_is_read():
    data = bytearray(zipped({f"f{number}.txt": b"" for number in range(60_000)}, zipfile.ZIP_STORED))
    end = data.rindex(b"PK\x05\x06")
    data[end + 8 : end + 12] = struct.pack("<HH", 1, 1)
    assert "more than 2000 files" in refusal(("x.zip", bytes(data)))


def test_a_name_that_is_there_twice_is_refused():
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("a.ipynb", b"{}")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a.ipynb", b"{1}")
    assert "two files called" in refusal(("x.zip", target.getvalue()))


def test_a_file_that_is_also_a_folder_is_refused():
    assert "a folder at once" in refusal(("x.zip", zipped({"a": b"x", "a/b": b"y", "c": b"z"})))


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 not really", b"hello", b"PK\x05\x06" + b"\0" * 18])
def test_what_is_no_zip_is_said_to_be_none(data: bytes):
    assert refusal(("x.zip", data))


def test_a_damaged_zip_is_refused():
    data = bytearray(zipped({"a.ipynb": b"{}" * 5000}))
    data[60] ^= 0xFF
    assert "damaged" in refusal(("x.zip", bytes(data)))


def test_an_encrypted_zip_is_refused():
    data = bytearray(zipped({"a.ipynb": b"{}"}))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + offset] |= 1
    assert "encrypted" in refusal(("x.zip", bytes(data)))


def test_nothing_at_all_is_refused():
    assert "no files" in refusal(("x.zip", zipped({"empty/": b""})))
