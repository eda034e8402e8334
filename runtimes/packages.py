"""What pip installed, among a workspace's files: which of it is there whole. Pure.

A file that is too large, or for which there is no room, is not kept, and a package without it neither works nor is
installed again: pip goes by its record alone and says that the requirement is already satisfied. So what is not whole
is not brought into the next runtime, and people are told what to install again.
"""

from __future__ import annotations

import csv
import posixpath
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from runtimes.agent.files import SKIPPED_FOLDERS
from runtimes.paths import is_system

# Packaging, "Recording installed projects": NAME-VERSION.dist-info/RECORD names each file of a distribution, relative
# to the folder that it was installed into. One record may have so many bytes to be looked at.
_RECORD = re.compile(r"(\.local/lib/[^/]+/site-packages)/([^/]+)-([^/-]+)\.dist-info/RECORD")
MOST_RECORD_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class Partial:
    """A distribution that is not whole. names: what is there of it and of no other that is whole."""

    title: str
    names: frozenset[str]


def records(paths: Collection[str]) -> list[str]:
    """Those of `paths` that say what pip installed."""
    return sorted(path for path in paths if _RECORD.fullmatch(path))


def partial(paths: Collection[str], contents: Mapping[str, bytes]) -> dict[str, Partial]:
    """The distributions that lack files, by the path of their record. contents: of `records(paths)`. Student code may
    have written them: what cannot be read names nothing."""
    there = set(paths)
    named = {path: frozenset(_named(path, data)) for path, data in contents.items()}
    broken = {path for path, names in named.items() if not names <= there}
    whole = frozenset[str]().union(*(names for path, names in named.items() if path not in broken))
    return {path: Partial(_title(path), (named[path] & there) - whole) for path in sorted(broken)}


def _title(record: str) -> str:
    found = _RECORD.fullmatch(record)
    return f"{found[2]} {found[3]}" if found else record


def _named(record: str, data: bytes) -> Iterator[str]:
    """The files that a record names and that are kept where there is room."""
    folder = posixpath.dirname(posixpath.dirname(record))
    for name in (line[0] for line in _lines(data) if line and line[0]):
        path = posixpath.normpath(posixpath.join(folder, name))
        if path.startswith(".local/") and not is_system(path) and SKIPPED_FOLDERS.isdisjoint(path.split("/")):
            yield path


def _lines(data: bytes) -> list[list[str]]:
    try:
        return list(csv.reader(data.decode("utf-8").splitlines()))
    except (UnicodeDecodeError, csv.Error):
        return []
