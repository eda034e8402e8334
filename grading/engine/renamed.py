"""Notebooks that were handed in under another name, recognised by their cells. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from grading.engine.contract import NotebookSpec
from grading.engine.generate import is_notebook
from grading.engine.layout import likeness
from grading.engine.read import Unreadable, read

# A file with fewer of the release's graded cells may be anything.
_LEAST_LIKENESS = 0.5


def renamed(notebooks: Mapping[str, NotebookSpec], submitted: Mapping[str, bytes]) -> dict[str, str]:
    """Released name → path of the file that is most like it, for those that are not there; each file once."""
    missing = [name for name in notebooks if f"{name}.ipynb" not in submitted]
    known = {f"{name}.ipynb" for name in notebooks}
    strangers = [path for path in submitted if is_notebook(path) and path not in known]

    def like(name: str, path: str) -> float:
        try:
            return likeness(notebooks[name].cells.get("layout", ()), read(submitted[path]))
        except Unreadable:
            return 0.0

    return likest(missing, strangers, like)


def likest(missing: Iterable[str], strangers: Iterable[str], like: Callable[[str, str], float]) -> dict[str, str]:
    """Each of `missing` with the stranger that is most like it and like nothing else more, if any is like enough."""
    pairs = sorted((-like(name, path), path, name) for name in missing for path in strangers)
    found: dict[str, str] = {}
    for unlike, path, name in pairs:
        if -unlike >= _LEAST_LIKENESS and name not in found and path not in found.values():
            found[name] = path
    return found
