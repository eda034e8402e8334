"""What every list of people has in common, of a class or of groups: cells of lines, right ones and wrong ones. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from django.utils.translation import gettext as _

MOST_BYTES = 2 * 1024 * 1024
MOST_LINES = 5000


@dataclass(frozen=True, kw_only=True)
class ListLine:
    """One person as a list says. `problem` is a sentence, empty where the line is right."""

    number: int
    email: str = ""
    problem: str = ""
    text: str = ""


@dataclass(frozen=True, kw_only=True)
class PeopleList[L: ListLine]:
    """A list that was read. `problem` says why none of it could be."""

    lines: tuple[L, ...] = ()
    problem: str = ""

    @property
    def right(self) -> list[L]:
        """The lines that can be applied."""
        return [line for line in self.lines if not line.problem]

    @property
    def wrong(self) -> list[L]:
        """The lines that cannot."""
        return [line for line in self.lines if line.problem]


def rows(text: str, *, strict: bool) -> Iterator[tuple[int, Sequence[str]]]:
    """(line number, cells) by the separator that the first line has most of: comma, semicolon or tab.

    `strict`: raises csv.Error where a quotation mark is opened and never closed.
    """
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=strict)
    for row in reader:
        yield reader.line_num, row


def without_repeats[L: ListLine](lines: Iterable[L]) -> Iterator[L]:
    """The second line of a person is wrong, whatever it says: nobody knows which one was meant."""
    seen: dict[str, int] = {}
    for line in lines:
        if not line.problem and line.email in seen:
            yield replace(
                line, problem=_("The same email is on line %(number)d already.") % {"number": seen[line.email]}
            )
        else:
            if not line.problem:
                seen[line.email] = line.number
            yield line
