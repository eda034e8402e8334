"""A student's files against what they were given: what is missing, copied, moved or changed, in rows for `explain`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache

from grading.engine import Unreadable, is_notebook, layout_of, likeness, likest, read, reconcile
from grading.engine.contract import Json
from grading.engine.layout import Layout
from runtimes import blobs
from runtimes.models import SnapshotFile

# Pages ask every few seconds about files that seldom change: what was found is kept by the contents compared.
_KEPT = 4096


def differences(student: int | None, tree: Mapping[str, str]) -> list[Json]:
    """Rows of what differs. `student`: the snapshot that was given out; `tree`: path → SHA-256 of what is there now.

    One query, and the contents that no earlier question was about. Rows have `code` and `path`; of cells, also
    `grade_id`, `cell` and `kind`.
    """
    given = dict(SnapshotFile.objects.filter(snapshot=student).order_by("path").values_list("path", "blob_id"))
    names = renamed_in(given, tree)
    return [row for path in given for row in _rows(path, given[path], tree, names)]


def renamed_in(given: Mapping[str, str], tree: Mapping[str, str]) -> dict[str, str]:
    """Released path → the path under which that notebook is now; only those that were renamed."""
    missing = [path for path in given if is_notebook(path) and path not in tree]
    strangers = [path for path in tree if is_notebook(path) and path not in given] if missing else []
    return likest(missing, strangers, lambda name, path: _likeness(given[name], tree[path]))


def _rows(path: str, given: str, tree: Mapping[str, str], names: Mapping[str, str]) -> Iterator[Json]:
    if path in names:
        yield {"code": "renamed_notebook", "path": path, "now": names[path]}
        return
    there = tree.get(path)
    if there is None:
        yield {"code": "missing_notebook" if is_notebook(path) else "missing_file", "path": path}
    elif is_notebook(path) and there != given:
        yield from ({**row, "path": path} for row in _findings(given, there))


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
