"""A class list as people keep it (a spreadsheet's CSV, or pasted lines) → lines with what is wrong with each. Pure."""

from __future__ import annotations

import codecs
import csv
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.utils.translation import gettext as _

from classroom.csv_out import unescape
from classroom.list_lines import MOST_BYTES, MOST_LINES, ListLine, PeopleList, without_repeats
from classroom.list_lines import rows as list_rows
from classroom.models import Enrollment

Role = Enrollment.Role

_HEADERS = {
    "email": "email", "e-mail": "email", "mail": "email", "email address": "email", "e-mail address": "email",
    "adresse e-mail": "email", "adresse électronique": "email", "courriel": "email",
    "name": "name", "full name": "name", "display name": "name", "nom": "name", "nom complet": "name",
    "role": "role", "rôle": "role",
    "section": "section", "group": "section", "groupe": "section", "class": "section", "classe": "section",
}  # fmt: skip
_ORDER = ("email", "name", "role", "section")
_ROLES = {
    "": Role.STUDENT, "student": Role.STUDENT, "learner": Role.STUDENT, "étudiant": Role.STUDENT,
    "étudiante": Role.STUDENT, "élève": Role.STUDENT,
    "teacher": Role.TEACHER, "instructor": Role.TEACHER, "enseignant": Role.TEACHER, "enseignante": Role.TEACHER,
    "ta": Role.TA, "teaching assistant": Role.TA, "tutor": Role.TA, "assistant": Role.TA, "assistante": Role.TA,
    "chargé de td": Role.TA, "chargée de td": Role.TA,
    "reader": Role.READER, "auditor": Role.READER, "lecteur": Role.READER, "lectrice": Role.READER,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Line(ListLine):
    """One person as the list says."""

    name: str = ""
    role: str = Role.STUDENT
    section: str = ""


@dataclass(frozen=True, kw_only=True)
class ClassList(PeopleList[Line]):
    """A list that was read. `columns` are those that it has."""

    columns: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()


def decode(data: bytes) -> tuple[str, str]:
    """The text, and a note where the encoding was guessed. A byte order mark decides, then UTF-8, then Windows."""
    for mark, encoding in (
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if data.startswith(mark):
            return data.decode(encoding, errors="replace"), ""
    try:
        return data.decode("utf-8"), ""
    except UnicodeDecodeError:
        text = data.decode("cp1252", errors="replace")
        return text, _("The file is not UTF-8; it was read as Windows-1252. Check the accents in the names.")


def read(text: str) -> ClassList:
    """The class list in `text`, separated by commas, semicolons or tabs, with a header line or without."""
    text = text.removeprefix("\ufeff")
    if problem := _unreadable(text):
        return ClassList(problem=problem)
    try:
        rows = [(number, row) for number, row in list_rows(text, strict=True) if any(cell.strip() for cell in row)]
    except csv.Error:
        return ClassList(problem=_("This does not look like CSV: a quotation mark is opened and never closed."))
    if not rows:
        return ClassList(problem=_("The list is empty."))
    if len(rows) > MOST_LINES:
        return ClassList(problem=_("The list has more than %(most)d lines. Split it.") % {"most": MOST_LINES})
    columns = _columns(rows[0][1])
    if columns is not None:
        rows = rows[1:]
    elif "@" not in rows[0][1][0]:
        return ClassList(problem=_("There is no column called “email”. Name the columns: email, name, role, section."))
    columns = columns or list(_ORDER)
    lines = tuple(without_repeats(_line(number, row, columns) for number, row in rows))
    known = frozenset(column for column in columns if column)
    return ClassList(lines=lines, columns=known, notes=_notes(columns, lines))


def _unreadable(text: str) -> str:
    if "\x00" in text:
        return _("This is not a text file. Export the list as CSV and upload that.")
    if len(text) > MOST_BYTES:
        return _("The list is larger than 2 MB.")
    return ""


def _columns(row: Sequence[str]) -> list[str] | None:
    """Which field each column is ("" for one that we do not use), or None where the row is no header."""
    names = [_HEADERS.get(" ".join(cell.split()).casefold(), "") for cell in row]
    return names if "email" in names else None


def _line(number: int, row: Sequence[str], columns: list[str]) -> Line:
    cells = {"email": "", "name": "", "role": "", "section": ""}
    cells.update({column: _clean(cell) for column, cell in zip(columns, row, strict=False) if column})
    role = _ROLES.get(cells["role"].casefold(), "")
    problem = _problem(cells, role)
    if len(row) > len(columns):
        problem = _("There are more columns than in the header. Put quotes around a name with a comma.")
    return Line(
        number=number,
        email=cells["email"].lower(),
        name=cells["name"],
        role=role or Role.STUDENT,
        section=cells["section"],
        problem=problem,
        text=" · ".join(cell for cell in row if cell)[:200],
    )


def _clean(cell: str) -> str:
    printable = "".join(" " if unicodedata.category(c) in {"Cc", "Cf", "Zl", "Zp"} else c for c in cell)
    return unicodedata.normalize("NFC", unescape(" ".join(printable.split())))


def _problem(cells: dict[str, str], role: str) -> str:
    if not cells["email"]:
        return _("The email is missing.")
    try:
        validate_email(cells["email"])
    except ValidationError:
        return _("“%(email)s” is not an email address.") % {"email": cells["email"][:80]}
    if len(cells["email"]) > 254:
        return _("The email is too long.")
    if not role:
        return _("“%(role)s” is not a role. Use teacher, ta, reader or student.") % {"role": cells["role"][:40]}
    if len(cells["name"]) > 200:
        return _("The name is longer than 200 characters.")
    if len(cells["section"]) > 60:
        return _("The section is longer than 60 characters.")
    return ""


def _notes(columns: list[str], lines: tuple[Line, ...]) -> tuple[str, ...]:
    if "" in columns:
        return (_("Columns that are not email, name, role or section were left out."),)
    return ()
