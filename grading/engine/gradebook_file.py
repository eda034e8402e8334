"""A gradebook.db that nbgrader wrote, read as plain values.

The file comes from somewhere else: it is copied and the copy is read with plain SQL, tables only, no schema of its own
trusted (https://sqlite.org/security.html). nbgrader's own class would write into it. Revisions are those of nbgrader's
alembic scripts since task cells came (0.6).
"""

from __future__ import annotations

import math
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from grading.engine.gradebook_values import (
    BookAssignment,
    BookComment,
    BookGrade,
    BookStudent,
    BookSubmission,
    GradebookUnreadable,
    Place,
)
from grading.engine.load import api, utils

_TABLES = (
    "assignment", "base_cell", "comment", "grade", "notebook", "source_cell", "student", "submitted_assignment",
    "submitted_notebook",
)  # fmt: skip
_VERSION = "alembic_version"
# SQLAlchemy's Interval is a time since this one where a database has no type for it.
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Mark.manual_score has room for less than this.
_MOST_POINTS = 100_000.0
_MOST_STEPS = 2_000_000_000
# The two lines of an alembic script that chain it to the one before it; the first one says None.
_REVISION = re.compile(r"^(revision|down_revision) *= *'([^']+)'", re.MULTILINE)
_STUDENTS = "select id, first_name, last_name, email, {lms_user_id} from student order by id"
_CELLS = """
    select notebook.name, base_cell.name, {columns}
    from {table}
    join submitted_notebook on submitted_notebook.id = {table}.notebook_id
    join notebook on notebook.id = submitted_notebook.notebook_id
    join base_cell on base_cell.id = {table}.cell_id
    where submitted_notebook.assignment_id = ?
    order by notebook.name, base_cell.name
"""


@contextmanager
def gradebook_file(path: Path) -> Iterator[GradebookFile]:
    """The gradebook in this file, which is left as it is. Raises GradebookUnreadable."""
    with tempfile.TemporaryDirectory(prefix="pupitre-") as folder:
        copy = Path(folder, "gradebook.db")
        try:
            # What was not yet written back lies beside the file.
            for suffix in ("", "-wal", "-journal"):
                beside = path.with_name(path.name + suffix)
                if not suffix or (beside.is_file() and not beside.is_symlink()):
                    shutil.copyfile(beside, copy.with_name(copy.name + suffix), follow_symlinks=False)
        except OSError as error:
            raise GradebookUnreadable(f"cannot be read: {error.strerror}") from error
        if copy.is_symlink():
            raise GradebookUnreadable("is a link; put the file itself there")
        with _opened(copy) as connection:
            yield GradebookFile(connection)


@contextmanager
def _opened(copy: Path) -> Iterator[sqlite3.Connection]:
    try:
        connection = sqlite3.connect(copy)
        try:
            _distrust(connection)
            _check(connection)
            yield connection
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise GradebookUnreadable(f"is damaged or no SQLite database ({error})") from error


def _distrust(connection: sqlite3.Connection) -> None:
    connection.setconfig(sqlite3.SQLITE_DBCONFIG_DEFENSIVE)
    connection.setconfig(sqlite3.SQLITE_DBCONFIG_TRUSTED_SCHEMA, False)
    connection.setconfig(sqlite3.SQLITE_DBCONFIG_ENABLE_VIEW, False)
    connection.setconfig(sqlite3.SQLITE_DBCONFIG_ENABLE_TRIGGER, False)
    connection.execute("pragma cell_size_check = on")
    connection.text_factory = lambda data: data.decode("utf-8", "replace")
    # The virtual machine's steps of the whole reading: a crafted file must not keep it busy for ever.
    left = iter(range(_MOST_STEPS // 1_000_000))
    connection.set_progress_handler(lambda: next(left, None) is None, 1_000_000)


def _check(connection: sqlite3.Connection) -> None:
    verdict = str(connection.execute("pragma quick_check(1)").fetchone()[0])
    if verdict != "ok":
        raise GradebookUnreadable(f"is damaged ({verdict[:200]})")
    tables = dict(connection.execute("select name, sql from sqlite_master where type = 'table'"))
    plain = {name for name, sql in tables.items() if str(sql).upper().startswith("CREATE TABLE")}
    version = None
    if _VERSION in plain:
        version = connection.execute("select version_num from alembic_version").fetchone()
    if version is not None and version[0] not in revisions():
        raise GradebookUnreadable(
            f"was written by another version of nbgrader than this site has (schema {str(version[0])[:40]!r})"
        )
    # A newer nbgrader adds its tables, empty, to whatever it opens; only an upgrade fills them and says so.
    missing = sorted({*_TABLES, _VERSION} - plain) or ([] if version is not None else [_VERSION])
    if missing:
        raise GradebookUnreadable(
            f"has no table {missing[0]}: if it is from an nbgrader before 0.6, run “nbgrader db upgrade” in the course "
            f"folder and import again"
        )


def revisions() -> list[str]:
    """The schema revisions that the installed nbgrader knows, its own last: its alembic scripts, in their order.

    alembic itself is not asked: it is slow to load, and says so in the log.
    """
    after: dict[str, str] = {}
    for script in Path(api.__file__).with_name("alembic").joinpath("versions").glob("*.py"):
        found = dict(_REVISION.findall(script.read_text(encoding="utf-8")))
        after[found.get("down_revision", "")] = found["revision"]
    order = [after.pop("")]
    while order[-1] in after:
        order.append(after.pop(order[-1]))
    return order


class GradebookFile:
    """An open gradebook. Its methods raise sqlite3.Error only as GradebookUnreadable of `gradebook_file`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def students(self) -> list[BookStudent]:
        """Everyone that it knows, by id."""
        rows = self._connection.execute(_STUDENTS.format(lms_user_id=self._column("student", "lms_user_id")))
        return [BookStudent(*(_text(value) for value in row)) for row in rows]

    def assignments(self) -> list[BookAssignment]:
        """Their names and due dates, by name; without notebooks."""
        rows = self._connection.execute("select name, duedate from assignment order by name")
        return [BookAssignment(_text(name), _time(due)) for name, due in rows]

    def sources(self, assignment: str) -> dict[Place, str]:
        """The cells that the release fixed, as they were when it was made: hidden tests and written AUTOTESTs too."""
        rows = self._connection.execute(
            "select notebook.name, source_cell.name, source_cell.source from source_cell "
            "join notebook on notebook.id = source_cell.notebook_id "
            "join assignment on assignment.id = notebook.assignment_id where assignment.name = ?",
            (assignment,),
        )
        return {(_text(notebook), _text(name)): _text(source) for notebook, name, source in rows}

    def submissions(self, assignment: str) -> dict[str, str]:
        """Student id to the key for `submission`."""
        rows = self._connection.execute(
            "select submitted_assignment.student_id, submitted_assignment.id from submitted_assignment "
            "join assignment on assignment.id = submitted_assignment.assignment_id "
            "where assignment.name = ? order by 1",
            (assignment,),
        )
        return {_text(student): key for student, key in rows}

    def submission(self, key: str) -> BookSubmission:
        """One submission with its grades and comments."""
        execute, odd = self._connection.execute, list[str]()
        student, timestamp, extension = execute(
            "select student_id, timestamp, extension from submitted_assignment where id = ?", (key,)
        ).fetchone()
        extra = self._column("grade", "extra_credit")
        grades = execute(
            _CELLS.format(table="grade", columns=f"auto_score, manual_score, {extra}, needs_manual_grade"), (key,)
        )
        found = {_place(row): _grade(row, odd) for row in grades}
        comments = execute(_CELLS.format(table="comment", columns="auto_comment, manual_comment"), (key,))
        said = {_place(row): BookComment(_text(row[2]), _text(row[3])) for row in comments}
        late = execute(
            "select notebook.name, late_submission_penalty from submitted_notebook "
            "join notebook on notebook.id = submitted_notebook.notebook_id "
            "where submitted_notebook.assignment_id = ?",
            (key,),
        )
        return BookSubmission(
            student=_text(student),
            timestamp=_time(timestamp),
            extension=_interval(extension),
            grades=found,
            comments=said,
            late_penalties={_text(name): points for name, value in late if (points := _points(value, name, odd))},
            odd=tuple(odd),
        )

    def _column(self, table: str, column: str) -> str:
        """The column, or NULL where the file is older than it."""
        known = {row[1] for row in self._connection.execute(f"pragma table_info({table})")}
        return column if column in known else "null"


def parse_timestamp(text: str) -> datetime | None:
    """The aware time in a timestamp.txt (“2015-02-02 15:58:23.948203 UTC”), read as nbgrader does, or None."""
    with suppress(Exception):  # dateutil has errors of many kinds for odd text
        return utils.parse_utc(text.strip()[:100]).replace(tzinfo=UTC)  # type: ignore[no-any-return]
    return None


def _place(row: tuple[Any, ...]) -> Place:
    return _text(row[0]), _text(row[1])


def _grade(row: tuple[Any, ...], odd: list[str]) -> BookGrade:
    name = f"{_text(row[0])}/{_text(row[1])}"
    auto, manual, extra = (_points(value, name, odd) for value in row[2:5])
    return BookGrade(auto, manual, extra, bool(row[5]))


def _points(value: Any, name: Any, odd: list[str]) -> float | None:
    """SQLite keeps anything in any column: what is no number of points is noted and left out."""
    if value is None:
        return None
    if isinstance(value, int | float) and math.isfinite(value) and abs(value) < _MOST_POINTS:
        return float(value)
    odd.append(f"{name}: {str(value)[:40]!r} is no number of points")
    return None


def _text(value: Any) -> str:
    return "" if value is None else value.replace("\0", "") if isinstance(value, str) else str(value)


def _time(value: Any) -> datetime | None:
    with suppress(TypeError, ValueError):
        return datetime.fromisoformat(value).replace(tzinfo=UTC)
    return None


def _interval(value: Any) -> timedelta | None:
    found = _time(value)
    return found - _EPOCH if found is not None and found != _EPOCH else None
