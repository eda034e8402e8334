"""Copies of a released notebook beside the one that is graded, with answers that the graded one lacks. Pure.

*Make a copy*, then working in the copy, is easily done; nbgrader grades the released name and says nothing. Neither is
swapped here: what is found is said to the student, who may choose, and to whoever marks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from grading.engine.contract import Json, Spec
from grading.engine.layout import Layout, grade_id_of, is_open, text_of
from grading.engine.read import Unreadable, read
from grading.engine.reconcile import alike, reconcile
from grading.engine.renamed import doubles, like, strangers


@dataclass(frozen=True)
class Copy:
    """One copy. `code` is in `explain`: answers_elsewhere, or other_answers where the graded notebook lacks none."""

    code: str
    path: str
    copy: str
    grade_ids: tuple[str, ...]

    def as_json(self) -> Json:
        """The row that an autograding stores among its notes."""
        return {"code": self.code, "cell": 0, "path": self.path, "copy": self.copy, "grade_ids": list(self.grade_ids)}


def copies(spec: Spec, submitted: Mapping[str, bytes], paths: Mapping[str, str]) -> dict[str, list[Copy]]:
    """Released name → copies that say what the graded file does not. `paths`: released name → that file."""
    graded = {path: name for name, path in paths.items()}
    others = strangers(submitted, {*graded, *(f"{name}.ipynb" for name in spec.notebooks)})
    found: dict[str, list[Copy]] = {}
    of = doubles(graded, others, lambda path, other: like(spec.notebooks[graded[path]], submitted[other]))
    for other, path in of.items():
        layout = _given(spec, graded[path])
        one = compared(path, other, _answers(layout, submitted[path]), _answers(layout, submitted[other]))
        if one is not None:
            found.setdefault(graded[path], []).append(one)
    return found


def compared(path: str, copy: str, here: Mapping[str, str], there: Mapping[str, str]) -> Copy | None:
    """What the copy's answers are to those of the graded notebook; None where nothing would be lost by it.

    Other answers to the same questions count beside the notebook only: a folder of older versions is meant as one.
    """
    if lacking := tuple(grade_id for grade_id in there if grade_id not in here):
        return Copy("answers_elsewhere", path, copy, lacking)
    differing = tuple(grade_id for grade_id in there if not alike(here[grade_id], there[grade_id]))
    return Copy("other_answers", path, copy, differing) if differing and "/" not in copy else None


def answers(layout: Layout, notebook: Mapping[str, Any]) -> dict[str, str]:
    """grade_id → text of each answer that is no longer as it was given out, in the order of the release."""
    mended = {grade_id_of(cell): text_of(cell) for cell in reconcile(layout, notebook).notebook["cells"]}
    return dict(_written(layout, mended))


def _written(layout: Layout, texts: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for entry in layout:
        text = texts.get(entry["grade_id"], "")
        if entry["grade_id"] and is_open(entry) and text.strip() and not alike(text, entry["source"]):
            yield entry["grade_id"], text


def _answers(layout: Layout, data: bytes) -> dict[str, str]:
    try:
        return answers(layout, read(data))
    except (Unreadable, AttributeError, KeyError, TypeError, ValueError):
        return {}


def _given(spec: Spec, name: str) -> Layout:
    """What the student was given, where a newer version grades it."""
    layout: Layout = spec.written_for.get(name) or spec.notebooks[name].cells.get("layout", ())
    return layout
