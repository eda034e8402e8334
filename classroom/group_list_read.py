"""A list of groups as people keep it (email, group) → lines with what is wrong with each. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django.utils.translation import gettext as _

from classroom.csv_out import unescape
from classroom.roster_read import MOST_BYTES, MOST_LINES

MOST_CHARACTERS = 100


@dataclass(frozen=True)
class Line:
    """One person as the list says. `problem` is a sentence, empty where the line is right."""

    number: int
    email: str = ""
    group: str = ""
    problem: str = ""
    text: str = ""


@dataclass(frozen=True)
class GroupList:
    """A list that was read. `problem` says why none of it could be."""

    lines: tuple[Line, ...] = ()
    problem: str = ""

    @property
    def right(self) -> list[Line]:
        """The lines that can be applied."""
        return [line for line in self.lines if not line.problem]

    @property
    def wrong(self) -> list[Line]:
        """The lines that cannot."""
        return [line for line in self.lines if line.problem]


def read(text: str) -> GroupList:
    """Lines of "email, group", separated by commas, semicolons or tabs; a header and empty lines are left out."""
    text = text.removeprefix("\ufeff")
    if "\x00" in text or len(text) > MOST_BYTES:
        return GroupList(problem=_("This is no list: one line a person, email and group."))
    first = next((line for line in text.splitlines() if line.strip()), "")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count), skipinitialspace=True)
    try:
        lines = [line for cells in reader if (line := _line(reader.line_num, cells)) is not None]
    except csv.Error:
        return GroupList(problem=_("This is no list: one line a person, email and group."))
    if not lines:
        return GroupList(problem=_("The list is empty: one line a person, email and group."))
    if len(lines) > MOST_LINES:
        return GroupList(problem=_("The list has more than %(most)d lines. Split it.") % {"most": MOST_LINES})
    return GroupList(tuple(_without_repeats(lines)))


def _line(number: int, cells: Sequence[str]) -> Line | None:
    texts = [unescape(" ".join(cell.split())) for cell in cells]
    if not any(texts) or texts[0].casefold() == "email":
        return None
    email, group = texts[0].lower(), texts[1] if len(texts) > 1 else ""
    problem = ""
    if "@" not in email or not group:
        problem = _("Write an email and the name of a group.")
    elif len(group) > MOST_CHARACTERS:
        problem = _("The name of the group is longer than %(most)d characters.") % {"most": MOST_CHARACTERS}
    return Line(number, email, group, problem, text=" · ".join(text for text in texts if text)[:200])


def _without_repeats(lines: Sequence[Line]) -> Iterator[Line]:
    """The second line of a person is wrong, whatever it says: nobody knows which one was meant."""
    seen: dict[str, int] = {}
    for line in lines:
        if not line.problem and line.email in seen:
            problem = _("The same email is on line %(number)d already.") % {"number": seen[line.email]}
            yield Line(line.number, line.email, line.group, problem, line.text)
        else:
            if not line.problem:
                seen[line.email] = line.number
            yield line
