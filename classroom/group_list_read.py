"""A list of groups as people keep it (email, group) → lines with what is wrong with each. Pure."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.translation import gettext as _

from classroom.csv_out import unescape
from classroom.list_lines import MOST_BYTES, MOST_LINES, ListLine, PeopleList, rows, without_repeats

MOST_CHARACTERS = 100


@dataclass(frozen=True, kw_only=True)
class Line(ListLine):
    """One person as the list says."""

    group: str = ""


class GroupList(PeopleList[Line]):
    """A list of groups that was read."""


def read(text: str) -> GroupList:
    """Lines of "email, group", separated by commas, semicolons or tabs; a header and empty lines are left out."""
    text = text.removeprefix("\ufeff")
    if "\x00" in text or len(text) > MOST_BYTES:
        return GroupList(problem=_("This is no list: one line a person, email and group."))
    try:
        lines = [line for number, cells in rows(text, strict=False) if (line := _line(number, cells)) is not None]
    except csv.Error:
        return GroupList(problem=_("This is no list: one line a person, email and group."))
    if not lines:
        return GroupList(problem=_("The list is empty: one line a person, email and group."))
    if len(lines) > MOST_LINES:
        return GroupList(problem=_("The list has more than %(most)d lines. Split it.") % {"most": MOST_LINES})
    return GroupList(lines=tuple(without_repeats(lines)))


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
    return Line(
        number=number, email=email, group=group, problem=problem, text=" · ".join(text for text in texts if text)[:200]
    )
