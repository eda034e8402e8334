"""Notebooks that were handed in under another name, in another folder or twice, recognised by their cells. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePosixPath

from grading.engine.contract import NotebookSpec
from grading.engine.layout import likeness
from grading.engine.read import Unreadable, read

# A file with fewer of the release's graded cells may be anything.
_LEAST_LIKENESS = 0.5
# A piece of work with more notebooks of its own is no accident.
_MOST_STRANGERS = 100

Like = Callable[[str, str], float]


def strangers(paths: Iterable[str], released: Iterable[str]) -> list[str]:
    """Those of `paths` that are notebooks which were not given out, in any folder that is not hidden."""
    known = set(released)
    found = (p for p in paths if p.endswith(".ipynb") and p not in known and not _is_hidden(p))
    return sorted(found)[:_MOST_STRANGERS]


def _is_hidden(path: str) -> bool:
    # Jupyter keeps checkpoints in .ipynb_checkpoints.
    return any(part.startswith(".") for part in path.split("/"))


def renamed(notebooks: Mapping[str, NotebookSpec], submitted: Mapping[str, bytes]) -> dict[str, str]:
    """Released name → path of the file that is most like it, for those that are not there; each file once."""
    names = {f"{name}.ipynb": name for name in notebooks}
    missing = [path for path in names if path not in submitted]
    others = strangers(submitted, names) if missing else []
    found = likest(missing, others, lambda path, other: like(notebooks[names[path]], submitted[other]))
    return {names[path]: other for path, other in found.items()}


def like(spec: NotebookSpec, data: bytes) -> float:
    """`likeness` of a file, 0.0 for one that is no notebook."""
    try:
        return likeness(spec.cells.get("layout", ()), read(data))
    except Unreadable:
        return 0.0


def likest(missing: Iterable[str], others: Iterable[str], like: Like) -> dict[str, str]:
    """Each of `missing` with the one of `others` that is most like it and like nothing else more, if any is like
    enough; of equals the one whose name is."""
    pairs = sorted((-like(path, other), _unlike_name(path, other), other, path) for path in missing for other in others)
    found: dict[str, str] = {}
    for unlike, _name, other, path in pairs:
        if -unlike >= _LEAST_LIKENESS and path not in found and other not in found.values():
            found[path] = other
    return found


def doubles(released: Iterable[str], others: Iterable[str], like: Like) -> dict[str, str]:
    """Each of `others` that is like a released notebook → that one's path. One that could be two of them is neither."""
    names = list(released)
    found: dict[str, str] = {}
    for other in others:
        ranked = sorted((-like(path, other), _unlike_name(path, other), path) for path in names)
        if ranked and -ranked[0][0] >= _LEAST_LIKENESS and (len(ranked) == 1 or ranked[0][:2] != ranked[1][:2]):
            found[other] = ranked[0][2]
    return found


def _unlike_name(path: str, other: str) -> int:
    """0 for the same name in another folder; else the less, the longer the released name that the other begins with."""
    one, two = PurePosixPath(path).stem, PurePosixPath(other).stem
    if one == two:
        return 0
    # "problem1-Copy1", "problem1 (2)": of problem1, and not of problem.
    return 1000 - len(one) if two.startswith(one) else 1000
