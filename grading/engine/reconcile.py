"""A student's notebook against the release: what is missing, copied, moved or changed, and the notebook with it mended.

Pure, and the same for the page that warns, for *Restore* and for the frozen copy that is graded. Cells are recognised
by grade_id, then by cell id, then by their text. Whatever a student wrote is in the mended notebook, too: a copy stays
as a plain cell, text written over a locked cell stays as a raw cell below it.
"""

from __future__ import annotations

import copy
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from grading.engine.contract import Json
from grading.engine.increasing import heaviest_increasing
from grading.engine.layout import (
    Layout,
    fixed_settings,
    grade_id_of,
    id_of,
    is_marked,
    is_open,
    kind_of,
    text_of,
    weight_of,
)

_IDS_SINCE = (4, 5)
_LOCKING = ("deletable", "editable")


@dataclass(frozen=True)
class Finding:
    """One difference. `cell` counts from 1 in the student's notebook; 0: it is not there. `code` is in `explain`."""

    code: str
    grade_id: str
    cell: int = 0
    kind: str = ""

    def as_json(self) -> Json:
        """The row that an autograding stores among its notes."""
        return {"code": self.code, "grade_id": self.grade_id, "cell": self.cell, "kind": self.kind}


@dataclass(frozen=True)
class Reconciled:
    """The mended notebook, and what was found. Without findings the notebook is the student's own, unchanged."""

    notebook: Json
    findings: tuple[Finding, ...]


def reconcile(layout: Layout, notebook: Mapping[str, Any], *, keep: bool = True) -> Reconciled:
    """The notebook as `layout` has it, with everything that is the student's own. Never raises for a readable one.

    keep=False: text in locked cells is nobody's (it was given out so by another version) and is not kept below them.
    """
    work = _Mending(layout, copy.deepcopy(list(notebook["cells"])), _has_ids(notebook), keep)
    work.recognise()
    work.mend()
    cells = work.arranged()
    if not work.findings:
        return Reconciled(dict(notebook), ())
    rank = {entry["grade_id"]: number for number, entry in enumerate(layout)}
    found = sorted(work.findings, key=lambda one: (rank.get(one.grade_id, len(rank)), one.cell))
    return Reconciled({**notebook, "cells": cells}, tuple(found))


@dataclass
class _Mending:
    """One notebook at work. `homes`: place in the layout → place of that cell among the student's cells."""

    layout: Layout
    cells: list[Json]
    has_ids: bool
    keep: bool
    homes: dict[int, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    #: place of a student's cell → what must stand below it, so that nothing is lost
    below: dict[int, Json] = field(default_factory=dict)

    def recognise(self) -> None:
        self._by_grade_id()
        self._by_cell_id()
        self._by_text()

    def _by_grade_id(self) -> None:
        places = defaultdict(list)
        for place, cell in enumerate(self.cells):
            places[grade_id_of(cell)].append(place)
        for number, entry in enumerate(self.layout):
            if entry["grade_id"] and (claims := places[entry["grade_id"]]):
                self.homes[number] = max(claims, key=lambda place: (*self._claim(entry, place), -place))

    def _claim(self, entry: Mapping[str, Any], place: int) -> tuple[bool, bool]:
        """Of an answer the cell that was written in is the answer; of others the one that was never copied."""
        cell = self.cells[place]
        same_id = bool(entry["id"]) and id_of(cell) == entry["id"]
        written = text_of(cell) != entry["source"]
        return (written, same_id) if is_open(entry) else (same_id, not written)

    def _by_cell_id(self) -> None:
        known = {entry["grade_id"] for entry in self.layout}
        taken = set(self.homes.values())
        free = {
            id_of(cell): place
            for place, cell in reversed(list(enumerate(self.cells)))
            if id_of(cell) and place not in taken and (not grade_id_of(cell) or grade_id_of(cell) not in known)
        }
        for number, entry in enumerate(self.layout):
            if number not in self.homes and entry["id"] in free:
                self.homes[number] = free.pop(entry["id"])

    def _by_text(self) -> None:
        """For notebooks that went through a tool which drops metadata and ids: only texts that are there once."""
        taken = set(self.homes.values())
        texts = {place: text_of(cell) for place, cell in enumerate(self.cells) if place not in taken}
        times = Counter(texts.values())
        released = Counter(entry["source"] for entry in self.layout if entry["grade_id"])
        once = {text: place for place, text in texts.items() if times[text] == 1 and not grade_id_of(self.cells[place])}
        for number, entry in enumerate(self.layout):
            text = entry.get("source", "")
            if entry["grade_id"] and number not in self.homes and text.strip() and released[text] == 1 and text in once:
                self.homes[number] = once[text]

    def mend(self) -> None:
        """Puts back what the release fixed, in place, and makes plain cells of what only pretends to be graded."""
        for number, entry in enumerate(self.layout):
            if entry["grade_id"] and number in self.homes:
                self._mend(entry, self.homes[number])
        taken = {place for number, place in self.homes.items() if self.layout[number]["grade_id"]}
        known = {entry["grade_id"] for entry in self.layout if entry["grade_id"]}
        for place, cell in enumerate(self.cells):
            grade_id = grade_id_of(cell)
            if place not in taken and (grade_id in known or is_marked(cell)):
                self._found("copied_cell" if grade_id in known else "foreign_cell", grade_id, place)
                self._make_plain(cell)

    def _mend(self, entry: Mapping[str, Any], place: int) -> None:
        cell, grade_id, kind = self.cells[place], entry["grade_id"], kind_of(entry)
        if grade_id_of(cell) != grade_id:
            self._found("renamed_cell", grade_id, place, kind)
        elif fixed_settings(cell) != fixed_settings(entry):
            self._found("settings_changed", grade_id, place, kind)
        if cell["cell_type"] != entry["cell_type"]:
            self._found("retyped_cell", grade_id, place, kind)
            self._retype(place, entry["cell_type"])
        if not is_open(entry) and not alike(text_of(cell), entry["source"]):
            self._found("rewritten_cell", grade_id, place, kind)
            if self.keep:
                self._keep_below(place, {"cell_type": "raw", "metadata": {}, "source": text_of(cell)})
            cell["source"] = entry["source"]
        if any(one.grade_id == grade_id and one.cell == place + 1 for one in self.findings):
            self._lock_again(cell, entry)

    def _lock_again(self, cell: Json, entry: Mapping[str, Any]) -> None:
        metadata = dict(cell["metadata"]) if isinstance(cell.get("metadata"), Mapping) else {}
        released = entry["metadata"]
        metadata |= {key: copy.deepcopy(released[key]) for key in ("nbgrader", *_LOCKING) if key in released}
        cell["metadata"] = metadata

    def _retype(self, place: int, cell_type: str) -> None:
        cell = self.cells[place]
        if cell_type == "code":
            if cell.get("attachments"):
                self._keep_below(place, {**copy.deepcopy(cell), "metadata": {}})
            cell.pop("attachments", None)
            cell |= {"outputs": [], "execution_count": None}
        else:
            cell.pop("outputs", None)
            cell.pop("execution_count", None)
        cell["cell_type"] = cell_type

    def _keep_below(self, place: int, kept: Json) -> None:
        if text_of(kept).strip():
            self.below.setdefault(place, kept)

    def _make_plain(self, cell: Json) -> None:
        cell["metadata"] = {key: value for key, value in cell["metadata"].items() if key not in ("nbgrader", *_LOCKING)}

    def arranged(self) -> list[Json]:
        """The cells in the release's order, what is missing put back where it was; reports both."""
        settled = self._settled()
        moved = {n for n, place in self.homes.items() if n not in settled and self.layout[n]["grade_id"]}
        away = {self.homes[n] for n in moved}
        number_at = {place: n for n, place in self.homes.items() if n in settled}
        order: list[tuple[int, int, Json | None]] = [
            (number_at.get(place, -1), place, None) for place in range(len(self.cells)) if place not in away
        ]
        for number, entry in enumerate(self.layout):
            if number in moved:
                self._found("moved_cell", entry["grade_id"], self.homes[number], kind_of(entry))
                order.insert(_place_for(number, entry, order), (number, self.homes[number], None))
            elif entry["grade_id"] and number not in self.homes:
                self.findings.append(Finding("missing_cell", entry["grade_id"], 0, kind_of(entry)))
                order.insert(_place_for(number, entry, order), (number, -1, self._released(entry)))
        return self._with_kept(order)

    def _settled(self) -> set[int]:
        """The layout's places whose cells stay where they are: the heaviest set that is in order."""
        numbers = sorted(self.homes, key=lambda number: self.homes[number])
        return heaviest_increasing(numbers, [weight_of(self.layout[number]) for number in numbers])

    def _with_kept(self, order: list[tuple[int, int, Json | None]]) -> list[Json]:
        cells: list[Json] = []
        for _number, place, released in order:
            cells.append(released if released is not None else self.cells[place])
            if released is None and place in self.below:
                cells.append(self.below[place])
        return _identified(cells, self.has_ids)

    def _released(self, entry: Mapping[str, Any]) -> Json:
        cell: Json = {key: copy.deepcopy(entry[key]) for key in ("cell_type", "metadata", "source")}
        if entry["id"]:
            cell["id"] = entry["id"]
        return cell | ({"outputs": [], "execution_count": None} if cell["cell_type"] == "code" else {})

    def _found(self, code: str, grade_id: str, place: int, kind: str = "") -> None:
        self.findings.append(Finding(code, grade_id, place + 1, kind))


def _place_for(number: int, entry: Mapping[str, Any], order: list[tuple[int, int, Json | None]]) -> int:
    """Tests go as late as the release has them, below what the student added for them; all else as early."""
    if kind_of(entry) == "tests":
        return next((at for at, (there, _, _) in enumerate(order) if there > number), len(order))
    return next((at + 1 for at, (there, _, _) in reversed(list(enumerate(order))) if 0 <= there < number), 0)


def _identified(cells: list[Json], has_ids: bool) -> list[Json]:
    """Every cell has an id of its own (nbformat 4.5); the student's cells keep theirs. Older notebooks have none."""
    seen: set[str] = set()
    taken = {id_of(cell) for cell in cells}
    for number, cell in enumerate(cells):
        if not has_ids:
            cell.pop("id", None)
        elif not id_of(cell) or id_of(cell) in seen:
            cell["id"] = next(one for one in _names(number) if one not in taken)
        seen.add(id_of(cell))
    return cells


def _names(number: int) -> Iterator[str]:
    yield f"kept-{number}"
    yield from (f"kept-{number}-{again}" for again in range(1, 10_000))


def _has_ids(notebook: Mapping[str, Any]) -> bool:
    return (notebook.get("nbformat", 4), notebook.get("nbformat_minor", 0)) >= _IDS_SINCE


def alike(one: str, other: str) -> bool:
    """Whether two texts differ in nothing but blanks at the ends of lines, which some tools remove."""
    return [line.rstrip() for line in one.rstrip().splitlines()] == [
        line.rstrip() for line in other.rstrip().splitlines()
    ]
