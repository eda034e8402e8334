"""A student's files against what they were given: what is missing, copied, moved or changed, in rows for `explain`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import PurePosixPath

from grading.engine import (
    Unreadable,
    answers,
    compared,
    doubles,
    is_notebook,
    layout_of,
    likeness,
    likest,
    read,
    reconcile,
    strangers,
)
from grading.engine.contract import Json
from grading.engine.layout import Layout
from runtimes import blobs
from runtimes.models import SnapshotFile

# Pages ask every few seconds about files that seldom change: what was found is kept by the contents compared.
_KEPT = 4096
#: Rows about which *Restore* can do nothing.
NOT_RESTORABLE = frozenset({"answers_elsewhere", "other_answers", "unreadable_notebook"})


def differences(student: int | None, tree: Mapping[str, str]) -> list[Json]:
    """Rows of what differs. `student`: the snapshot that was given out; `tree`: path → SHA-256 of what is there now.

    One query, and the contents that no earlier question was about. Rows have `code` and `path`; of cells, also
    `grade_id`, `cell` and `kind`; of copies `copy`, its `sha256` and `grade_ids`.
    """
    given = dict(SnapshotFile.objects.filter(snapshot=student).order_by("path").values_list("path", "blob_id"))
    names = renamed_in(given, tree)
    rows = [row for path in given for row in _rows(path, given[path], tree, names)]
    return rows + list(_copies(given, tree, names))


def renamed_in(given: Mapping[str, str], tree: Mapping[str, str]) -> dict[str, str]:
    """Released path → the path under which that notebook is now; only those that were renamed or moved."""
    missing = [path for path in given if is_notebook(path) and path not in tree]
    others = strangers(tree, given) if missing else []
    return likest(missing, others, lambda path, other: _likeness(given[path], tree[other]))


def _rows(path: str, given: str, tree: Mapping[str, str], names: Mapping[str, str]) -> Iterator[Json]:
    if path in names:
        yield {"code": _how_renamed(path, names[path]), "path": path, "now": names[path]}
        return
    there = tree.get(path)
    if there is None:
        yield _missing(path, given, tree)
    elif is_notebook(path) and there != given:
        yield from ({**row, "path": path} for row in _findings(given, there))


def _how_renamed(path: str, now: str) -> str:
    return "moved_notebook" if PurePosixPath(path).name == PurePosixPath(now).name else "renamed_notebook"


def _missing(path: str, given: str, tree: Mapping[str, str]) -> Json:
    if is_notebook(path):
        return {"code": "missing_notebook", "path": path}
    # The same content elsewhere, or the same name: a notebook may read it there, so Restore leaves it where it is.
    same = sorted((tree[other] != given, other) for other in tree if _is_that(path, given, other, tree[other]))
    return {"code": "moved_file", "path": path, "now": same[0][1]} if same else {"code": "missing_file", "path": path}


def _is_that(path: str, given: str, other: str, there: str) -> bool:
    wanted, found = PurePosixPath(path), PurePosixPath(other)
    return found.name == wanted.name or (there == given and found.suffix == wanted.suffix)


def _copies(given: Mapping[str, str], tree: Mapping[str, str], names: Mapping[str, str]) -> Iterator[Json]:
    graded = {names.get(path, path): path for path in given if is_notebook(path) and names.get(path, path) in tree}
    others = strangers(tree, {*given, *graded})
    of = doubles(graded, others, lambda path, other: _likeness(given[graded[path]], tree[other]))
    for other, path in of.items():
        layout_from = given[graded[path]]
        one = compared(path, other, _answers(layout_from, tree[path]), _answers(layout_from, tree[other]))
        if one is not None:
            yield {**one.as_json(), "sha256": tree[other]}


@lru_cache(maxsize=_KEPT)
def _answers(given: str, there: str) -> Mapping[str, str]:
    try:
        return answers(layout_by(given), read(blobs.read(there))) if there != given else {}
    except (Unreadable, AttributeError, KeyError, TypeError, ValueError):
        return {}


@lru_cache(maxsize=_KEPT)
def _findings(given: str, there: str) -> tuple[Json, ...]:
    try:
        notebook = read(blobs.read(there))
        return tuple(finding.as_json() for finding in reconcile(layout_by(given), notebook).findings)
    except (Unreadable, AttributeError, KeyError, TypeError, ValueError):
        return ({"code": "unreadable_notebook"},)


@lru_cache(maxsize=_KEPT)
def _likeness(given: str, there: str) -> float:
    try:
        return likeness(layout_by(given), read(blobs.read(there)))
    except (Unreadable, AttributeError, KeyError, TypeError, ValueError):
        return 0.0


@lru_cache(maxsize=256)
def layout_by(given: str) -> Layout:
    """The layout of a released notebook, by the SHA-256 of its student version. Raises Unreadable."""
    return layout_of(read(blobs.read(given)))
