"""An nbgrader course folder, read with care: links are not followed, nothing outside is read, sizes are counted.

What is left out is named in `remarks`, each a path below the folder and a sentence; the rest is read.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from grading.engine.course_config import CourseConfig, read_config
from grading.engine.gradebook_file import parse_timestamp
from runtimes.errors import UnsafePath
from runtimes.paths import is_system, safe_path

Step = Literal["source", "source_with_tests", "release", "submitted", "autograded"]
TIMESTAMP = "timestamp.txt"
_CONFIG = "nbgrader_config.py"
_STRUCTURE = "{nbgrader_step}/{student_id}/{assignment_id}"
_MOST_DEPTH = 40


class NoCourseFolder(Exception):
    """This is no folder that can be read."""


@dataclass(frozen=True)
class Files:
    """The files of one folder by path. `newest` is when the last of them was written, `timestamp` what they say."""

    content: dict[str, bytes]
    newest: datetime
    timestamp: datetime | None = None


@dataclass
class CourseFolder:
    """`most_files` and `most_bytes` hold for one assignment's source or one student's submission to it."""

    root: Path
    most_files: int
    most_bytes: int
    remarks: list[tuple[str, str]] = field(default_factory=list)
    config: CourseConfig = field(default_factory=CourseConfig)
    _steps: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Reads the configuration. Raises NoCourseFolder."""
        if not self.root.is_dir():
            raise NoCourseFolder(f"{self.root} is not a folder.")
        data = self.file(_CONFIG, missing_is_fine=True)
        self.config = read_config(data) if data is not None else CourseConfig()
        for remark in self.config.remarks:
            self.remark(_CONFIG, remark)
        structure = self.config.get("CourseDirectory", "directory_structure", _STRUCTURE)
        if structure != _STRUCTURE:
            self.remark(_CONFIG, f"directory_structure: the site looks for {_STRUCTURE}")
        for step in ("source", "source_with_tests", "release", "submitted", "autograded"):
            self._steps[step] = self._inside(self.config.get("CourseDirectory", f"{step}_directory", step), step)
        if self.config.get("CourseDirectory", "root", ""):
            self.remark(_CONFIG, "c.CourseDirectory.root: the folder that was named is read")

    def remark(self, path: str, sentence: str) -> None:
        """Keeps what a person should know, with a name that can be printed whatever its bytes are."""
        self.remarks.append((path.encode("utf-8", "backslashreplace").decode(), sentence))

    @property
    def course_id(self) -> str:
        """What the configuration calls the course, else the folder's own name."""
        return self.config.get("CourseDirectory", "course_id", "") or self.root.resolve().name

    @property
    def gradebook(self) -> Path | None:
        """gradebook.db, or where the configuration says it is, if that is a file in this folder."""
        url = self.config.get("CourseDirectory", "db_url", "")
        name = self._inside(url.removeprefix("sqlite:///"), "gradebook.db") if url else "gradebook.db"
        path = self.root / name
        if not path.exists() and not path.is_symlink():
            return None
        if path.is_symlink() or not path.is_file():
            self.remark(name, "is a link or no plain file, and was left out")
            return None
        return path

    def _inside(self, name: str, otherwise: str) -> str:
        """`name`, if it is a plain path below the folder."""
        try:
            return safe_path(name.rstrip("/"))
        except UnsafePath:
            self.remark(_CONFIG, f"{name[:100]!r} is not inside the course folder; {otherwise} is read")
            return otherwise

    def names(self, step: Step, *below: str) -> list[str]:
        """The folders in source/, release/ or submitted/ (below: in one student's), sorted."""
        folder = "/".join((self._steps[step], *below))
        entries = self._entries(folder)
        return [entry.name for entry in entries if self._plain(entry, f"{folder}/{entry.name}", files=False)]

    def file(self, path: str, *, missing_is_fine: bool = False) -> bytes | None:
        """One file of the course; None, and a remark, where there is none."""
        try:
            safe_path(path)
            if any(
                self.root.joinpath(*path.split("/")[:length]).is_symlink() for length in range(1, path.count("/") + 2)
            ):
                raise UnsafePath("a link")  # noqa: TRY301 - the same remark as for a bad name
            return _read(self.root / path, self.most_bytes)[0]
        except FileNotFoundError:
            if not missing_is_fine:
                self.remark(path, "is not there")
        except UnsafePath as error:
            self.remark(path, f"was left out: {error}")
        except OSError as error:
            self.remark(path, f"was left out: {error.strerror or error}")
        return None

    def has(self, step: Step, *below: str) -> bool:
        """Whether there is such a folder, and not behind a link."""
        path = self.root
        for part in (*self._steps[step].split("/"), *below):
            path /= part
            if path.is_symlink():
                return False
        return path.is_dir()

    def files(self, step: Step, *below: str) -> Files | None:
        """Every file that can be taken of one folder; None where there is none. timestamp.txt becomes `timestamp`."""
        top = "/".join((self._steps[step], *below))
        if not self.has(step, *below):
            return None
        content: dict[str, bytes] = {}
        newest, left = 0.0, self.most_bytes
        for path in self._walk(top, ""):
            shown = f"{top}/{path}"
            if len(content) >= self.most_files:
                self.remark(shown, f"and what follows was left out: there are more than {self.most_files} files")
                break
            try:
                data, written = _read(self.root / top / safe_path(path), left)
            except (OSError, UnsafePath) as error:
                self.remark(shown, f"was left out: {getattr(error, 'strerror', None) or error}")
                continue
            content[path], left, newest = data, left - len(data), max(newest, written)
        said = content.pop(TIMESTAMP, None) if step in {"submitted", "autograded"} else None
        return Files(content, datetime.fromtimestamp(newest, UTC), self._timestamp(said, f"{top}/{TIMESTAMP}"))

    def _timestamp(self, data: bytes | None, path: str) -> datetime | None:
        if data is None:
            return None
        found = parse_timestamp(data.decode("utf-8", "replace"))
        if found is None:
            self.remark(path, "says no time")
        return found

    def _walk(self, top: str, folder: str, depth: int = 0) -> Iterator[str]:
        """The paths, below `top`, of the files that may be taken."""
        for entry in self._entries(f"{top}/{folder}".rstrip("/")):
            path = f"{folder}/{entry.name}".lstrip("/")
            if is_system(path) or not self._plain(entry, f"{top}/{path}", files=True):
                continue
            if not entry.is_dir(follow_symlinks=False):
                yield path
            elif depth >= _MOST_DEPTH:
                self.remark(f"{top}/{path}", "was left out: too many folders inside each other")
            else:
                yield from self._walk(top, path, depth + 1)

    def _entries(self, folder: str) -> list[os.DirEntry[str]]:
        path = self.root
        for part in folder.split("/"):
            path /= part
            if path.is_symlink():
                self.remark(folder, "is a link; links are not followed")
                return []
        try:
            with os.scandir(path) as entries:
                return sorted(entries, key=lambda entry: entry.name)
        except FileNotFoundError:
            return []
        except OSError as error:
            self.remark(folder, f"was left out: {error.strerror or error}")
            return []

    def _plain(self, entry: os.DirEntry[str], path: str, *, files: bool) -> bool:
        """Whether this is a folder or, with `files`, a file, with a name that a site can keep."""
        if entry.is_symlink():
            self.remark(path, "is a link; links are not followed")
            return False
        folder = entry.is_dir(follow_symlinks=False)
        if not folder and not files:
            return False
        if not folder and not entry.is_file(follow_symlinks=False):
            self.remark(path, "was left out: it is neither a file nor a folder")
            return False
        try:
            safe_path(entry.name)
        except UnsafePath as error:
            self.remark(path, f"was left out: {error}")
            return False
        return not entry.name.startswith(".") or files


def _read(path: Path, most_bytes: int) -> tuple[bytes, float]:
    """A plain file's content and when it was written. Raises OSError, also where it is larger than `most_bytes`."""
    # A pipe would wait for a writer without O_NONBLOCK.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as stream:
        about = os.fstat(stream.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise OSError("it is neither a file nor a folder")
        if about.st_size > most_bytes:
            raise OSError("it is larger than what one submission may be")
        return stream.read(most_bytes), about.st_mtime
